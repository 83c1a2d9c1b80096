"""When a destination's rows are leased, from which lane, how many, and how it pauses, resumes and drains."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.buffer.leases import Lane
from sidecar.forward.sender import KEY_POLL_S
from sidecar.sample.pressure import Pulse
from tests.fakes.clock import START_MS
from tests.fakes.langfuse import SECRET_KEY
from tests.forward.rig import NAME, rows, run, sending, settings
from tests.waiting import until

MIB = 2**20


def test_a_batch_lingers_to_fill() -> None:
    async def main() -> None:
        async with sending(settings(linger_ms=1000)) as rig:
            rig.source.add(rows(1))
            await rig.clock.advance(0.5)
            rig.source.add(rows(1, seed=1))
            await rig.clock.advance(0.45)
            assert rig.source.leases == []
            await rig.clock.advance(0.1)
            await rig.delivered(2)

            assert rig.source.leases == [(Lane.FRESH, 2)]

    run(main())


def test_a_full_batch_does_not_linger() -> None:
    async def main() -> None:
        async with sending(settings(linger_ms=60_000, batch_spans=10)) as rig:
            rig.source.add(rows(9))
            await rig.clock.advance(1)
            assert rig.source.leases == []
            rig.source.add(rows(1, seed=1))
            await rig.clock.advance(0.1)
            await rig.delivered(10)

            assert rig.source.leases == [(Lane.FRESH, 10)]

    run(main())


def test_a_batch_that_is_full_by_bytes_does_not_linger() -> None:
    async def main() -> None:
        async with sending(settings(linger_ms=60_000, batch_mib=0.1, batch_raw_mib=1)) as rig:
            rig.source.add(rows(6, padding=40_000))
            await rig.clock.advance(0.1)
            await until(lambda: len(rig.source.leases) >= 1, "a lease")

            assert rig.source.limits[0].max_bytes == int(0.1 * MIB)
            assert rig.source.limits[0].max_raw_bytes == MIB

    run(main())


def test_a_row_that_waited_already_does_not_linger_again() -> None:
    async def main() -> None:
        async with sending(settings(linger_ms=1000)) as rig:
            await rig.clock.advance(30)
            rig.source.add(rows(1))
            await rig.delivered(1)

    run(main())


def test_a_row_from_before_the_clock_was_set_back_does_not_linger_until_it_is_there_again() -> None:
    async def main() -> None:
        async with sending(settings(linger_ms=1000)) as rig:
            rig.source.add(replace(each, received_ms=START_MS + 3_600_000) for each in rows(1))
            await rig.clock.advance(0.1)
            await rig.delivered(1)

    run(main())


def test_a_backlog_does_not_linger() -> None:
    async def main() -> None:
        async with sending(settings(linger_ms=60_000)) as rig:
            rig.source.add(rows(3), Lane.BACKLOG)
            await rig.delivered(3)

            assert rig.source.leases == [(Lane.BACKLOG, 3)]

    run(main())


def test_fresh_rows_and_backlog_take_turns() -> None:
    async def main() -> None:
        async with sending(settings(batch_spans=2)) as rig:
            rig.fake.script.fail_next(1, 503, {"Retry-After": "10"})
            rig.source.add(rows(1))
            await rig.answered(1)
            rig.source.add(rows(6, seed=1))
            rig.source.add(rows(6, seed=2), Lane.BACKLOG)
            await rig.clock.advance(12)
            await rig.delivered(13)

            lanes = [lane for lane, _ in rig.source.leases[2:8]]
            assert lanes[:4] in ([Lane.FRESH, Lane.BACKLOG] * 2, [Lane.BACKLOG, Lane.FRESH] * 2)

    run(main())


def test_requests_in_flight_are_bounded() -> None:
    async def main() -> None:
        async with sending(settings(concurrency=3, batch_spans=1, timeout_s=20)) as rig:
            rig.fake.slow(0.05)
            rig.source.add(rows(9))
            most = 0
            while len(rig.source.delivered_rows) < 9:
                await asyncio.sleep(0)
                most = max(most, len(rig.source.leased))

            assert most == 3
            assert rig.sample("sidecar_forward_in_flight_requests") == 0

    run(main())


def test_after_an_outage_one_row_probes_before_whole_batches_follow() -> None:
    async def main() -> None:
        async with sending(settings(concurrency=4)) as rig:
            rig.fake.script.fail_next(1, 503, {"Retry-After": "5"})
            rig.source.add(rows(50))
            await rig.answered(1)
            await rig.settled()
            await rig.clock.advance(7)
            await rig.delivered(50)

            assert [count for _, count in rig.source.leases] == [50, 1, 49]

    run(main())


def test_a_rotated_key_file_ends_a_pause_within_seconds(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "secret"
        file.write_text("sk-old")
        async with sending(secret_key_file=str(file)) as rig:
            rig.source.add(rows(3))
            await rig.answered(1)
            await rig.settled()
            assert rig.sample("sidecar_forward_paused", reason="unauthorized") == 1
            file.write_text(SECRET_KEY)
            await rig.clock.advance(KEY_POLL_S)
            await rig.delivered(3)

            assert rig.sample("sidecar_forward_paused", reason="unauthorized") == 0
            assert "destination has new keys; trying them" in rig.lines.events
            assert rig.clock.monotonic() < 310

    run(main())


def test_reloading_keys_probes_a_paused_destination_at_once() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, 401)
            rig.source.add(rows(3))
            await rig.answered(1)
            await rig.settled()
            assert rig.sender.status().paused == "unauthorized"
            rig.sender.reload_keys()
            await rig.delivered(3)

            assert rig.sender.status().paused is None
            assert rig.sender.status().state == "closed"

    run(main())


def test_a_drain_sends_what_lingers_and_returns() -> None:
    async def main() -> None:
        async with sending(settings(linger_ms=60_000)) as rig:
            rig.source.add(rows(5))
            await rig.clock.settle()
            await rig.sender.drain()

            assert len(rig.source.delivered_rows) == 5
            assert rig.source.waiting == []

    run(main())


def test_a_drain_of_nothing_returns() -> None:
    async def main() -> None:
        async with sending() as rig:
            await rig.sender.drain()

    run(main())


@pytest.mark.parametrize("status", [401, 413])
def test_a_drain_does_not_wait_for_a_paused_destination_nor_for_suspects(status: int) -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, status)
            rig.source.add(rows(1))
            await rig.answered(1)
            await rig.sender.drain()

            assert rig.source.delivered_rows == []

    run(main())


def test_a_drain_tries_a_destination_that_is_down_once_more() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, 503, {"Retry-After": "600"})
            rig.source.add(rows(5))
            await rig.answered(1)
            await rig.settled()
            await rig.sender.drain()

            assert len(rig.source.delivered_rows) == 5

    run(main())


def test_a_drain_waits_for_the_backoff_of_a_single_failure() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, 504)
            rig.source.add(rows(5))
            await rig.answered(1)
            await rig.settled()
            draining = asyncio.create_task(rig.sender.drain())
            await rig.clock.wait_for_sleeper()
            await rig.clock.advance(1)
            await draining

            assert len(rig.source.delivered_rows) == 5

    run(main())


def test_a_drain_gives_up_on_a_destination_that_stays_down() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(2, 503, {"Retry-After": "600"})
            rig.source.add(rows(5))
            await rig.answered(1)
            await rig.settled()
            await rig.sender.drain()

            assert rig.source.delivered_rows == []
            assert rig.statuses == [503, 503]

    run(main())


@pytest.mark.parametrize(("status", "is_up"), [(429, True), (503, False)])
def test_a_destination_that_asks_for_less_is_up_and_one_that_fails_is_not(status: int, is_up: bool) -> None:
    """Agents of the first have to send less; the second is waited for."""

    async def main() -> None:
        async with sending(settings(linger_ms=0)) as rig:
            assert rig.sender.pulse() == Pulse(NAME, is_up=True)
            rig.fake.script.fail_always(status, {"Retry-After": "30"})
            rig.source.add(rows(1))
            await rig.answered(1)
            assert rig.sender.pulse().is_up is is_up

            rig.fake.script.recover()
            await rig.pass_time(31)
            await rig.delivered(1)
            assert rig.sender.pulse().is_up

    run(main())


def test_an_idle_sender_sleeps_without_waking() -> None:
    async def main() -> None:
        async with sending() as rig:
            await rig.clock.settle()

            assert rig.clock.sleeping() == []

    run(main())


def test_secrets_are_in_no_log_line_and_no_repr() -> None:
    async def main() -> None:
        async with sending() as rig:
            for status in (401, 400, 503, 413):
                rig.fake.script.fail_next(1, status, body=SECRET_KEY.encode())
            rig.source.add(rows(2))
            await rig.answered(1)
            rig.sender.reload_keys()
            await rig.answered(2)
            shown = repr([vars(record) for record in rig.lines.records]) + repr((rig.sender, rig.sender.status(), vars(rig.sender)))
            rig.fake.script._steps.clear()

            assert SECRET_KEY not in shown

    run(main())


def test_a_lease_that_came_late_is_not_sent_while_the_server_wants_to_be_left_alone() -> None:
    async def main() -> None:
        async with sending(settings(concurrency=2)) as rig:
            rig.fake.script.fail_next(1, 429, {"Retry-After": "40"})
            rig.fake.slow(0.02)
            first, late = rows(2)
            rig.source.add([first])
            await until(lambda: bool(rig.source.leased), "the first lease")
            rig.source.leasing = asyncio.Event()
            rig.source.add([late])
            await rig.answered(1)
            await rig.clock.settle()
            rig.source.leasing.set()
            await until(lambda: not rig.source.leased and len(rig.source.waiting) == 2, "both leases to be given back")
            assert rig.statuses == [429]

            await rig.clock.advance(42)
            await rig.delivered(2)
            assert rig.statuses[0] == 429 and set(rig.statuses[1:]) == {200}

    run(main())

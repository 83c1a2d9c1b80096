"""What becomes of a lease, verdict by verdict: a real sender, a real client and a fake Langfuse."""

from __future__ import annotations

import asyncio
import random

import pytest
from aiohttp import web
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.buffer.leases import Lane
from sidecar.forward.batch import FLOOR_BYTES
from sidecar.forward.breaker import FAILURES_TO_OPEN
from sidecar.forward.delivery import REFUSALS_TO_PAUSE
from sidecar.wire.rows import NewRow
from sidecar.wire.split import decompress
from tests.fakes.listener import HeldPort
from tests.forward.rig import NAME, Rig, rows, run, sending, settings, span_row
from tests.spans import span
from tests.waiting import until

BAD = "poison"


def is_bad(each: Span) -> bool:
    return each.name == BAD


def row_with_bad(*positions: int, of: int = 5, seed: int = 99) -> NewRow:
    chance = random.Random(seed)
    trace_id = chance.randbytes(16)
    return span_row(*[span(trace_id=trace_id, span_id=chance.randbytes(8), name=BAD if i in positions else "good") for i in range(of)])


async def finished(rig: Rig) -> None:
    await until(lambda: not rig.source.leased and not rig.source.waiting, "the source to be empty")
    await rig.clock.settle()


def test_delivered_rows_are_settled_and_counted() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.source.add(rows(10, spans=3))
            await finished(rig)

            assert len(rig.source.delivered_rows) == 10
            assert len(rig.fake.seen.received) == 30
            assert rig.sample("sidecar_forward_delivered_spans_total") == 30
            assert rig.sample("sidecar_forward_delivered_bytes_total") == rig.fake.seen.requests[0].body_bytes
            assert rig.sample("sidecar_forward_in_flight_requests") == 0
            assert rig.lines.events == []

    run(main())


def test_a_passing_failure_resends_the_same_bytes_after_the_delay() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, 503)
            rig.source.add(rows(5))
            await rig.answered(1)
            assert await rig.clock.wait_for_sleeper() == 1
            assert rig.statuses == [503]
            await rig.clock.advance(1)
            await finished(rig)

            first, second = rig.fake.seen.requests
            assert (first.status, second.status) == (503, 200)
            assert first.digest == second.digest
            assert rig.source.released == 0
            assert rig.fake.seen.duplicates() == 0
            assert rig.sample("sidecar_forward_retries_total") == 1

    run(main())


def test_an_outage_gives_the_rows_back_and_probes_until_it_is_over() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_always(500)
            rig.source.add(rows(5))
            for attempt in range(1, 8):
                await rig.answered(attempt)
                await rig.settled() if attempt >= FAILURES_TO_OPEN else None
                await rig.clock.wait_for_sleeper()
                await rig.clock.advance(61)
            await rig.answered(8)
            assert rig.sample("sidecar_forward_breaker_state") == 2
            rig.fake.script.recover()
            await rig.clock.advance(61)
            await finished(rig)

            assert rig.sample("sidecar_forward_breaker_state") == 0
            assert rig.source.ambiguous == []
            assert "destination is down; spans are kept in the buffer" in rig.lines.events
            assert rig.lines.events[-1] == "destination is up"

    run(main())


def test_retry_after_is_obeyed() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, 429, {"Retry-After": "40"})
            rig.source.add(rows(1))
            await rig.answered(1)
            await rig.clock.wait_for_sleeper(at_least_s=40)
            await rig.clock.advance(39)
            assert rig.statuses == [429]
            await rig.clock.advance(2)
            await finished(rig)

            assert rig.statuses == [429, 200]

    run(main())


@pytest.mark.parametrize("how", ["gateway", "reset", "hang"])
def test_a_batch_without_an_answer_is_marked_ambiguous_and_resent_byte_for_byte(how: str) -> None:
    async def main() -> None:
        async with sending(settings(timeout_s=0.2 if how == "hang" else 5)) as rig:
            match how:
                case "gateway":
                    rig.fake.script.fail_next(1, 504, keep=True)
                case "reset":
                    rig.fake.script.reset_next(1, after_body=True)
                case _:
                    rig.fake.script.hang_next(1)
            rig.source.add(rows(4, spans=2))
            await rig.answered(1)
            await rig.settled()
            assert len(rig.source.ambiguous) == 4
            await rig.clock.wait_for_sleeper()
            assert len(rig.statuses) == 1
            await rig.clock.advance(1)
            await finished(rig)

            first, second = rig.fake.seen.requests
            assert first.digest == second.digest
            assert rig.sample("sidecar_forward_ambiguous_spans_total") == 8
            assert rig.fake.seen.duplicates() == 8

    run(main())


LARGE = settings(batch_mib=24, batch_raw_mib=64)
"""Batches that don't fit into the socket's buffers, so that a server which doesn't read stops the upload half-way."""


def large() -> list[NewRow]:
    return rows(40, padding=800_000)


def test_a_reset_within_the_body_is_not_ambiguous() -> None:
    async def main() -> None:
        async with sending(LARGE) as rig:
            rig.fake.script.reset_next(1, after_body=False)
            rig.source.add(large())
            await rig.answered(1)
            await rig.clock.wait_for_sleeper()
            await rig.clock.advance(1)
            await rig.delivered(40)

            assert rig.sample("sidecar_forward_ambiguous_spans_total") == 0
            assert rig.fake.seen.duplicates() == 0
            assert len(rig.fake.exports()) == 1

    run(main())


def test_uploads_that_never_come_through_are_sent_in_smaller_batches() -> None:
    async def main() -> None:
        async with sending(LARGE) as rig:
            rig.fake.script.reset_next(2, after_body=False)
            rig.source.add(large())
            await rig.answered(1)
            await rig.clock.wait_for_sleeper()
            await rig.clock.advance(1)
            await rig.delivered(40)

            assert rig.statuses[:2] == [None, None]
            assert len(rig.fake.exports()) == 2
            assert "batches were too large for the destination; smaller ones follow" in rig.lines.events

    run(main())


PAUSES = {
    "wrong_address": (404, None),
    "unauthorized": (401, None),
    "suspended": (403, None),
    "protocol": (400, b'{"error":"Invalid content type"}'),
    "unexpected_status": (418, None),
}


@pytest.mark.parametrize("reason", PAUSES)
def test_a_pause_keeps_everything_and_alarms_once(reason: str) -> None:
    async def main() -> None:
        status, said = PAUSES[reason]
        async with sending() as rig:
            rig.fake.script.fail_always(status, body=said)
            rig.source.add(rows(5))
            await rig.answered(1)
            await rig.settled()
            await rig.clock.wait_for_sleeper(at_least_s=310)
            assert len(rig.source.waiting) == 5
            assert rig.sample("sidecar_forward_paused", reason=reason) == 1
            await rig.clock.advance(341)
            await rig.answered(2)
            await rig.settled()
            assert rig.lines.events == ["destination is paused; spans are kept in the buffer"]
            rig.fake.script.recover()
            await rig.clock.advance(2 * 341)
            await finished(rig)

            assert rig.statuses == [status, status, 200, 200]
            assert rig.sample("sidecar_forward_paused", reason=reason) == 0
            assert rig.source.buried == []

    run(main())


@pytest.mark.parametrize("how", ["html", "redirect"])
def test_a_wrong_address_pauses_and_loses_nothing(how: str) -> None:
    async def main() -> None:
        async with sending() as rig:
            if how == "html":
                rig.fake.script.html_next(1)
            else:
                rig.fake.script.redirect_next(1, rig.fake.url)
            rig.source.add(rows(5))
            await rig.answered(1)
            await rig.settled()

            assert len(rig.source.waiting) == 5
            assert len(rig.statuses) == 1
            assert rig.sample("sidecar_forward_paused", reason="wrong_address") == 1

    run(main())


def test_one_bad_span_among_many_is_buried_alone() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.reject_if(is_bad)
            good = rows(50, spans=4)
            rig.source.add([*good[:17], row_with_bad(2), *good[17:]])
            await finished(rig)

            (row, burial), *others = rig.source.buried
            assert others == []
            assert (row.spans, burial.reason) == (1, "refused")
            assert "cannot be processed" in burial.answer
            assert len(rig.fake.seen.received) == 50 * 4 + 4
            assert rig.fake.seen.duplicates() == 0
            assert rig.sample("sidecar_forward_buried_spans_total") == 1
            assert rig.sample("sidecar_forward_breaker_state") == 0

    run(main())


def test_a_bad_span_in_every_row_costs_no_good_one() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.reject_if(is_bad)
            rig.source.add([row_with_bad(seed % 3, of=3, seed=seed) for seed in range(20)])
            await finished(rig)

            assert len(rig.source.buried) == 20
            assert len(rig.fake.seen.received) == 40
            assert rig.fake.seen.duplicates() == 0

    run(main())


def test_a_lone_refused_span_is_not_buried_until_another_request_was_taken() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.reject_if(is_bad)
            rig.source.add([row_with_bad(0, of=1)])
            await rig.answered(1)
            await rig.clock.advance(10_000)
            assert rig.source.buried == []
            assert rig.statuses == [400]
            rig.source.add(rows(1))
            await finished(rig)

            assert rig.statuses == [400, 200, 400]
            assert len(rig.source.buried) == 1
            assert len(rig.source.delivered_rows) == 1

    run(main())


def test_a_lone_span_that_was_refused_by_a_passing_fault_is_delivered_in_the_end() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, 400)
            rig.source.add(rows(1))
            await rig.answered(1)
            rig.source.add(rows(1, seed=7))
            await finished(rig)

            assert rig.statuses == [400, 200, 200]
            assert len(rig.source.delivered_rows) == 2
            assert rig.source.buried == []

    run(main())


def test_a_suspect_that_is_leased_with_others_does_not_hold_them_up() -> None:
    async def main() -> None:
        async with sending(settings(concurrency=2)) as rig:
            rig.fake.reject_if(is_bad)
            rig.source.add([row_with_bad(0, of=1)], Lane.BACKLOG)
            await rig.answered(1)
            rig.source.add(rows(20))
            await finished(rig)

            assert len(rig.source.buried) == 1
            assert len(rig.source.delivered_rows) == 20

    run(main())


def test_a_server_that_refuses_everything_is_paused_and_nothing_is_buried() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_always(400)
            rig.source.add(rows(200, spans=2))
            await rig.answered(REFUSALS_TO_PAUSE)
            await rig.settled()
            await rig.clock.wait_for_sleeper(at_least_s=310)
            assert len(rig.statuses) == REFUSALS_TO_PAUSE
            assert rig.sample("sidecar_forward_paused", reason="refused") == 1
            assert sum(row.spans for row in rig.source.waiting) == 400
            rig.fake.script.recover()
            await rig.clock.advance(341)
            await finished(rig)

            assert rig.source.buried == []
            assert len(rig.fake.seen.received) == 400

    run(main())


def test_too_large_a_batch_is_halved_and_the_size_that_passed_is_remembered() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.max_body_bytes = 60_000
            rig.source.add(rows(100, padding=2000))
            await finished(rig)
            refused = rig.statuses.count(413)
            rig.source.add(rows(100, padding=2000, seed=5))
            await finished(rig)

            assert refused > 0
            assert rig.statuses.count(413) == refused
            assert len(rig.source.delivered_rows) == 200
            assert max(each.body_bytes for each in rig.fake.exports()) <= 60_000

    run(main())


def test_too_large_a_row_is_sent_span_by_span() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.max_body_bytes = 40_000
            rig.source.add(rows(1, spans=8, padding=20_000))
            await finished(rig)

            assert len(rig.fake.seen.received) == 8
            assert rig.source.buried == []

    run(main())


def test_too_large_a_span_is_buried_and_its_siblings_are_delivered() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.max_body_bytes = FLOOR_BYTES * 2
            rig.source.add([*rows(3), *rows(1, padding=FLOOR_BYTES * 8, seed=3), *rows(3, seed=4)])
            await finished(rig)

            assert [(row.spans, burial.reason) for row, burial in rig.source.buried] == [(1, "too_large")]
            assert len(rig.source.delivered_rows) == 6

    run(main())


def test_a_row_that_upsets_the_server_does_not_hold_up_the_others() -> None:
    """A 500 is no refusal, so nothing is buried; but what fails while others pass is isolated, and then waits without a slot."""

    async def main() -> None:
        seen: list[int] = []

        async def handle(request: web.BaseRequest) -> web.Response:
            upset = BAD.encode() in decompress(await request.read())
            seen.append(500 if upset else 200)
            return web.json_response({}, status=seen[-1])

        server = web.Server(handle, auto_decompress=False)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with sending(settings(concurrency=2, retry_max_s=4), url=url) as rig:
            good = rig.source.add(rows(3), Lane.BACKLOG)
            bad = rig.source.add([row_with_bad(0, of=1, seed=seed) for seed in range(3)], Lane.BACKLOG)
            good += rig.source.add(rows(3, seed=2), Lane.BACKLOG)
            for turn in range(100):
                good += rig.source.add(rows(1, seed=turn + 10))
                await rig.pass_time(1)
            await rig.pass_time_until(lambda: len(rig.source.delivered_rows) == len(good))

            assert {row.id for row in rig.source.delivered_rows} == {row.id for row in good}
            assert rig.source.buried == []
            rig.task.cancel()
            await rig.settled()
            assert {row.id for row in rig.source.waiting} == {row.id for row in bad}
        listener.close()
        await server.shutdown(1)

    run(main())


def test_what_was_delivered_is_settled_before_the_rest_waits() -> None:
    """A crash while a part waits for its next attempt resends nothing that was taken."""

    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, 413)
            rig.fake.script.fail_next(1, 200)
            rig.fake.script.fail_next(1, 503)
            rig.source.add(rows(4))
            await rig.answered(3)
            await rig.clock.wait_for_sleeper()

            assert len(rig.source.delivered_rows) == 2
            assert rig.source.status(NAME).leased_rows == 2
            await rig.clock.advance(1)
            await rig.delivered(4)

    run(main())


def test_ending_while_a_request_is_out_marks_its_rows_ambiguous() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.hang_next(1)
            rig.source.add(rows(3))
            await rig.fake.wait_for_spans(3)
            rig.task.cancel()
            await rig.settled()

            assert len(rig.source.ambiguous) == 3
            assert rig.sample("sidecar_forward_ambiguous_spans_total") == 3

    run(main())


def test_ending_while_a_batch_waits_gives_it_back_unmarked() -> None:
    async def main() -> None:
        async with sending() as rig:
            rig.fake.script.fail_next(1, 503)
            rig.source.add(rows(3))
            await rig.answered(1)
            rig.task.cancel()
            await rig.settled()

            assert len(rig.source.waiting) == 3
            assert rig.source.ambiguous == []

    run(main())


def test_a_destination_that_is_down_keeps_rows_without_marks() -> None:
    async def main() -> None:
        with HeldPort() as held:
            async with sending(url=f"http://127.0.0.1:{held.port}") as rig:
                rig.source.add(rows(3))
                for attempt in range(1, FAILURES_TO_OPEN + 1):
                    await rig.answered(attempt)
                    await rig.clock.advance(5)
                await rig.settled()

                assert len(rig.source.waiting) == 3
                assert rig.source.ambiguous == []
                assert rig.sender.status().last_failure.startswith("connection_refused")

    run(main())

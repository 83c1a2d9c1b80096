from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace as changed
from pathlib import Path

import pytest

from sidecar.buffer import shedding
from sidecar.buffer.leases import Lane, LeaseLimit
from sidecar.buffer.records import ShedEnd, ShedTrace
from sidecar.buffer.runner import inline
from sidecar.buffer.shedder import EXACT_THRESHOLDS, NEVER, Shedder, Tally
from sidecar.buffer.shedding import Step
from sidecar.buffer.tending import SEAL_PAUSE_S
from sidecar.wire.rows import NewRow
from tests.buffer.builders import append, assert_balanced, buffer, lease_all, row, run
from tests.buffer.test_core import ScriptedDisk
from tests.buffer.test_worker import scene
from tests.fakes.clock import START_MS, FakeClock

MANY = 1 << 40


def trace(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_lowest_priority_goes_first_and_the_result_says_how_far_it_went(tmp_path: Path) -> None:
    async def body() -> None:
        told: list[ShedTrace] = []
        async with buffer(tmp_path / "b.db") as found:
            rows = [row(b"12345", trace=number, randomness=number, priority=number % 2, spans=2, threshold=number % 2) for number in range(8)]
            await found.append(append(*rows))
            shed = await found.shed(6, 1, 20, "backlog", told.extend)

            assert (shed.end, shed.rows, shed.spans, shed.body_bytes) == (ShedEnd.TARGET, 4, 8, 20)
            assert [(each.trace_id, each.spans) for each in told] == [(trace(0), 2), (trace(2), 2), (trace(4), 2), (trace(1), 2)]
            assert (shed.reached, shed.before_id) == ({0: 6, 1: 2}, 9)
            assert shed.spans_by_threshold == {0: 6, 1: 2}
            assert shed.adjusted_spans == pytest.approx(8)
            assert found.ledger.totals["shed", "backlog"] == 8
            (lease,) = await lease_all(found)
            assert [leased.trace_id for leased in lease.rows] == [trace(3), trace(5), trace(6), trace(7)]
            assert_balanced(found._core)

    run(body())


def test_shedding_ends_when_nothing_is_left_that_may_go(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row(priority=2), row(trace=2)))
            told: list[ShedTrace] = []
            ends = [(await found.shed(NEVER, 1, target, "backlog", told.extend)).end for target in (0, MANY, MANY)]

            assert ends == [ShedEnd.TARGET, ShedEnd.NOTHING_LEFT, ShedEnd.NOTHING_LEFT]
            assert [each.trace_id for each in told] == [trace(2)]
            with pytest.raises(ValueError, match="56 bits"):
                await found.shed(NEVER + 1, 0, 1, "backlog", told.extend)

    run(body())


def test_leased_and_partly_delivered_traces_are_spared(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(*(row(trace=number) for number in (1, 2, 3, 1, 2, 3))))
            delivered = await found.lease("default", Lane.FRESH, LeaseLimit(1, 1, 1))
            leased = await found.lease("default", Lane.FRESH, LeaseLimit(1, 1, 1))
            assert delivered is not None and leased is not None
            await found.delivered(delivered)
            told: list[ShedTrace] = []

            await found.shed(NEVER, 0, MANY, "backlog", told.extend)
            assert [each.trace_id for each in told] == [trace(3)]

            await found.release(leased)
            await found.shed(NEVER, 0, MANY, "backlog", told.extend)
            assert [each.trace_id for each in told] == [trace(3), trace(2)]
            (lease,) = await lease_all(found)
            assert [row.trace_id for row in lease.rows] == [trace(1)]

    run(body())


def test_shedding_beside_a_sender_and_agents_tears_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are leased, delivered, released and appended between the steps; each trace ends in one place."""
    monkeypatch.setattr(shedding, "SCAN_ROWS", 64)
    monkeypatch.setattr(shedding, "ROUND_ROWS", 200)

    async def body() -> None:
        rng = random.Random(3)
        numbers = [number for number in range(600) for _ in range(3)]
        rng.shuffle(numbers)
        delivered: set[bytes] = set()
        shed_spans: Counter[bytes] = Counter()
        stop = asyncio.Event()

        def told(traces: object) -> None:
            assert isinstance(traces, tuple)
            for each in traces:
                assert each.trace_id not in delivered
                shed_spans[each.trace_id] += each.spans

        async def sending() -> None:
            while not stop.is_set():
                for lane in Lane:
                    lease = await found.lease("default", lane, LeaseLimit(50, 1 << 40, 1 << 40))
                    await asyncio.sleep(0)
                    if lease is not None and rng.random() < 0.3:
                        await found.release(lease, ambiguous=rng.random() < 0.2)
                    elif lease is not None:
                        assert not shed_spans.keys() & {row.trace_id for row in lease.rows}
                        delivered.update(row.trace_id for row in lease.rows)
                        await found.delivered(lease)

        async with buffer(tmp_path / "b.db", cache_mib=0.002) as found:
            for start in range(0, len(numbers), 100):
                await found.append(append(*(row(b"12345", trace=number, randomness=number) for number in numbers[start : start + 100])))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sending())
                for _ in range(6):
                    await found.shed(500, 0, 500, "backlog", told)
                stop.set()
            assert len(shed_spans) > 50
            assert len(delivered) > 50
            assert set(shed_spans.values()) == {3}, "whole traces"
            assert_balanced(found._core)
            left = sum(lane.total for _, lane in found._lanes)
            assert left == sum(totals.rows for totals in found._core.totals.values())

    run(body())


def test_a_full_disk_is_shed_in_small_steps(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", runner=inline, disk=ScriptedDisk()) as found:
            await found.append(append(*(row(b"1", trace=number, randomness=number, spans=2) for number in range(200))))
            pages = found._core.db.execute("PRAGMA page_count").fetchone()[0]
            found._core.db.execute(f"PRAGMA max_page_count = {pages}")
            found._core._fill()
            told: list[ShedTrace] = []

            shed = await found.shed(NEVER, 0, 150, "backlog", told.extend)

            assert (shed.end, shed.rows, sum(each.spans for each in told)) == (ShedEnd.TARGET, 150, 300)
            assert_balanced(found._core)

    run(body())


def test_a_disk_that_takes_nothing_ends_it_and_the_result_says_what_was_done(tmp_path: Path) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            await on.worker.append(append(*(row(b"1", trace=number, randomness=number) for number in range(200))))
            on.db.code = sqlite3.SQLITE_FULL
            told: list[ShedTrace] = []

            def refuse_from_now(traces: Sequence[ShedTrace]) -> None:
                told.extend(traces)
                on.db.refuses_begin = True

            shed = await Shedder(on.worker, "backlog", refuse_from_now).shed(NEVER, 0, MANY)
            on.db.refuses_begin = False

            assert (shed.end, shed.rows, shed.reached) == (ShedEnd.DISK, len(told), {})
            assert on.lanes["default"].total == 200 - len(told) == on.core.totals["default"].rows > 0
            assert_balanced(on.core)

    run(body())


def test_settling_rows_that_outlive_shedding_are_sealed_with_the_threshold_they_passed(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        sealed: dict[bytes, int] = defaultdict(int)

        def seal(old: NewRow) -> NewRow:
            sealed[old.body] = old.threshold
            return changed(old, body=old.body + b"+")

        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, seal=seal) as found:
            due_ms = clock.wall_ms() + 6000
            await found.append(
                append(row(b"shed", trace=1, randomness=1, seal_at_ms=due_ms), row(b"kept", trace=2, randomness=50, seal_at_ms=due_ms))
            )
            await found.append(append(row(b"rule", trace=3, randomness=1, priority=2, seal_at_ms=due_ms)))
            shed = await found.shed(40, 1, MANY, "backlog", lambda _: None)
            found.raise_thresholds(shed)
            await found.append(append(row(b"later", trace=4, randomness=60, seal_at_ms=due_ms)))
            await clock.advance(6 + SEAL_PAUSE_S)

            assert sealed == {b"kept": 40, b"rule": 0, b"later": 0}
            assert found._core.db.execute("SELECT threshold FROM rows ORDER BY id").fetchall() == [(40,), (0,), (0,)]

    run(body())


def test_a_call_remembers_few_thresholds_and_weighs_all() -> None:
    tally = Tally()
    half = NEVER // 2
    tally.add(Step(passed=[(half + number, 1) for number in range(3 * EXACT_THRESHOLDS)]))

    assert len(tally.spans_by_threshold) <= 2 * EXACT_THRESHOLDS
    assert sum(tally.spans_by_threshold.values()) == tally.spans == 3 * EXACT_THRESHOLDS
    assert tally.adjusted_spans == pytest.approx(2 * 3 * EXACT_THRESHOLDS)


def test_a_row_that_nothing_could_pass_has_no_weight() -> None:
    tally = Tally()
    tally.add(Step(passed=[(NEVER, 4)]))

    assert (tally.spans, tally.adjusted_spans) == (4, 0.0)


def test_what_sampling_needs_to_know_is_there_to_read(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, max_mib=1, max_age_h=2) as found:
            assert (found.fill, found.oldest_received_ms, found.drain_s, found.leaving_rows_per_s) == (0, None, 0, 0)
            for second in range(120):
                await found.append(append(*(row(bytes(1000), received_ms=START_MS + second) for _ in range(2))))
                lease = await found.lease("default", Lane.FRESH, LeaseLimit(1000, 1 << 40, 1 << 40))
                assert lease is not None
                await found.delivered(lease)
                await clock.advance(1)
            assert (found.limit_bytes, found.max_age_s, found.fill) == (1 << 20, 7200, 120_000 / (1 << 20))
            assert found.oldest_received_ms == START_MS + 60
            assert found.leaving_rows_per_s == pytest.approx(1, rel=0.05)
            assert found.drain_s == pytest.approx(120, rel=0.05)
            await clock.advance(120)
            assert (found.drain_s, found.leaving_rows_per_s) == (None, 0)
            assert len(await lease_all(found)) == 1

    run(body())

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.buffer import shedding
from sidecar.buffer.core import DRAIN_BYTES, DRAIN_ROWS, LOG_BYTES, BufferCore, DiskRefused
from sidecar.buffer.records import Group, Settlement
from sidecar.buffer.shedding import SCAN_ROWS, Step, Sweep, step
from sidecar.buffer.traces import TraceFilter
from tests.buffer.builders import append, assert_balanced, file, row
from tests.buffer.test_core import FaultyConnection, ScriptedDisk, faulty

ALL = 1 << 56
MANY = 1 << 60


def trace(number: int) -> bytes:
    return number.to_bytes(16, "big")


def swept(core: BufferCore, priority: int = 0, threshold: int = ALL, target_bytes: int = MANY, spare: Collection[bytes] = ()) -> Sweep:
    sweep = Sweep(priority, threshold, target_bytes, TraceFilter())
    while sweep.scan(core, lambda trace_id: trace_id in spare):
        pass
    return sweep


def shed(core: BufferCore, sweep: Sweep, spare: Collection[bytes] = ()) -> Step:
    done = Step()
    while sweep.traces:
        step(core, sweep, lambda trace_id: trace_id in spare, "backlog", done)
    return done


def ids(core: BufferCore) -> list[int]:
    return [found[0] for found in core.db.execute("SELECT id FROM rows ORDER BY id")]


def test_whole_traces_of_the_lowest_randomness_go_until_the_target_is_reached(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        numbers = (30, 10, 20, 10, 40, 20)
        found.core.commit(Group([append(*(row(b"12345", trace=number, randomness=number, spans=2) for number in numbers))]))

        sweep = swept(found.core, target_bytes=11)
        done = shed(found.core, sweep)

        assert ids(found.core) == [1, 5]
        assert (sweep.bound, sweep.cut) == (21, True)
        assert [(each.trace_id, each.randomness, each.spans) for each in done.traces.values()] == [(trace(10), 10, 4), (trace(20), 20, 4)]
        assert found.core.ledger.totals["shed", "backlog"] == 8
        assert_balanced(found.core)


def test_the_threshold_itself_is_kept_and_what_lies_below_goes(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(trace=number, randomness=number) for number in (9, 10, 11)))]))

        sweep = swept(found.core, threshold=10)
        shed(found.core, sweep)

        assert ids(found.core) == [2, 3]
        assert (sweep.bound, sweep.cut) == (10, False)


def test_settling_rows_go_too_and_every_row_says_what_it_had_passed(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(spans=2, threshold=5, seal_at_ms=9), row(spans=3))]))

        done = shed(found.core, swept(found.core))

        assert done.passed == [(5, 2), (0, 3)]
        assert [gone.settling for gone in done.gone] == [True, False]
        assert_balanced(found.core)


def test_a_trace_with_an_ambiguous_row_or_one_of_higher_priority_is_spared_as_a_whole(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(trace=1), row(trace=1), row(trace=2), row(trace=2, priority=1), row(trace=3))]))
        found.core.commit(Group(settlements=[Settlement(1, ambiguous=(2,), closes=True)]))

        shed(found.core, swept(found.core))
        assert ids(found.core) == [1, 2, 3, 4]

        shed(found.core, swept(found.core, priority=1))
        assert ids(found.core) == [1, 2]
        assert_balanced(found.core)


def test_a_trace_that_memory_spares_is_passed_over_before_and_after_the_sweep(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(b"1", trace=number, randomness=number) for number in (1, 1, 2, 3)))]))

        sweep = swept(found.core, target_bytes=2, spare={trace(1)})
        assert list(sweep.traces) == [trace(2), trace(3)], "what is spared counts for nothing"
        shed(found.core, sweep, spare={trace(3)})

        assert ids(found.core) == [1, 2, 4]


def test_rows_that_came_after_the_sweep_go_with_their_trace(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(trace=1), row(trace=2), row(trace=3))]))
        sweep = swept(found.core)
        found.core.commit(Group([append(row(trace=1), row(trace=4), row(trace=2, priority=1))]))
        found.core.commit(Group(settlements=[Settlement(1, ambiguous=(3,), closes=True)]))

        shed(found.core, sweep)

        assert ids(found.core) == [2, 3, 5, 6], "trace 2 is important by now, 3 ambiguous, 4 new"
        assert_balanced(found.core)


def test_rows_that_left_meanwhile_are_not_counted_twice(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(trace=1), row(trace=2))]))
        first, second = swept(found.core), swept(found.core)

        assert (len(shed(found.core, first).gone), len(shed(found.core, second).gone)) == (2, 0)
        assert_balanced(found.core)


def test_a_sweep_takes_more_than_one_stretch_and_its_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shedding, "ROUND_ROWS", 100)
    with file(tmp_path / "b.db") as found:
        count = 3 * SCAN_ROWS
        for start in range(0, count, 512):
            found.core.commit(Group([append(*(row(trace=1 + number, randomness=number * 7919 % count) for number in range(start, start + 512)))]))
        tracemalloc.start()
        sweep = swept(found.core)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert sweep.cut
        assert sorted(row.randomness for rows in sweep.traces.values() for row in rows) == list(range(100))
        assert peak < 3 * 1024 * 1024


def test_a_flood_of_one_randomness_is_shed_in_bounded_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shedding, "ROUND_ROWS", 100)
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(trace=1) for _ in range(500)))]))
        sizes = []
        while True:
            sweep = swept(found.core, threshold=8)
            sizes.append(len(shed(found.core, sweep).gone))
            if not sweep.cut:
                break

        assert sizes == [200, 200, 100]
        assert_balanced(found.core)


def test_a_long_trace_goes_in_one_call_of_several_transactions(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", connector=faulty) as found:
        half = b"x" * (DRAIN_BYTES // 2)
        found.core.commit(
            Group([append(row(trace=1), *(row(trace=2, randomness=9) for _ in range(DRAIN_ROWS + 1)), row(half, trace=2, randomness=9))])
        )
        sweep = swept(found.core)
        commits: list[str] = []
        found.core.db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

        taken = []
        for _ in range(2):
            done = Step()
            step(found.core, sweep, lambda _: False, "backlog", done)
            taken.append((len(done.gone), len(commits)))

        assert taken == [(1, 1), (DRAIN_ROWS + 2, 3)]
        assert not sweep.traces


def test_one_transaction_stays_within_the_logs_room(tmp_path: Path) -> None:
    """Rows of one page each, scattered: the pages that a full disk must have room for."""
    with file(tmp_path / "b.db", disk=ScriptedDisk()) as found:
        for start in range(0, 2000, 500):
            rows = (row(b"x" * 9000, trace=1 + number, randomness=number * 7919 % 2000) for number in range(start, start + 500))
            found.core.commit(Group([append(*rows)]))
        found.core.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        sweep = swept(found.core, target_bytes=9000 * DRAIN_ROWS)

        step(found.core, sweep, lambda _: False, "backlog", Step())

        assert 1 << 20 < (tmp_path / "b.db-wal").stat().st_size < LOG_BYTES


def test_a_full_disk_is_shed_on_the_reserve(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    with file(tmp_path / "b.db", connector=faulty, disk=disk) as found:
        found.core.commit(Group([append(row(trace=1), row(trace=2))]))
        db = found.core.db
        assert isinstance(db, FaultyConnection)
        sweep = swept(found.core)
        # the queries of the step come first, then its BEGIN
        db.code, db.countdown = sqlite3.SQLITE_FULL, 3

        shed(found.core, sweep)

        assert (disk.freed, found.core.disk_full, ids(found.core)) == (1, True, [])
        assert_balanced(found.core)


def test_what_was_committed_before_the_disk_refused_is_told(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", connector=faulty, disk=ScriptedDisk()) as found:
        found.core.commit(Group([append(*(row(spans=2) for _ in range(DRAIN_ROWS + 5)))]))
        db = found.core.db
        assert isinstance(db, FaultyConnection)
        sweep, done = swept(found.core), Step()
        db.code = sqlite3.SQLITE_FULL

        def refuse_the_second(sql: str) -> None:
            db.refuses_begin = db.refuses_begin or sql == "COMMIT"

        db.set_trace_callback(refuse_the_second)
        with pytest.raises(DiskRefused):
            step(found.core, sweep, lambda _: False, "backlog", done)
        db.set_trace_callback(None)

        assert len(done.gone) == DRAIN_ROWS
        assert found.core.ledger.totals["shed", "backlog"] == sum(each.spans for each in done.traces.values()) == 2 * DRAIN_ROWS
        assert_balanced(found.core)


rows = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 2), st.integers(0, 40)), max_size=60)


@given(rows, st.integers(0, 13), st.integers(1, 600), st.integers(0, 2))
def test_what_is_chosen_is_the_least_of_whole_sheddable_traces(
    drawn: list[tuple[int, int, int]], threshold: int, target_bytes: int, priority: int
) -> None:
    """Against the rule said in a few lines."""
    with file(":memory:") as found:
        new = [row(bytes(size), trace=number, randomness=number, priority=important) for number, important, size in drawn]
        found.core.commit(Group([append(*new)]))
        important = {each.trace_id for each in new if each.priority > priority}
        expected: set[bytes] = set()
        size = 0
        for number in range(threshold):
            if size < target_bytes and trace(number) not in important:
                expected |= {each.trace_id for each in new if each.randomness == number}
                size += sum(len(each.body) for each in new if each.randomness == number)

        shed(found.core, swept(found.core, priority, threshold, target_bytes))

        left = {found[0] for found in found.core.db.execute("SELECT trace_id FROM rows")}
        assert left == {each.trace_id for each in new} - expected
        assert_balanced(found.core)

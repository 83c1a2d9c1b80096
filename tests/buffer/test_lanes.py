from __future__ import annotations

from sidecar.buffer.lanes import Lanes
from sidecar.buffer.leases import LeaseLimit
from sidecar.buffer.records import Backlog, Gone, Totals
from sidecar.wire.rows import Row
from tests.buffer.builders import ANY


def at(row_id: int, *, size: int = 10, destination: str = "default", received_ms: int = 0, spans: int = 1) -> Row:
    return Row(row_id, destination, b"t" * 16, spans, size * 5, b"x" * size, received_ms or row_id)


def lanes(cache_bytes: int = 1000, **totals: Totals) -> Lanes:
    return Lanes(cache_bytes, totals, oldest_ms=1)


def test_after_a_start_everything_is_backlog() -> None:
    found = lanes(default=Totals(rows=5, spans=9, settling=2))

    status = found["default"].status()

    assert (status.fresh_rows, status.backlog_rows, status.oldest_received_ms) == (0, 3, 1)
    assert found.begin_read("default") == (0, frozenset())


def test_fresh_rows_are_taken_oldest_first_within_the_limit() -> None:
    found = lanes()
    found.arrived([at(1), at(2), at(3)])

    taken = found.take_fresh("default", LeaseLimit(20, 1000, 1000))

    assert [row.id for row in taken] == [1, 2]
    assert (found["default"].status().fresh_rows, found["default"].status().leased_rows) == (1, 2)


def test_a_row_over_the_limit_is_taken_alone() -> None:
    found = lanes()
    found.arrived([at(1, size=50), at(2)])

    assert [row.id for row in found.take_fresh("default", LeaseLimit(1, 1, 1))] == [1]
    assert found.take_fresh("other", ANY) == ()


def test_the_oldest_rows_of_all_destinations_leave_a_full_cache_and_become_backlog() -> None:
    found = lanes(cache_bytes=30)
    found.arrived([at(1), at(2, destination="other"), at(3), at(4), at(5)])

    assert list(found["default"].cached) == [3, 4, 5]
    assert (found["default"].backlog, found["other"].backlog) == (1, 1)
    assert found["default"].cursor == 0
    assert found["other"].cursor == 1
    assert found.cached_bytes == 30


def test_a_read_moves_the_cursor_and_a_release_pulls_it_back() -> None:
    found = lanes(default=Totals(rows=4, spans=4))
    found.end_read("default", Backlog((at(1), at(2), at(3)), (), 3, exhausted=False))
    assert (found["default"].cursor, found["default"].backlog, found["default"].status().oldest_received_ms) == (3, 1, 3)

    found.released([at(2)])

    assert (found["default"].cursor, found["default"].backlog) == (1, 2)
    assert found.begin_read("default") == (1, frozenset({1, 3}))
    assert found["default"].status().oldest_received_ms == 2


def test_a_reader_that_reached_the_end_begins_anew() -> None:
    found = lanes(default=Totals(rows=1, spans=1))
    found["default"].cursor = 7

    assert found.end_read("default", Backlog((), (), 9, exhausted=True)) == 0
    assert found["default"].cursor == 0


def test_rows_that_are_not_on_disk_are_believed_in_no_longer() -> None:
    found = lanes(default=Totals(rows=2, spans=2))
    found.begin_read("default")

    assert found.end_read("default", Backlog((), (), 0, exhausted=True)) == 2
    assert not found["default"].has_work


def test_every_way_out_is_counted() -> None:
    found = lanes()
    found.settling("default")
    found.arrived([at(2), at(3), at(4), at(5)])
    found.sealed([at(1)])
    found.take_fresh("default", LeaseLimit(30, 1000, 1000))
    assert found.leased_ids() == {2, 3, 4}
    found.settled([at(2)])
    found.replaced(at(3, spans=2), [at(6), at(7)])
    found.released([at(4)])
    found.gone([Gone(5, "default", 1, 10, settling=False), Gone(4, "default", 1, 10, settling=False)])

    lane = found["default"]
    assert (lane.total, len(lane.cached), lane.leased, lane.settling, lane.backlog) == (3, 1, {6, 7}, 0, 0)
    assert (lane.cached_bytes, lane.cached_spans, found.cached_bytes) == (10, 1, 10)


def test_a_quarantined_row_is_no_longer_backlog() -> None:
    found = lanes(default=Totals(rows=2, spans=2))
    found.end_read("default", Backlog((at(2),), (Gone(1, "default", 1, 1, settling=False),), 2, exhausted=True))

    assert (found["default"].total, found["default"].backlog) == (1, 0)

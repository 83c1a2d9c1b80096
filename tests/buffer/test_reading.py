from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from sidecar.buffer import reading
from sidecar.buffer.core import BufferCore
from sidecar.buffer.leases import Buried, LeaseLimit
from sidecar.buffer.reading import PAGE_ROWS, SCAN_ROWS, page
from sidecar.buffer.records import Filter, Group, Kind, Settlement
from tests.buffer.builders import ANY, append, assert_balanced, file, read_backlog, row


def ids(core: BufferCore, after: int = 0, skip: frozenset[int] = frozenset(), limit: LeaseLimit = ANY, max_rows: int = 1000) -> list[int]:
    return [found.id for found in read_backlog(core, "default", after, skip, limit, max_rows).rows]


def flip(core: BufferCore, row_id: int) -> None:
    """One byte of a body changes on disk."""
    core.db.execute("UPDATE rows SET body = CAST('X' || substr(CAST(body AS TEXT), 2) AS BLOB) WHERE id = ?", (row_id,))


def test_rows_come_in_the_order_of_their_receipt_after_the_cursor(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"a"), row(b"b", destination="other"), row(b"c"), row(b"d", seal_at_ms=1), row(b"e"))]))

        assert ids(found.core) == [1, 3, 5]
        assert ids(found.core, after=1) == [3, 5]
        assert ids(found.core, skip=frozenset({3})) == [1, 5]
        assert ids(found.core, max_rows=2) == [1, 3]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (LeaseLimit(20, 1 << 40, 1 << 40), [1, 2]),
        (LeaseLimit(1 << 40, 149, 1 << 40), [1, 2]),
        (LeaseLimit(1 << 40, 1 << 40, 3), [1]),
        (LeaseLimit(1, 1, 1), [1]),
    ],
    ids=["bytes", "raw bytes", "spans", "a row over every bound is read alone"],
)
def test_each_limit_holds(tmp_path: Path, limit: LeaseLimit, expected: list[int]) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(b"0123456789", spans=2) for _ in range(5)))]))

        assert ids(found.core, limit=limit) == expected


def test_a_row_with_a_flipped_byte_is_quarantined_alone(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(b"good"), row(b"bad", spans=3), row(b"fine"))]))
        flip(found.core, 2)

        backlog = read_backlog(found.core, "default", 0, frozenset(), ANY, 1000)

        assert [read.body for read in backlog.rows] == [b"good", b"fine"]
        assert [(gone.id, gone.spans) for gone in backlog.quarantined] == [(2, 3)]
        assert found.core.ledger.totals["quarantined", ""] == 3
        assert_balanced(found.core)


def test_an_empty_stretch_says_whether_there_is_more(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(b"x") for _ in range(SCAN_ROWS + 1)))]))
        skip = frozenset(range(1, SCAN_ROWS + 1))
        first = read_backlog(found.core, "default", 0, skip, ANY, 1000)
        second = read_backlog(found.core, "default", first.last_id, skip, ANY, 1000)

        assert (first.rows, first.exhausted, first.last_id) == ((), False, SCAN_ROWS)
        assert ([read.id for read in second.rows], second.exhausted) == ([SCAN_ROWS + 1], True)


def test_choosing_takes_two_steps_however_many_rows_there_are(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(b"x") for _ in range(500)))]))
        seen: list[str] = []
        found.core.db.set_trace_callback(seen.append)
        choice = reading.choose(found.core, "default", 0, frozenset(), ANY, 1000)
        found.core.db.set_trace_callback(None)

        assert (len(choice.ids), len(seen)) == (500, 2)


def listing(core: BufferCore, kind: Kind, wanted: Filter = Filter()) -> list[list[int]]:  # noqa: B008  (a value)
    pages = []
    after: int | None = 0
    while after is not None:
        found = page(core, kind, wanted, after)
        pages.append([listed.row.id for listed in found.rows])
        after = found.next_after
    return pages


def test_a_listing_comes_in_bounded_pages_and_is_complete(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(b"x") for _ in range(150)))]))

        pages = listing(found.core, Kind.PENDING)

        assert [len(ids) for ids in pages] == [PAGE_ROWS, PAGE_ROWS, 150 - 2 * PAGE_ROWS]
        assert list(chain(*pages)) == list(range(1, 151))


def test_a_page_is_bounded_by_bytes_too(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(b"x" * 400_000) for _ in range(5)))]))

        assert listing(found.core, Kind.PENDING) == [[1, 2], [3, 4], [5]]


def test_a_filter_that_matches_little_still_ends(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(*(row(b"x", trace=index) for index in range(SCAN_ROWS + 5)))]))
        wanted = Filter(trace_id=(SCAN_ROWS + 3).to_bytes(16, "big"))

        assert list(chain(*listing(found.core, Kind.PENDING, wanted))) == [SCAN_ROWS + 4]


def test_each_kind_shows_what_is_known_of_it(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        core = found.core
        core.commit(Group([append(row(b"settling", seal_at_ms=5), row(b"poison"), row(b"kept"), row(b"flipped"))]))
        backlog = read_backlog(core, "default", 0, frozenset(), ANY, 1000).rows
        core.commit(Group(settlements=[Settlement(1, buried=((backlog[0], Buried("refused", "no")),)), Settlement(2, (backlog[1],), keep_spans=9)]))
        flip(core, 4)

        pending = page(core, Kind.PENDING, Filter(), 0).rows
        (dead,) = page(core, Kind.DEAD, Filter(), 0).rows
        (kept,) = page(core, Kind.DELIVERED, Filter(), 0).rows

        assert [(listed.state, listed.intact) for listed in pending] == [("settling", True), ("sealed", False)]
        assert (dead.row.body, dead.reason, dead.answer) == (b"poison", "refused", "no")
        assert (kept.row.body, kept.reason) == (b"kept", "") and kept.settled_ms is not None
        assert reading.dead_letters(core) == [{"destination": "default", "reason": "refused", "rows": 1, "spans": 1, "bytes": 6}]

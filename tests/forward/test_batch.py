"""Bodies, halves and ceilings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.forward.batch import FLOOR_BYTES, GROW_S, PIECE_BYTES, Ceiling, halves, pieces, size_of
from sidecar.wire.rows import Row
from sidecar.wire.split import compress, decompress

MIB = 2**20


def row(size: int, row_id: int = 1) -> Row:
    return Row(row_id, "main", b"", 1, size, bytes([row_id % 251]) * size, 0)


sizes = st.lists(st.integers(1, 3 * PIECE_BYTES), min_size=1, max_size=12)


@given(sizes)
def test_the_pieces_of_a_body_are_its_rows_one_after_the_other(sizes_: list[int]) -> None:
    rows = [row(size, i) for i, size in enumerate(sizes_)]

    assert b"".join(pieces(rows)) == b"".join(each.body for each in rows)
    assert sum(map(len, pieces(rows))) == size_of(rows)


@given(sizes)
def test_only_a_row_by_itself_is_a_piece_over_the_limit(sizes_: list[int]) -> None:
    rows = [row(size, i) for i, size in enumerate(sizes_)]

    assert all(len(piece) <= max(PIECE_BYTES, *sizes_) for piece in pieces(rows))


def test_no_rows_are_no_pieces() -> None:
    assert list(pieces([])) == []


def test_a_body_of_several_rows_is_one_gzip_stream_of_their_contents() -> None:
    rows = [Row(i, "main", b"", 1, 5, compress(text), 0) for i, text in enumerate((b"first", b"second"))]

    assert decompress(b"".join(pieces(rows))) == b"firstsecond"


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=40))
def test_halves_keep_every_row_in_order_and_are_never_empty(sizes_: list[int]) -> None:
    rows = [row(size, i) for i, size in enumerate(sizes_)]
    first, second = halves(rows)

    assert [*first, *second] == rows
    assert first
    assert second


def test_halves_are_cut_by_bytes() -> None:
    first, second = halves([row(1000, 1), row(10, 2), row(10, 3), row(10, 4)])

    assert (len(first), len(second)) == (1, 3)


def test_a_ceiling_falls_to_half_of_what_was_too_large() -> None:
    ceiling = Ceiling(4 * MIB)
    ceiling.refused(3 * MIB, now_s=0)

    assert ceiling.limit_bytes == 3 * MIB // 2


def test_a_ceiling_never_falls_under_its_floor() -> None:
    ceiling = Ceiling(4 * MIB)
    for _ in range(30):
        ceiling.refused(ceiling.limit_bytes, now_s=0)

    assert ceiling.limit_bytes == FLOOR_BYTES


def test_a_ceiling_grows_back_slowly_and_not_over_the_maximum() -> None:
    ceiling = Ceiling(4 * MIB)
    ceiling.refused(4 * MIB, now_s=0)
    ceiling.passed(now_s=GROW_S - 1)
    before = ceiling.limit_bytes
    for i in range(1, 10):
        ceiling.passed(now_s=i * GROW_S)

    assert before == 2 * MIB
    assert ceiling.limit_bytes == 4 * MIB


def test_one_upload_that_was_lost_changes_nothing_and_two_in_a_row_halve_the_ceiling() -> None:
    ceiling = Ceiling(4 * MIB)

    assert not ceiling.stalled(MIB, now_s=0)
    assert ceiling.limit_bytes == 4 * MIB
    assert ceiling.stalled(MIB, now_s=1)
    assert ceiling.limit_bytes == MIB // 2


def test_an_upload_that_came_through_forgets_a_lost_one() -> None:
    ceiling = Ceiling(4 * MIB)
    ceiling.stalled(MIB, now_s=0)
    ceiling.passed(now_s=1)

    assert not ceiling.stalled(MIB, now_s=2)

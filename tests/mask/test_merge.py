"""Unions of ranges and hits."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sidecar.mask.detector import Hit
from sidecar.mask.merge import merge, union

ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=25)


@given(ranges)
def test_a_union_covers_the_same_bytes_with_disjoint_ranges_in_order(given_ranges: list[tuple[int, int]]) -> None:
    result = union(given_ranges)

    assert {byte for start, end, _ in result for byte in range(start, end)} == {byte for start, end in given_ranges for byte in range(start, end)}
    assert all(left[1] <= right[0] for left, right in pairwise(result))


@given(ranges)
def test_a_union_is_named_after_the_longest_range_in_it(given_ranges: list[tuple[int, int]]) -> None:
    for start, end, index in union(given_ranges):
        inside = [high - low for low, high in given_ranges if start <= low < high <= end]

        assert given_ranges[index][1] - given_ranges[index][0] == max(inside)


def test_ranges_that_touch_stay_apart_and_empty_ones_vanish() -> None:
    assert union([(4, 4), (2, 5), (5, 7)]) == [(2, 5, 1), (5, 7, 2)]
    assert union([]) == []


def test_the_first_detector_of_the_table_names_equals() -> None:
    assert merge([Hit(0, 4, 7), Hit(2, 6, 3)]) == [Hit(0, 6, 3)]
    assert merge([Hit(0, 4, 7), Hit(0, 4, 9)]) == [Hit(0, 4, 7)]
    assert merge([Hit(0, 4, 1), Hit(2, 9, 8)]) == [Hit(0, 9, 8)]


@given(ranges)
def test_merging_twice_is_merging_once(given_ranges: list[tuple[int, int]]) -> None:
    once = merge([Hit(start, end, number % 3) for number, (start, end) in enumerate(given_ranges) if start < end])

    assert merge(once) == once


def test_many_overlapping_hits_are_one_without_quadratic_work() -> None:
    assert merge([Hit(number, number + 3, 0) for number in range(100_000)]) == [Hit(0, 100_002, 0)]

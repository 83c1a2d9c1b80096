"""Places found with RE2."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from sidecar.mask.hyperscan_engine import HyperscanScanner
from sidecar.mask.re2_engine import Re2Scanner
from sidecar.mask.stdlib_engine import StdlibScanner
from sidecar.mask.windows import Limits, Search, WorkLimit
from tests.mask.test_windows import SMALL_TABLE, texts

SEARCH = Search(SMALL_TABLE, Limits())


@settings(max_examples=200, deadline=None)
@given(texts)
def test_places_are_those_of_the_standard_library(text: bytes) -> None:
    assert Re2Scanner(SEARCH.triggers, SEARCH.width).places(text, 10**6) == StdlibScanner(SEARCH.triggers).places(text, 10**6)


def test_a_trigger_that_re2_refuses_is_searched_all_the_same() -> None:
    scanner = Re2Scanner([("a{1500}b", False), ("cd", False)], 3000)

    assert scanner.places(b"a" * 1500 + b"bcd", 100) == {0: [1501], 1: [1503]}


def test_bytes_that_are_no_text_are_no_hindrance() -> None:
    assert Re2Scanner([("a[^b]c", False)], 10).places(b"\xff\xfea\xffc\x00", 10) == {0: [5]}


def test_the_end_of_the_text_is_that_of_the_text() -> None:
    triggers = [("[0-9]{2}(?:[^0-9]|$)", False), ("ab$", False)]

    for text in (b"12", b"12\n", b"123", b"12 ab", b"12 ab\n", b"ab cd"):
        reported = {number: sorted(ends) for number, ends in HyperscanScanner(triggers).places(text, 10).items()}
        assert Re2Scanner(triggers, 10).places(text, 10) == StdlibScanner(triggers).places(text, 10) == reported


def test_no_triggers_fire_never() -> None:
    assert Re2Scanner([], 0).places(b"abc", 10) == {}


def test_a_storm_of_triggers_ends_in_a_work_limit() -> None:
    with pytest.raises(WorkLimit):
        Re2Scanner([("a", False)], 2).places(b"a" * 11, 10)

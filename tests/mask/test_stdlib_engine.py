"""Places found with `re` alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.stdlib_engine import StdlibScanner, required_literal
from sidecar.mask.windows import WorkLimit
from tests.mask.test_windows import SMALL_TABLE


@pytest.mark.parametrize(
    ("expression", "literal"),
    [
        ("AKIA[0-9]{4}", "AKIA"),
        (r"sk\.ant-x?yz", "sk.ant-"),
        ("ab{2}cde", "cde"),
        ("a|bcd", ""),
        ("(?:a|b)cd", "cd"),
        ("[abc]", ""),
        ("(abc)?de", "de"),
        (r"ab\dcde", "cde"),
        (r"ab\x2dcde", "cde"),
        ("abc*", "ab"),
        ("[]a]bc", "bc"),
        ("-----BEGIN [A-Z ]{0,20}KEY", "-----BEGIN "),
        ("(?i:abc)d", "d"),
    ],
)
def test_the_literal_is_what_every_match_holds(expression: str, literal: str) -> None:
    assert required_literal(expression) == literal


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([one.trigger for one in SMALL_TABLE] + [r"ab{2}c", r"x(?:ab|cd)efg+h", r"\[a\]{1,3}b", r"a\.b|c"]).flatmap(
    lambda trigger: st.tuples(st.just(trigger), st.from_regex(re.compile(trigger.encode()), fullmatch=True))
))  # fmt: skip
def test_every_match_of_a_trigger_holds_its_literal(sample: tuple[str, bytes]) -> None:
    trigger, text = sample

    assert required_literal(trigger).encode() in text


def test_the_ends_of_overlapping_matches_and_of_every_length_all_count() -> None:
    assert StdlibScanner([("aba", False), ("a{2,3}", False)]).places(b"ababa aaa", 10) == {0: [3, 5], 1: [8, 9]}


def test_case_is_ignored_where_asked() -> None:
    assert StdlibScanner([("key=", True), ("key=", False)]).places(b"KEY= key=", 10) == {0: [4, 9], 1: [9]}


def test_only_the_given_triggers_are_searched() -> None:
    assert StdlibScanner([("a", False), ("b", False)], [1]).places(b"ab", 10) == {1: [2]}


def test_a_storm_of_triggers_ends_in_a_work_limit() -> None:
    scanner = StdlibScanner([("a", False), ("A", True)])

    with pytest.raises(WorkLimit):
        scanner.places(b"a" * 11, 21)
    assert sum(map(len, scanner.places(b"a" * 11, 22).values())) == 22

"""Triggers in one spelling, and where their matches end."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.hyperscan_engine import HyperscanScanner
from sidecar.mask.triggers import Ends, can_hold, is_caseless, lowered, portable, widths, with_end


@pytest.mark.parametrize(
    ("expression", "sample"),
    [(r"a\sb", b"a\vb"), (r"a[\s-]b", b"a\vb"), (r"a\Sb", b"axb"), (r"a\\sb", b"a\\sb"), (r"[]\s]", b"\v"), (r"\[\s", b"[\v"), (r"a$", b"a")],
)
def test_spaces_are_spelled_out_for_every_engine(expression: str, sample: bytes) -> None:
    assert r"\s" not in portable(expression).replace(r"\\s", "")
    assert re.fullmatch(portable(expression).encode(), sample)
    assert re.fullmatch(expression.encode(), sample)


def test_only_the_sign_for_the_end_is_replaced() -> None:
    assert with_end(r"a$|[$]\$b$", "E") == r"aE|[$]\$bE"


def test_widths_are_those_of_the_shortest_and_the_longest_match() -> None:
    assert widths(r"a{2,3}(?:bc|d)?") == (2, 5)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(["ab", "a{1,3}", "(?:a|ab)b?", "[ab]{2}(?:[^a]|$)", "b$", "a[^b]{0,2}$|ab"]),
    st.text("ab\n", max_size=12).map(str.encode),
    st.booleans(),
)
def test_ends_are_those_that_hyperscan_reports(expression: str, text: bytes, ignore_case: bool) -> None:
    ends = Ends((expression, ignore_case))
    reported = HyperscanScanner([(expression, ignore_case)]).places(text, 10_000)

    assert sorted({end for start in range(len(text)) for end in ends.of(text, start)}) == sorted(set(reported.get(0, [])))


@pytest.mark.parametrize(
    ("expression", "caseless"),
    [(r"[A-Z]{2}[^A-Z]\S", True), (r"Key[-_]\x0a", True), (r"[+-Z]", False), (r"\x41", False), (r"(?:a|[x\x42])", False)],
)
def test_an_expression_in_lower_case_serves_for_both_when_no_capital_is_left_in_it(expression: str, caseless: bool) -> None:
    assert is_caseless(lowered(expression.encode()), frozenset(b"aA-")) == caseless


def test_a_set_with_a_capital_alone_is_not_caseless() -> None:
    assert not is_caseless(b"a", frozenset(b"A"))


def test_escapes_keep_their_case() -> None:
    assert lowered(rb"A\S\.B[\]C]") == rb"a\S\.b[\]c]"


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ('a"', True), ('x[^"]', False), ("x[^a]", True), (r"x[^\s]", True), (r"x.", True), ("x[!-#]", True), ('(?:^|[^0-9])1(?:2|3"?)', True),
        ("(?:^|[^0-9])12", False), ("abc", False), ("[\"']abc", False),
    ],
)  # fmt: skip
def test_whether_a_match_may_hold_a_quote_after_its_first_byte(expression: str, holds: bool) -> None:
    assert can_hold(expression, ord('"')) == holds

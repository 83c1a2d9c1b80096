"""Operators' own expressions: what is read, what is refused, and their triggers."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.own_pattern import PATTERN_BYTES_MAX, WAYS_MAX, BadPattern, read_pattern


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("EMP-[0-9]{6}", b"EMP-123456", b"EMP-12345x"),
        ("A-\\d{4}|B-\\d{4}", b"B-1234", b"C-1234"),
        ("(?:ab|cd){2}\\.x?y", b"abcd.y", b"abab.zy"),
        ("[^a-c]{3}\\w", b"xyz_", b"xbz_"),
        ("[]]{2}", b"", b"]]"),
        ("x[\\]\\-a]{3}", b"x]-a", b"xbbb"),
        ("x[a-]{3}", b"xa-a", b"xb-a"),
        ("é{2,3}-\\x41", "éé-A".encode(), "é-A".encode()),
        ("a.c[\\t ]", b"abc\t", b"a\nc "),
        ("ID\\s[\\D]\\S\\W", b"ID x1-", b"ID 11-"),
    ],
)
def test_an_own_pattern_matches_what_it_says(text: str, yes: bytes, no: bytes) -> None:
    if not yes:
        with pytest.raises(BadPattern):
            read_pattern(text)
        return
    pattern = re.compile(read_pattern(text).pattern.encode())

    assert pattern.fullmatch(yes)
    assert not pattern.fullmatch(no)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ab+", "at character 3: + has no upper bound"),
        ("ab*", "at character 3: * has no upper bound"),
        ("a{2,}", "at character 2: {2,} has no upper bound"),
        ("a{3,2}", "repeats nothing"),
        ("a{0}", "repeats nothing"),
        ("a??", "a repeat after a repeat"),
        ("(a{1,3}){1,9}b{1,9}c{1,9}d{1,99}", "too many ways"),
        ("(a|aa){1,20}", "too many ways"),
        ("a{300}", f"over {PATTERN_BYTES_MAX} bytes"),
        ("(a{16}){17}", f"over {PATTERN_BYTES_MAX} bytes"),
        ("a(?=b)", "look-around"),
        ("(?i)abcd", "look-around, flags"),
        ("^abcd", "is not used"),
        ("abcd$", "is not used"),
        ("\\babcd", "\\b is not read alike"),
        ("(ab)\\1", "\\1 is not read alike"),
        ("ab\\", "is not read alike"),
        ("\\xe9abc", "two hex digits"),
        ("(abcd", "a ( without its )"),
        ("abcd)", "a ) without its ("),
        ("[abcd", "a [ without its ]"),
        ("[[:alpha:]]x", "unescaped ["),
        ("[é]abc", "beyond ASCII"),
        ("[z-a]bc", "backwards"),
        ("[]abc", "without characters"),
        ("*abc", "nothing before it"),
        ("(" * 500 + "a" + ")" * 500, "groups deeper"),
    ],
)
def test_what_engines_differ_about_or_can_not_bound_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadPattern, match=re.escape(problem)):
        read_pattern(text)


@pytest.mark.parametrize(
    ("text", "trigger"),
    [
        ("EMP-[0-9]{6}", "EMP\\x2d[0-9][0-9][0-9][0-9]"),
        ("[a-z]{1,30}-KEY-[0-9]{1,9}", "\\x2dKEY\\x2d"),
        ("[0-9]{4}", "[0-9][0-9][0-9][0-9]"),
        ("A-[0-9]{2}|B-[0-9]{2}", "(?:A\\x2d(?:[0-9]){2}|B\\x2d(?:[0-9]){2})"),
        ("(?:a{1,90}|b{1,90})", None),
    ],
)
def test_a_trigger_is_the_rarest_run_of_fixed_characters(text: str, trigger: str | None) -> None:
    assert read_pattern(text).trigger == trigger


_LEAF = st.sampled_from(["a", "B", "7", "-", "é", "\\d", "[a-f]", "[^x]", "."])
_PATTERNS = st.recursive(
    _LEAF,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["?", "{2}", "{1,3}", "{4}"])).map(lambda pair: f"({pair[0]}){pair[1]}"),
    ),
    max_leaves=8,
)


@given(_PATTERNS, st.data())
@settings(max_examples=150, deadline=None)
def test_every_match_holds_its_trigger_and_keeps_its_bounds(text: str, data: st.DataObject) -> None:
    try:
        read = read_pattern(text)
    except BadPattern:
        return
    match = data.draw(st.from_regex(read.pattern.encode(), fullmatch=True))

    assert read.min_bytes <= len(match) <= read.max_bytes <= PATTERN_BYTES_MAX
    assert read.ways <= WAYS_MAX
    assert read.trigger is None or re.search(read.trigger.encode(), match)
    match.decode()


@given(st.text(string.printable + "é", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = read_pattern(text)
    except BadPattern as problem:
        assert str(problem).startswith("at character ")
    else:
        re.compile(read.pattern.encode())

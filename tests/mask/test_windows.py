"""Windows find what a search of the whole text finds. Here live the slow reference and a small table for the tests of all engines."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.detector import DIGITS, TOKEN, Detector, Hit, Pack
from sidecar.mask.stdlib_engine import StdlibScanner
from sidecar.mask.windows import BadDetector, Limits, Search, WorkLimit
from sidecar.mask.words import readable, word_pattern


def is_luhn(digits: bytes) -> bool:
    total = 0
    for place, digit in enumerate(reversed([byte - 48 for byte in digits if byte in DIGITS])):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def detector(name: str, pattern: str, trigger: str, reach: int, **more: object) -> Detector:
    return Detector(name, name.upper().replace("-", "_"), Pack.SECRETS, pattern, trigger, reach, **more)  # type: ignore[arg-type]  # named as the fields


SMALL_TABLE = (
    detector("email", r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24}", r"[A-Za-z0-9._%+-]@[A-Za-z0-9-]", 300, before=66,
             matches=("write to bob@example.com now",), misses=("bob at example.com", "@decorator")),
    detector("card", r"[0-9](?:[ -]?[0-9]){12,18}", r"[0-9](?:[ -]?[0-9]){12}", 40, validate=is_luhn, not_before=DIGITS, not_after=DIGITS,
             matches=("card 4111 1111 1111 1111 ok",), misses=("4111 1111 1111 1112",)),
    detector("aws-id", r"AKIA[0-9A-Z]{16}", r"AKIA[0-9A-Z]{4}", 20, before=8, matches=("AKIA" + "B" * 16,), misses=("AKIA" + "B" * 15, "xAKIA" + "B" * 16)),
    detector("jwt", r"eyJ[A-Za-z0-9_-]{5,400}\.[A-Za-z0-9_-]{5,400}\.[A-Za-z0-9_-]{5,400}", r"eyJ[A-Za-z0-9_-]{3}", 1300, before=6, not_before=TOKEN,
             not_after=TOKEN, matches=("eyJ" + "aaaaaa.bbbbbb.cccccc",), misses=("eyJ" + "aaaaaa.bbbbbb",)),
    detector("pem", r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[A-Za-z0-9+/=\s]{10,16000}-----END [A-Z ]{0,20}PRIVATE KEY-----",
             r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----", 16100, before=60, not_before=frozenset(), not_after=frozenset(),
             matches=("-----BEGIN " + "PRIVATE KEY-----\n" + "QUJD" * 9 + "\n-----END " + "PRIVATE KEY-----",), misses=("-----BEGIN PUBLIC KEY-----",)),
    detector("assigned", r"""(?:password|secret|pwd)["']?\s{0,3}[:=]\s{0,3}["']?([^\s"',;]{4,40})""", r"""(?:password|secret|pwd)["']?\s{0,3}[:=]""", 64,
             group=1, ignore_case=True, not_after=frozenset(), matches=("PassWord: hunter22", '"secret": "abcdef"'), misses=("password: abc", "pass words")),
    detector("phone", r"\+[0-9]{1,3}(?:[ -]?[0-9]{2,4}){2,5}", r"\+[0-9]", 32, before=4, matches=("call +49 151 123 4567",), misses=("a +1 b",)),
    detector("passport", r"[A-Z]?[0-9]{8,9}", r"[0-9]{8}", 12, words=("passport",), matches=("passport no C01234567",), misses=("order 01234567",)),
    detector("overlapping", r"ab(?:ab){1,4}c", r"aba", 12, not_before=frozenset(), not_after=frozenset(), matches=("xababcx",), misses=("abc",)),
    detector("refused-often", r"z{2,9}", r"zz", 12, validate=lambda text: len(text) == 3, not_before=frozenset(), matches=("zzz",), misses=("zz",)),
    detector("tail", r"[a-f0-9]{2,30}#!", r"[a-f0-9]#!", 32, not_before=frozenset(), matches=("beef#!",), misses=("#!",)),
    detector("spaces", r"pin\s{1,3}[0-9]{4}", r"pin\s", 10, matches=("pin\v1234",), misses=("pin-1234",)),
)  # fmt: skip

FRAGMENTS = (
    "bob@example.com", "a@b.cd", "@", ".", "4111111111111111", "4111 1111-1111 1112", "AKIA" + "B" * 16, "AKIA", "eyJ" + "a" * 8 + "." + "b" * 8 + "." + "c" * 8,
    "eyJ", "-----BEGIN " + "PRIVATE KEY-----", "QUJD" * 5, "-----END " + "PRIVATE KEY-----", "password", "secret", ": ", "=", '"', "hunter22", "+49 151 1234567",
    "passport ", "C01234567", "123456789", "ab", "aba", "c", "z", "zzz", "beef", "#!", "pin", "\v", "\n", " ", "-", "x", "ü", "\x00", "\\n",
)  # fmt: skip

texts = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=3)), max_size=30).map(lambda parts: "".join(parts).encode("utf-8", "replace"))


def reference(detectors: Sequence[Detector], text: bytes, words_in: bytes = b"") -> list[Hit]:
    """The rule in its plainest form: every pattern over the whole text."""
    found = []
    for index, one in enumerate(detectors):
        pattern = re.compile(one.pattern.encode(), re.IGNORECASE if one.ignore_case else 0)
        start = 0
        while match := pattern.search(text, start):
            hit = _accepted(one, index, text, match, words_in)
            found += [hit] if hit else []
            start = match.end() if hit else match.start() + 1
    return sorted(found)


def _accepted(one: Detector, index: int, text: bytes, match: re.Match[bytes], words_in: bytes) -> Hit | None:
    if text[: match.start()][-1:] and text[match.start() - 1] in one.not_before:
        return None
    if text[match.end() :] and text[match.end()] in one.not_after:
        return None
    near = text[max(match.start() - one.words_reach, 0) : match.start()]
    if one.words and not any(word_pattern(one.words).search(readable(place)) for place in (near, words_in)):
        return None
    value = match.group(one.group)
    if not value or (one.validate and not one.validate(value)):
        return None
    return Hit(*whole_characters(text, *match.span(one.group)), index)


def whole_characters(text: bytes, start: int, end: int) -> tuple[int, int]:
    while start > 0 and 0x80 <= text[start] < 0xC0:
        start -= 1
    while end < len(text) and 0x80 <= text[end] < 0xC0:
        end += 1
    return start, end


def found(table: Sequence[Detector], text: bytes, words_in: bytes = b"", limits: Limits | None = None) -> list[Hit]:
    search = Search(table, limits or Limits())
    return search.hits(text, StdlibScanner(search.triggers).places(text, 10**6), words_in)


@settings(max_examples=400, deadline=None)
@given(texts, st.sampled_from([b"", b"passport"]))
def test_windows_find_what_a_search_of_the_whole_text_finds(text: bytes, words_in: bytes) -> None:
    assert found(SMALL_TABLE, text, words_in) == reference(SMALL_TABLE, text, words_in)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=12), st.sampled_from(["bob@example.com ", "zz", "ababc", "beef#!", "pin 1234 "]))
def test_hits_far_apart_and_near_are_the_same_as_in_the_whole_text(gaps: list[int], value: str) -> None:
    text = "".join("." * gap + value for gap in gaps).encode()

    assert found(SMALL_TABLE, text) == reference(SMALL_TABLE, text)


def test_a_key_of_sixteen_kilobytes_is_one_hit() -> None:
    key = b"-----BEGIN RSA " + b"PRIVATE KEY-----\n" + b"QUJD" * 3990 + b"\n-----END RSA " + b"PRIVATE KEY-----"
    text = b"x" * 3000 + key + b"y" * 30_000

    assert found(SMALL_TABLE, text) == [Hit(3000, 3000 + len(key), 4)]


def test_a_refused_match_does_not_hide_one_that_begins_inside_of_it() -> None:
    """The first fourteen digits fail the checksum; sixteen of them, from the third on, pass."""
    table = (
        detector("pair", r"[a-z]{2}[0-9]{2}", r"[0-9]{2}", 4, not_before=frozenset(), not_after=frozenset(), validate=lambda text: text == b"bc12"),
    )

    assert found(table, b"abc12") == [Hit(1, 5, 0)]


def test_words_count_before_the_match_and_in_the_key_only() -> None:
    assert [hit.detector for hit in found(SMALL_TABLE, b"123456789")] == []
    assert [hit.detector for hit in found(SMALL_TABLE, b"passport: 123456789")] == [7]
    assert [hit.detector for hit in found(SMALL_TABLE, b"123456789 passport")] == []
    assert [hit.detector for hit in found(SMALL_TABLE, b"123456789", b"userPassport")] == [7]
    assert [hit.detector for hit in found(SMALL_TABLE, b"passport" + b" " * 60 + b"123456789")] == []


def test_only_the_group_is_the_value() -> None:
    text = b'"Password" : "hunter22"'
    (hit,) = found(SMALL_TABLE, text)

    assert text[hit.start : hit.end] == b"hunter22"


@pytest.mark.parametrize(
    ("text", "limits", "reason"),
    [
        (b"x" * 101, Limits(value_bytes=100), "bytes"),
        (b"a@b.cd " * 11, Limits(hits=10), "hits"),
        (b"eyJabc" * 30_000, Limits(steps_per_byte=0), "work"),
        (b"z" * 50_000, Limits(), "work"),
    ],
)
def test_more_work_than_a_value_may_have_is_refused(text: bytes, limits: Limits, reason: str) -> None:
    with pytest.raises(WorkLimit) as caught:
        found(SMALL_TABLE, text, limits=limits)

    assert caught.value.reason == reason
    assert text[:6].decode() not in str(caught.value)


def test_as_many_hits_as_the_limit_are_found() -> None:
    assert len(found(SMALL_TABLE, b"a@b.cd " * 10, limits=Limits(hits=10))) == 10


@pytest.mark.parametrize("broken", [detector("broken", "a(", "a", 4), detector("broken", "a)(b", "a", 4), detector("broken", "a", r"[\S]", 4)])
def test_a_detector_that_is_no_regular_expression_is_named(broken: Detector) -> None:
    with pytest.raises(BadDetector, match="^broken: "):
        Search([broken], Limits()).compiled(0)


def test_hits_never_cut_a_character() -> None:
    """Bytes of two-byte letters that a class takes one by one."""
    table = (detector("cut", r"x[\x80-\xff]{3}", "x", 8, before=1, not_before=frozenset(), not_after=frozenset()),)
    text = "äxüüü".encode()

    assert found(table, text) == [Hit(2, 7, 0)]


def test_a_match_is_not_tried_in_another_length_when_what_follows_refuses_it() -> None:
    table = (detector("number", r"[0-9]{3,6}", r"[0-9]{3}", 8, not_before=frozenset()),)

    assert found(table, b"123456x 123") == [Hit(8, 11, 0)]


def test_detectors_with_one_trigger_share_it() -> None:
    table = (detector("one", "aa[0-9]", "aa", 4), detector("two", "aa[a-z]", "aa", 4), detector("three", "AA", "aa", 4, ignore_case=True))
    search = Search(table, Limits())

    assert search.triggers == [("aa", False), ("aa", True)]
    assert [hit.detector for hit in found(table, b"aa1 aab aa")] == [0, 1, 2]

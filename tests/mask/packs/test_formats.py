"""What the builders make out of one line of a table."""

from __future__ import annotations

import itertools
import re

import pytest

from sidecar.mask.detector import Detector
from sidecar.mask.packs.formats import ALL, HEX, URL, after, any_of, exact, klass, made, named, re_any, token
from tests.mask.test_windows import reference


def found(detector: Detector, text: str) -> list[str]:
    return [text[hit.start : hit.end] for hit in reference([detector], text.encode())]


@pytest.mark.parametrize("alphabet", [ALL, HEX, URL, "0-9A-Z", "0-9a-f-"])
def test_made_text_belongs_to_its_class_and_is_the_same_each_time(alphabet: str) -> None:
    text = made(alphabet, 50)

    assert re.fullmatch(f"{klass(alphabet)}{{50}}", text)
    assert text == made(alphabet, 50)


def test_a_hyphen_in_a_class_stands_last() -> None:
    assert klass("0-9A-Za-z_-.") == "[0-9A-Za-z_.-]"


def test_a_token_is_taken_whole_even_when_it_was_cut_or_stands_after_an_escape() -> None:
    detector = token("acme-key", "acme_", ALL, 8, full=40)

    assert found(detector, "acme_a8F3k2M9") == ["acme_a8F3k2M9"]
    assert found(detector, "x\\nacme_a8F3k2M9Q1") == ["acme_a8F3k2M9Q1"]
    assert found(detector, "acme_xxxxxxxxxxxx acme_short acme_someFunctionName") == []


def test_a_short_prefix_needs_a_boundary_and_its_exact_length() -> None:
    detector = exact("short-key", "SK", HEX, 32)

    assert len(found(detector, f"SK{made(HEX, 32)}")) == 1
    assert found(detector, f"TASK{made(HEX, 32)}") == []
    assert found(detector, f"SK{made(HEX, 33)}") == []


def test_a_named_key_is_masked_without_its_name() -> None:
    detector = named("acme-key", "acme[_ -]?cloud|acme", HEX, 32)
    value = made(HEX, 32)

    assert found(detector, f"ACME_CLOUD_API_KEY={value}") == [value]
    assert found(detector, f"acme trace {value}") == []


def test_what_follows_the_prefix_must_look_drawn_by_chance() -> None:
    assert after(4)(b"key_a8F3k2M9")
    assert not after(4)(b"key_aaaaaaaa")


def test_signs_of_expressions_are_escaped() -> None:
    assert re_any(["a.b", "$c"]) == "(?:a\\.b|\\$c)"
    assert re_any(["a.b"]) == "a\\.b"


@pytest.mark.parametrize("alternatives", ["aa|b", "pass|pin|x", "ab|(?:c|d)e|a|x?e|bc", "key", "secret|secret[_ -]?key|é|eb"])
def test_alternatives_match_the_same_when_they_are_grouped(alternatives: str) -> None:
    plain, grouped = re.compile(f"(?:{alternatives})".encode()), re.compile(any_of(alternatives).encode())
    texts = ["".join(letters).encode() for size in range(4) for letters in itertools.product("abcdex", repeat=size)]
    texts += [word.encode() for word in ("pass", "pin", "key", "secret key", "secret_key", "é", "eb")]

    assert [text for text in texts if (plain.match(text) or [b""])[0] != (grouped.match(text) or [b""])[0]] == []

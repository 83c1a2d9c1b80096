"""What sensitive values become."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.actions import MASKED, Action, is_masked, own_labels, pseudonym, replacement, strictest
from sidecar.mask.hmac_keys import HmacKeys

KEYS = HmacKeys("k2", {"k2": b"new" * 8, "k1": b"old" * 8})
CARD = b"4111 1111 1111 1234"


@pytest.mark.parametrize(
    ("action", "value", "expected"),
    [
        (Action.KEEP, CARD, CARD),
        (Action.REMOVE, CARD, None),
        (Action.LABEL, CARD, b"[CARD]"),
        (Action.PARTIAL, CARD, b"[CARD:1234]"),
        (Action.PARTIAL, b"12-34-56-78-90-1", b"[CARD]"),
        (Action.PARTIAL, b"12-34-56-78-90-12", b"[CARD:9012]"),
        (Action.PARTIAL, "ééééééééééééééé1".encode(), b"[CARD]"),
    ],
)
def test_each_action_writes_its_form(action: Action, value: bytes, expected: bytes | None) -> None:
    assert replacement(action, "CARD", value, KEYS) == expected


def test_a_pseudonym_joins_within_a_label_and_a_key_only() -> None:
    first = replacement(Action.HMAC, "EMAIL", b"alice@example.com", KEYS)

    assert first == pseudonym("EMAIL", b"alice@example.com", KEYS, "k2")
    assert first is not None and first.startswith(b"[EMAIL:k2:") and len(first) == len(b"[EMAIL:k2:]") + 16
    others = {
        pseudonym("EMAIL", b"bob@example.com", KEYS),
        pseudonym("PHONE", b"alice@example.com", KEYS).replace(b"PHONE", b"EMAIL"),
        pseudonym("EMAIL", b"alice@example.com", KEYS, "k1").replace(b":k1:", b":k2:"),
        pseudonym("EMAIL", b"alice@example.com", HmacKeys("k2", {"k2": b"else" * 8})),
    }
    assert len(others | {first}) == 5


def test_a_key_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        pseudonym("EMAIL", b"x", KEYS, "k9")


def test_the_strictest_action_shows_and_links_least() -> None:
    assert [strictest(list(Action)[: count + 1]).value for count in range(5)] == ["keep", "partial", "hmac", "label", "remove"]


@given(
    value=st.binary(max_size=64),
    label=st.from_regex(r"[A-Z][A-Z0-9_]{0,39}", fullmatch=True),
    action=st.sampled_from([Action.PARTIAL, Action.HMAC, Action.LABEL]),
)
@settings(max_examples=150, deadline=None)
def test_every_label_is_known_as_one_and_stands_in_json_without_escapes(value: bytes, label: str, action: Action) -> None:
    written = replacement(action, label, value, KEYS)

    assert written is not None and is_masked(written) and own_labels([label]).fullmatch(written)
    assert json.dumps(written.decode()) == f'"{written.decode()}"'


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"[email]", b"[EMAIL", b"[EMAIL:12345]", b"[EMAIL] ", b"[EMAIL:k1:7f3a]", b"[EMAIL:k1:7F3A9C01D2E4B5A6]", b"[[EMAIL]]"]
)
def test_what_is_no_label_is_not_taken_for_one(text: bytes) -> None:
    assert not is_masked(text)


def test_labels_of_other_names_may_be_values() -> None:
    assert own_labels(["EMAIL"]).fullmatch(b"[EMAIL:k1:7f3a9c01d2e4b5a6]")
    assert not own_labels(["EMAIL"]).fullmatch(b"[EMAILS]")
    assert [found.span() for found in MASKED.finditer(b"to [EMAIL], [CARD:1111]")] == [(3, 10), (12, 23)]

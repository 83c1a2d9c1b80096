"""Structured values as plain ones."""

from __future__ import annotations

import json

import pytest

from sidecar.enrich.plain import flatten, plain_entries, to_json
from sidecar.enrich.view import AttributeView
from sidecar.wire.attributes import AttributeMemo, decode
from tests.spans import Value, key_values


def plain(value: Value, key: str = "acme.value") -> Value:
    """What is sent instead of a value; the value itself if it is sent as it is."""
    raw = key_values({key: value})[0].SerializeToString()
    changed = dict(plain_entries(AttributeView([raw], AttributeMemo()).odd))
    if raw not in changed:
        return value
    instead = changed[raw]
    return None if instead is None else decode(instead)[1]


@pytest.mark.parametrize("value", ["text", "", True, False, 0, 7, -7, 2**53, 1.5, float("inf"), ["a", "b"], [1, 2.5, True], "x" * 20_000])
def test_what_the_server_reads_right_stays(value: Value) -> None:
    assert plain(value) is value


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ({"a": {"b": [1, None]}}, '{"a":{"b":[1,null]}}'),
        ([{"role": "user"}], '[{"role":"user"}]'),
        ([["a"], []], '[["a"],[]]'),
        ([], "[]"),
        ({}, "{}"),
        (b"text \xc3\xa4", "text ä"),
        (b"\x00\x01\xff", "AAH/"),
        ([b"\xff"], '["/w=="]'),
        (None, None),
        (2**53 + 1, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
    ],
)
def test_what_it_would_spoil_becomes_a_string(value: Value, sent: str | None) -> None:
    assert plain(value) == sent


@pytest.mark.parametrize("key", ["k", "k" * 127, "k" * 128, "k" * 300, "k" * 20_000])
@pytest.mark.parametrize("size", [0, 1, 100, 130, 20_000])
def test_lists_are_found_whatever_the_lengths_of_key_and_value(key: str, size: int) -> None:
    assert plain([{"a": "x" * size}], key) == json.dumps([{"a": "x" * size}], separators=(",", ":"))
    assert plain("x" * size, key) == "x" * size
    assert plain(None, key) is None


def test_long_bytes_inside_a_structure_become_a_descriptor() -> None:
    image = b"\x89PNG\r\n\x1a\n" + bytes(2000)

    assert "[media type=image/png bytes=2008 sha256=" in str(plain([{"type": "blob", "content": image}]))
    assert str(plain(bytes(range(256)) * 8)).startswith("[media type=application/octet-stream bytes=2048 ")


def test_long_bytes_that_are_text_become_the_text() -> None:
    assert plain(b"word " * 500) == "word " * 500


def test_numbers_that_json_does_not_know_become_null() -> None:
    assert to_json({"a": float("nan"), "b": "ä"}) == '{"a":null,"b":"ä"}'


def test_the_attributes_of_a_resource_are_made_plain_in_place() -> None:
    attributes = [each.SerializeToString() for each in key_values({"a": "x", "b": {"c": 1}, "d": None})]

    memo = AttributeMemo()
    assert flatten(attributes, memo) == 2
    assert [decode(raw) for raw in attributes] == [("a", "x"), ("b", '{"c":1}')]
    assert flatten(attributes, memo) == 0

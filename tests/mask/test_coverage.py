"""The walk through one attribute: fast where it is plain, exact where it is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from sidecar.mask.coverage import NODES_MAX, Entries
from sidecar.wire.attributes import KEY, VALUE, any_string, decode, delimited, encode_double, encode_int, encode_string
from tests.mask.masking import CARD, EMAIL, fresh_tally, masker_of
from tests.spans import Value, key_values

ENTRIES = Entries(masker_of())
REMOVING = Entries(masker_of({"packs": {"pii": "remove"}, "keys": [{"match": "*password*", "action": "remove"}]}))


def entry(value: Value, key: str = "note") -> bytes:
    return key_values({key: value})[0].SerializeToString()


def mask(raw: bytes, entries: Entries = ENTRIES) -> bytes | None:
    return entries.one(raw, entries.masker.policy.scope(None, None), fresh_tally())


def value_of(raw: bytes | None) -> object:
    assert raw is not None
    KeyValue.FromString(raw)
    return decode(raw)[1]


@given(st.text("abc é.", max_size=20), st.text("abc é.\n[]{}", max_size=300))
@settings(max_examples=200, deadline=None)
def test_a_clean_string_comes_back_itself(key: str, text: str) -> None:
    raw = encode_string(key, text)

    assert mask(raw) is raw


@pytest.mark.parametrize("key_bytes", [1, 100, 127, 128, 300])
@pytest.mark.parametrize("text_bytes", [40, 127, 128, 129, 16_300, 16_384, 70_000])
def test_strings_are_masked_whatever_the_lengths_of_key_and_text(key_bytes: int, text_bytes: int) -> None:
    text = ("ab cd " * text_bytes)[: text_bytes - 40]
    raw = encode_string("k" * key_bytes, f"{text} {EMAIL}")

    assert value_of(mask(raw)) == f"{text} [EMAIL]"
    assert mask(clean := encode_string("k" * key_bytes, text)) is clean


def test_numbers_become_strings_and_others_stay_numbers() -> None:
    assert value_of(mask(encode_int("note", int(CARD)))) == "[CARD:1111]"
    assert value_of(mask(encode_double("note", float(CARD)))) == "[CARD:1111]"
    assert mask(raw := encode_int("note", 17)) is raw
    assert mask(raw := encode_double("note", 0.4111111111111111)) is raw
    assert mask(raw := encode_int("gen_ai.usage.input_tokens", int(CARD))) is raw


def test_bytes_stay_bytes() -> None:
    assert value_of(mask(entry(f"to {EMAIL}".encode()))) == b"to [EMAIL]"
    assert value_of(mask(entry(b"\xff " + EMAIL.encode() + b"\xff"))) == b"\xff [EMAIL]\xff"
    assert value_of(mask(entry(b"raw", "password"))) == b"[PASSWORD]"


def test_removed_attributes_and_members_are_gone_and_elements_leave_their_place_empty() -> None:
    assert mask(entry("x", "db.password"), REMOVING) is None
    assert mask(entry([1], "db.password"), REMOVING) is None
    assert value_of(mask(entry({"password": "x", "b": [{"password": 1, "c": 2}]}), REMOVING)) == {"b": [{"c": 2}]}
    assert value_of(mask(entry(["a", EMAIL, "b"]), REMOVING)) == ["a", "", "b"]
    assert value_of(mask(entry(f"to {EMAIL}."), REMOVING)) == "to ."


def test_a_hidden_container_becomes_one_label_and_never_shows_its_end() -> None:
    entries = Entries(masker_of({"keys": [{"match": "account", "action": "partial", "label": "ACCOUNT"}]}))

    assert value_of(mask(entry(["0123456789012345"], "account"), entries)) == "[ACCOUNT]"
    assert value_of(mask(entry("0123456789012345", "account"), entries)) == "[ACCOUNT:2345]"
    assert value_of(mask(entry({"account": {"no": "0123456789012345"}}), entries)) == {"account": "[ACCOUNT]"}


def test_key_rules_hold_at_every_depth_and_paths_too() -> None:
    entries = Entries(masker_of({"rules": [{"where": {"path": "$.card.note"}, "what": "value", "action": "label", "label": "NOTE"}]}))

    assert value_of(mask(entry({"card": {"note": "x"}, "note": "y"}), entries)) == {"card": {"note": "[NOTE]"}, "note": "y"}
    assert value_of(mask(entry(json.dumps({"card": {"note": "x"}})), entries)) == '{"card": {"note": "[NOTE]"}}'


def test_members_of_a_kept_container_are_kept_unless_their_names_hide_them() -> None:
    entries = Entries(masker_of({"allow": {"keys": ["kept"]}}))

    assert value_of(mask(entry({"a": EMAIL, "password": "x"}, "kept"), entries)) == {"a": EMAIL, "password": "[PASSWORD]"}


def test_sensitive_keys_are_masked_and_do_not_turn_into_names_of_secrets() -> None:
    raw = mask(entry("x", f"note {EMAIL}"))
    assert raw is not None
    assert decode(raw) == ("note [EMAIL]", "x")
    assert mask(raw) == raw
    assert value_of(mask(entry({f"{EMAIL}": 1}))) == {"[EMAIL]": 1}


def test_what_is_unreadable_goes() -> None:
    tally = fresh_tally()
    scope = ENTRIES.masker.policy.scope(None, None)

    for raw in (b"\x0a\xff", b"\x0a\x04note", EMAIL.encode(), b""):
        assert ENTRIES.one(raw, scope, tally) is None
    assert tally.failures == {"unreadable": 4}


def test_too_many_values_in_one_attribute_are_hidden_together_but_embeddings_are_not() -> None:
    assert value_of(mask(entry([f"{number % 10}" for number in range(NODES_MAX + 1)]))) == "[MASKING_FAILED]"
    assert mask(raw := entry([number / 7 + 0.05 for number in range(NODES_MAX * 2)])) is raw


def test_deep_values_are_walked_to_their_end() -> None:
    deep: Value = EMAIL
    for _ in range(18):
        deep = {"a": [deep]}

    assert EMAIL.encode() not in (mask(entry(deep)) or b"")


def test_a_known_entry_is_not_looked_at_again() -> None:
    entries = Entries(masker_of())
    raw = encode_string("note", "some words")
    scope = entries.masker.policy.scope(None, None)

    assert entries.one(raw, scope, fresh_tally()) is raw

    assert raw in entries.memo.of(scope).clean
    assert encode_string("note", EMAIL) not in entries.memo.of(scope).clean
    assert entries.one(encode_string("note", EMAIL), scope, fresh_tally()) not in entries.memo.of(scope).clean


def test_two_fields_in_the_wrong_order_are_written_as_they_are_read() -> None:
    turned = delimited(VALUE, any_string(b"words")) + delimited(KEY, b"note")

    assert mask(turned) == encode_string("note", "words")

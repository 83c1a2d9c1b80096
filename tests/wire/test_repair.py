"""The walk over attributes that the strict schema refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire.batch import is_clean
from sidecar.wire.repair import Repair, Unreadable, WithoutValue
from sidecar.wire.strict_pb2 import KeyValue
from tests import spans
from tests.spans import Value
from tests.wire.strategies import damaged, texts, values

attributes = st.builds(lambda key, value: spans.key_values({key: value})[0].SerializeToString(), texts, values)


@given(texts, values)
@settings(max_examples=60, deadline=None)
def test_a_well_formed_attribute_comes_back_as_it_was(key: str, value: Value) -> None:
    raw = spans.key_values({key: value})[0].SerializeToString()
    repair = Repair()
    assert KeyValue.FromString(repair.key_value(raw)) == KeyValue.FromString(raw)
    assert repair == Repair()


@given(damaged(attributes) | st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_nothing_but_its_own_errors_is_ever_raised(raw: bytes) -> None:
    try:
        Repair().key_value(raw)
    except (Unreadable, WithoutValue):
        return


@pytest.mark.parametrize("raw", [b"\x0b", b"\x02\x00", b"\x80", b"\x12\x81", b"\x0d\x00", b"\xff" * 12], ids=bytes.hex)
def test_what_is_no_message_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        Repair().key_value(raw)


def test_a_key_alone_is_without_value() -> None:
    with pytest.raises(WithoutValue):
        Repair().key_value(b"\x0a\x01k")


def test_unknown_fields_of_every_wire_type_stay() -> None:
    unknown = b"\x78\x01" + b"\x79" + bytes(8) + b"\x7a\x01x" + b"\x7d" + bytes(4)
    raw = b"\x0a\x01k\x12\x00" + unknown
    assert Repair().key_value(raw) == raw


def test_clean_is_the_word_of_the_strict_schema() -> None:
    assert is_clean(b"") and not is_clean(b"\xff")

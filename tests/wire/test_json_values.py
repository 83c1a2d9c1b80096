"""Single OTLP/JSON values. What they become in a request is shown in test_otlp_json.py."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire import json_values
from sidecar.wire.json_values import Fault, Values


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.lists(st.integers(), max_size=2)))
@settings(max_examples=200, deadline=None)
def test_readers_raise_nothing_but_fault(value: json_values.Json) -> None:
    parent: json_values.Object = {"key": value, "attributes": value}
    values = Values(Counter())
    for read in (
        lambda: json_values.object_at(parent, "key", "here"),
        lambda: json_values.list_at(parent, "key", "here"),
        lambda: json_values.integer_at(parent, "key", 0, 10, "here"),
        lambda: json_values.enum_at(parent, "key", "here"),
        lambda: json_values.id_at(parent, "key", "here"),
        lambda: values.text_at(parent, "key", "here"),
        lambda: values.attributes_at(parent, "here"),
    ):
        try:
            read()
        except Fault as fault:
            assert fault.path.startswith("here")


@pytest.mark.parametrize(("value", "expected"), [(7, 7), ("7", 7), (7.0, 7), (None, 0)])
def test_an_integer_is_a_number_or_a_string_of_digits(value: json_values.Json, expected: int) -> None:
    assert json_values.integer_at({"n": value}, "n", 0, 10, "here") == expected


@pytest.mark.parametrize("value", ["0x7", " 7", "7 ", "7.0", "\u0667", "", "1" * 30])
def test_other_strings_are_no_integers(value: str) -> None:
    with pytest.raises(Fault):
        json_values.integer_at({"n": value}, "n", 0, 10, "here")


def test_a_fault_says_where_and_what() -> None:
    assert str(Fault("spans[0].name", "is not a string")) == "spans[0].name is not a string"
    assert str(Fault("", "is not a string")) == "is not a string"

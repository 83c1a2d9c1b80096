"""Context words as they stand in prose, in keys and in compounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.triggers import compiled
from sidecar.mask.words import readable, word_pattern, word_triggers

WORDS = word_pattern(("ssn", "sin", "tax id", "steuer", "身份证"))


@pytest.mark.parametrize(
    "context",
    ["my SSN is", "userSsn", "user_ssn", "$.customer.ssn", "SIN:", "tax-id", "taxId", "TAX_ID=", "taxid", "Steuernummer", "身份证号码", "ssn2"],
)
def test_words_are_found_in_prose_keys_and_compounds(context: str) -> None:
    assert WORDS.search(readable(context.encode()))


@pytest.mark.parametrize("context", ["using", "since", "business", "a syntax idea", "lessns", ""])
def test_short_words_inside_others_are_not_found(context: str) -> None:
    assert not WORDS.search(readable(context.encode()))


def test_compounds_need_the_beginning_of_a_word() -> None:
    assert word_pattern(("passport",)).search(readable(b"Passportnummer"))
    assert not word_pattern(("passport",)).search(readable(b"unpassport"))


MANY = ("ssn", "sin", "tax id", "steuer", "身份证", "id no", "my number", "tel")
PIECES = [*MANY, "SSN", "Sin", "taxId", "TAX_ID", "Tax-Id", "tels", "TELS", "sinX", "a", "S", "é", " ", "-", "_", "[", '"', "1", "\n", "x"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_where_a_word_can_be_read_its_trigger_fires(text: str) -> None:
    """At the end of the word or one byte later, however it is written."""
    raw = text.encode()
    for word in MANY:
        triggers = [compiled(trigger) for trigger in word_triggers((word,))]
        if word_pattern((word,)).search(readable(raw)):
            assert any(trigger.search(raw) for trigger in triggers), word

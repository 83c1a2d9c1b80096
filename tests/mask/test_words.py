"""Context words as they stand in prose, in keys and in compounds."""

from __future__ import annotations

import pytest

from sidecar.mask.words import readable, word_pattern

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

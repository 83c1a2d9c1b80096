"""Money in its usual places."""

from __future__ import annotations

import pytest

from sidecar.mask.packs.financial import DETECTORS
from tests.mask.test_windows import reference


def found(text: str) -> set[str]:
    """`name:value` of everything found."""
    raw = text.encode()
    return {f"{DETECTORS[hit.detector].name}:{raw[hit.start : hit.end].decode()}" for hit in reference(DETECTORS, raw)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IBAN ES9121000418450200051332 today", "iban:ES9121000418450200051332"),
        ("DE89 3704 0044 0532 0130 00 BIC", "iban:DE89 3704 0044 0532 0130 00"),
        ("mein iban ist de89370400440532013000", "iban:de89370400440532013000"),
        ("my card is " + " ".join("4111111111111111"), "card-spelled:" + " ".join("4111111111111111")),
        ("sort code 20-11-43", "sort-code:20-11-43"),
        ("pay 4111-1111-1111-1111.", "card:4111-1111-1111-1111"),
        ('"cvv": "931"', "card-code:931"),
        ("account number 000123456789", "bank-account:000123456789"),
        ("routing 021000021", "us-routing-number:021000021"),
    ],
)
def test_values_are_found_without_what_stands_around_them(text: str, expected: str) -> None:
    assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 000123456789",
        "ISBN 978-3-16-148410-0",
        "start 1712345678901234567",
        "0.4111111111111111",
        "security code review",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736",
    ],
)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert found(text) == set()

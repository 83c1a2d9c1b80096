"""Addresses, phones, machines and documents."""

from __future__ import annotations

import pytest

from sidecar.mask.packs.pii import DETECTORS
from tests.mask.test_windows import reference


def found(text: str) -> set[str]:
    """`name:value` of everything found."""
    raw = text.encode()
    return {f"{DETECTORS[hit.detector].name}:{raw[hit.start : hit.end].decode()}" for hit in reference(DETECTORS, raw)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to o'brien.b+x@mail.example.org.", "email:brien.b+x@mail.example.org"),
        ("谢谢bob@example.com。", "email:bob@example.com"),
        ("an jürgen@bücher.example schreiben", "email-unicode:jürgen@bücher.example"),
        ("Tel.: 030/9018200", "phone-in-context:030/9018200"),
        ("remote=/10.1.2.77:80", "ipv4:10.1.2.77"),
        ("db.example.net/10.1.2.77:5432", "ipv4-resolved:10.1.2.77"),
        ("my phone number is 4 1 5 5 5 5 0 1 3 2", "phone-in-context:4 1 5 5 5 5 0 1 3 2"),
        ("0171 2345678", "phone-national-spaced:0171 2345678"),
        ("http://10.1.2.77:80", "ipv4:10.1.2.77"),
        ('"dob": "1984-03-12"', "date-of-birth:1984-03-12"),
        ("my passport is C01X00T47", "passport:C01X00T47"),
        ("driver's license D1234567", "driving-licence:D1234567"),
    ],
)
def test_values_are_found_without_what_stands_around_them(text: str, expected: str) -> None:
    assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "@app.get('/x')",
        "actions/checkout@v4",
        "icon@2x.png",
        "call_a8F3k2M9Qz7xW1b2",
        "2026-11-21 10:00:01,123",
        "rev 4155550132",
        "10.0.0",
        "chrome/134.0.68.154",
        "version 12.4.31.2",
        "0.4155550132",
        "12:34:56",
        "std::dec::abc",
        "passport control",
    ],
)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert found(text) == set()

"""Numbers of states, with their shape or beside a word."""

from __future__ import annotations

import pytest

from sidecar.mask.packs.national_ids import DETECTORS
from tests.mask.test_windows import reference


def found(text: str) -> set[str]:
    """`name:value` of everything found."""
    raw = text.encode()
    return {f"{DETECTORS[hit.detector].name}:{raw[hit.start : hit.end].decode()}" for hit in reference(DETECTORS, raw)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mein Steuer-ID: 86095742719", "national-id:86095742719"),
        ("DNI 12345678Z.", "es-dni:12345678Z"),
        ("ssn 078051120", "national-id:078051120"),
        ("cf RSSMRA85T10A562S", "it-fiscal-code:RSSMRA85T10A562S"),
        ("身份证 11010519491231002X", "cn-resident-id:11010519491231002X"),
        ("nir 2 55 08 14 168 025 38", "fr-nir-grouped:2 55 08 14 168 025 38"),
    ],
)
def test_values_are_found_without_what_stands_around_them(text: str, expected: str) -> None:
    assert expected in found(text)


@pytest.mark.parametrize("text", ["using 111222333", "order 078051120", "2024-01-2024", "commit 1234567a", "1712345678901", "id A1234567"])
def test_look_alikes_are_left_alone(text: str) -> None:
    assert found(text) == set()

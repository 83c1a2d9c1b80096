"""Keys of clouds beside what looks like them."""

from __future__ import annotations

import pytest

from sidecar.mask.packs.secrets_cloud import DETECTORS
from tests.mask.test_windows import reference


def found(text: str) -> set[str]:
    """`name:value` of everything found."""
    raw = text.encode()
    return {f"{DETECTORS[hit.detector].name}:{raw[hit.start : hit.end].decode()}" for hit in reference(DETECTORS, raw)}


@pytest.mark.parametrize(("text", "expected"), [("k=AK" + "IAIOSFODNN7EXAMPLE;", "aws-access-key-id:AK" + "IAIOSFODNN7EXAMPLE")])
def test_values_are_found_without_what_stands_around_them(text: str, expected: str) -> None:
    assert expected in found(text)


@pytest.mark.parametrize(
    "text", ["AKIA and friends", "ASIA-PACIFIC REGION", "s.method(argument)", "commit 4bf92f3577b34da6a3ce929d0e0e47364bf92f35", "sig=12"]
)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert found(text) == set()

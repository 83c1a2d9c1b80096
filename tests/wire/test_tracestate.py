"""Probability sampling's values in a trace state."""

from __future__ import annotations

import pytest

from sidecar.wire.tracestate import explicit_randomness, randomness_of, threshold

RV = 0x0123456789ABCD


@pytest.mark.parametrize(
    "state",
    [b"ot=rv:0123456789abcd", b"ot=th:8;rv:0123456789abcd", b"vendor=1,ot=rv:0123456789abcd;th:8,other=2", b"a=b, ot=rv:0123456789abcd"],
)
def test_the_randomness_is_read_wherever_it_stands(state: bytes) -> None:
    assert explicit_randomness(state) == RV


@pytest.mark.parametrize(
    "state",
    [b"", b"ot=", b"ot=rv:0123", b"ot=rv:0123456789ABCD", b"not=rv:0123456789abcd", b"ot=xrv:0123456789abcd", b"ot=rv:0123456789abcde", b"\xff"],
)
def test_a_malformed_randomness_counts_as_absent(state: bytes) -> None:
    assert explicit_randomness(state) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (b"ot=th:8", 1 << 55),
        (b"ot=th:0", 0),
        (b"ot=rv:0123456789abcd;th:ffffffffffffff", (1 << 56) - 1),
        (b"ot=th:", None),
        (b"ot=th:123456789abcdef", None),
        (b"ot=th:g", None),
        (b"", None),
    ],
)
def test_a_threshold_is_56_bits_with_its_trailing_zeros_left_out(state: bytes, expected: int | None) -> None:
    assert threshold(state) == expected


def test_without_a_state_the_randomness_is_the_low_56_bits_of_the_trace_id() -> None:
    assert randomness_of(bytes(range(16))) == int.from_bytes(bytes(range(9, 16)), "big")

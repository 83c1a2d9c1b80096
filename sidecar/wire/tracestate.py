"""What OpenTelemetry's probability sampling wrote into a trace state: `ot=th:...;rv:...`.

Owns the reading of these two values (OpenTelemetry specification, "TraceState: Probability Sampling"). It must not decide anything.
"""

from __future__ import annotations

import re

RANDOMNESS_BITS = 56
_MASK = (1 << RANDOMNESS_BITS) - 1
_HEX_DIGITS = RANDOMNESS_BITS // 4
_OT = re.compile(rb"(?:^|,)\s*ot=([^,]*)")
_THRESHOLD = re.compile(rb"(?:^|;)th:([0-9a-f]{1,14})(?:;|\s*$)")
_RANDOMNESS = re.compile(rb"(?:^|;)rv:([0-9a-f]{14})(?:;|\s*$)")


def randomness_of(trace_id: bytes) -> int:
    """R of a trace whose state names none: the low 56 bits of its id."""
    return int.from_bytes(trace_id, "big") & _MASK


def explicit_randomness(trace_state: bytes) -> int | None:
    """R as the state names it (`rv`), 56 bits; None when it is absent or malformed."""
    return _hex(_RANDOMNESS, trace_state)


def threshold(trace_state: bytes) -> int | None:
    """T that the span has passed (`th`), 56 bits; None when it is absent or malformed. Trailing zeros are left out on the wire."""
    return _hex(_THRESHOLD, trace_state)


def _hex(pattern: re.Pattern[bytes], trace_state: bytes) -> int | None:
    member = _OT.search(trace_state)
    digits = pattern.search(member[1]) if member else None
    return int(digits[1].ljust(_HEX_DIGITS, b"0"), 16) if digits else None

"""Moments as Langfuse reads them: full ISO 8601 with an offset, to the millisecond, which is all it keeps. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_NS = 253_402_300_799_000_000_000
"""The end of the year 9999, where ISO 8601 ends."""


def iso(time_ns: int) -> str:
    """A moment in nanoseconds since 1970 as ``2026-11-20T09:30:00.250Z``."""
    return iso_of(_EPOCH + timedelta(microseconds=min(time_ns, _MAX_NS) // 1000))


def iso_of(time: datetime) -> str:
    """An aware moment in the same form."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

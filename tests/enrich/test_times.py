"""Moments as Langfuse reads them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from sidecar.enrich.times import iso, iso_of


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_795_000_000_250_999_999, "2026-11-18T11:06:40.250Z"), (2**64 - 1, "2554-07-21T23:34:33.709Z")],
)
def test_a_moment_is_written_in_utc_to_the_millisecond(time_ns: int, text: str) -> None:
    assert iso(time_ns) == text


def test_a_moment_elsewhere_is_written_in_utc() -> None:
    assert iso_of(datetime(2026, 11, 20, 9, 30, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-20T07:30:00.000Z"

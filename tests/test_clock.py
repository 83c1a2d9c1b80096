"""The machine's clock."""

from __future__ import annotations

import asyncio
import time

from sidecar.clock import SystemClock


def test_wall_time_is_in_milliseconds_since_1970() -> None:
    before = time.time()
    wall_ms = SystemClock().wall_ms()

    assert before * 1000 - 1 <= wall_ms <= time.time() * 1000 + 1


def test_sleeping_takes_at_least_as_long_as_asked() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    asyncio.run(clock.sleep(0.01))

    assert clock.monotonic() - before >= 0.009

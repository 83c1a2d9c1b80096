"""Time as an argument: whoever needs to know the time or to wait is handed a ``Clock``."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is stored and shown, monotonic time for what is measured, and waiting."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment. Never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""


class SystemClock:
    """The machine's clock."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

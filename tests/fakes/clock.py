"""Time that passes only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from tests.waiting import until

START_MS = 1_795_000_000_000
SETTLE_ROUNDS = 20
"""Turns of the event loop after which tasks that depend only on each other have come to rest."""


class FakeClock:
    """A ``sidecar.clock.Clock``: ``sleep`` returns when ``advance`` has passed its time."""

    def __init__(self, wall_ms: int = START_MS) -> None:
        self._now_s = 0.0
        self._start_ms = wall_ms
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def wall_ms(self) -> int:
        return self._start_ms + round(self._now_s * 1000)

    def monotonic(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + seconds, next(self._order), future))
        await future

    def sleeping(self) -> list[float]:
        """Seconds until each sleeper wakes, the next one first."""
        return sorted(due_s - self._now_s for due_s, _, future in self._sleepers if not future.done())

    async def wait_for_sleeper(self, at_least_s: float = 0.0) -> float:
        """Return how long the first sleeper of at least ``at_least_s`` has left, as soon as there is one."""

        def found() -> list[float]:
            return [each for each in self.sleeping() if each >= at_least_s]

        await until(lambda: bool(found()), f"a sleeper of {at_least_s} s")
        return found()[0]

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass: sleepers wake in their order, each at its time."""
        end_s = self._now_s + seconds
        while self._sleepers and self._sleepers[0][0] <= end_s:
            due_s, _, future = heapq.heappop(self._sleepers)
            self._now_s = max(self._now_s, due_s)
            if not future.done():
                future.set_result(None)
                await self.settle()
        self._now_s = end_s
        await self.settle()

    async def settle(self) -> None:
        """Let tasks run on until they wait for something."""
        for _ in range(SETTLE_ROUNDS):
            await asyncio.sleep(0)

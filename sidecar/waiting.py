"""Waiting: for the first of several things, for a change, for the end of a step. It must not know what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from math import isinf

from sidecar.clock import Clock


async def first(*waits: Coroutine[object, object, object]) -> None:
    """Return when one of ``waits`` is over, and end the others. Raises what that one raised."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def to_the_end(step: Coroutine[object, object, None]) -> None:
    """Await ``step``, and let it finish even when the caller is cancelled meanwhile; the cancellation follows then, also when the step fails."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        try:
            await task
        except Exception as error:
            raise cancelled from error
        raise


class Changes:
    """Tells everybody who waits that something changed and is worth another look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next change. Take it before looking: no change between look and wait is missed then."""
        return self._next

    def notify(self) -> None:
        """Wake everybody."""
        self._next.set()
        self._next = asyncio.Event()

    async def rest(self, seconds: float) -> None:
        """Return after ``seconds`` or at the next change. Nothing may be awaited between the look and this call."""
        event = self._next
        if isinf(seconds):
            await event.wait()
        else:
            await first(self._clock.sleep(seconds), event.wait())

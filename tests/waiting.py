"""Real time in tests: waiting for what happens by itself, and pacing a disturbance. The only place for it beside the fakes.

Nothing here waits for a fixed time to give something else the chance to finish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

DEADLINE_S = 10.0
"""How long a test waits for something that is about to happen; reached only when it fails."""
LOOK_S = 0.002


async def until(predicate: Callable[[], bool], what: str = "the condition", deadline_s: float = DEADLINE_S) -> None:
    """Return when ``predicate`` holds; raises TimeoutError that names ``what``."""
    try:
        async with asyncio.timeout(deadline_s):
            while not predicate():  # noqa: ASYNC110  (what is waited for sets no event)
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise TimeoutError(f"still waiting for {what} after {deadline_s} s") from None


async def pause(seconds: float) -> None:
    """Between two acts of somebody who sends or disturbs: a client's time before it tries again, the length of an outage."""
    await asyncio.sleep(seconds)

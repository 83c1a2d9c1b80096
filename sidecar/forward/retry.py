"""How long to wait before the next attempt: a pure function of attempt, server hint and chance."""

from __future__ import annotations

from typing import Protocol

EXPONENT_MAX = 32
"""2**32 s is over a century: any longer delay is bounded by ``max_s`` anyway, and floats never overflow."""


class Chance(Protocol):
    """What is used of ``random.Random``."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between ``a`` and ``b``."""


def delay(attempt: int, hint_s: float | None, rng: Chance, initial_s: float, max_s: float) -> float:
    """Seconds until the next attempt; ``attempt`` counts the failures before this one, from 0.

    Exponential with full jitter: anything from 0 to ``min(max_s, initial_s * 2**attempt)``. A hint of the
    server (``Retry-After``) wins, also over ``max_s``: never earlier, and up to ``initial_s`` later, so that
    not every client of a rate limit comes back in the same moment.
    """
    if hint_s is not None:
        return hint_s + rng.uniform(0.0, initial_s)
    return rng.uniform(0.0, min(max_s, initial_s * 2.0 ** min(attempt, EXPONENT_MAX)))

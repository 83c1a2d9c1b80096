"""How far delivery to one destination fell behind, second by second. Pure.

Owns the look back: how fast rows left lately, and the worst delay of the last seconds. What a delay is, ``pressure.piled_up`` says.
"""

from __future__ import annotations

import statistics
from collections import deque

from sidecar.sample.pressure import Pile, piled_up

AVERAGED, BEST_OF, WORST_OF = 5, 15, 10
"""Seconds: speeds are averages of five, the best of the last fifteen counts; delays are remembered for ten."""


class Delay:
    """One destination. Call ``look`` once a second."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._taken: deque[float] = deque(maxlen=AVERAGED)
        self._averages: deque[float] = deque(maxlen=BEST_OF)
        self._pile: Pile | None = None
        self._delays: deque[float | None] = deque(maxlen=WORST_OF)

    @property
    def rows_per_s(self) -> float:
        """How fast rows leave, at best lately; 0 before anything left."""
        return max(self._averages, default=0.0)

    def look(self, *, is_up: bool, unsent: int, left: int, now_s: float) -> float | None:
        """Seconds that delivery is behind, at worst lately; None while the destination is down, or takes nothing so that nobody knows.

        ``unsent`` rows wait or are being sent; ``left`` rows have left since the start. Where nothing left for five seconds there is no
        speed to judge by: the destination may be slow, or be gone without having said so. What was known before counts until it is too old.
        """
        taken, self._left = 0 if self._left is None else left - self._left, left
        if not is_up:
            self._pile = None
            self._taken.clear()
            self._averages.clear()
            self._delays.clear()
            return None
        self._taken.append(taken)
        self._averages.append(statistics.fmean(self._taken))
        self._pile, behind_s = piled_up(self._pile, unsent, self.rows_per_s, now_s)
        self._delays.append(behind_s if any(self._taken) or not unsent else None)
        return max((each for each in self._delays if each is not None), default=None)

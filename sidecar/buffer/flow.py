"""How fast rows leave, and so how long the buffer takes to drain. Pure: the time is an argument.

Owns the average. It must not know why rows leave, nor what a long drain means.
"""

from __future__ import annotations

import math

WINDOW_S = 30.0
"""Time constant of the average: a change of speed shows by two thirds after so long."""
SILENT_S = 60.0
"""After so long without a delivery the speed is unknown, and the average begins anew."""
_LEAST_S = 1.0
"""A first batch is taken as the work of at least a second, not of the moment between two clock readings."""


class Flow:
    """Exponentially weighted rates of what is delivered or buried. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._first_s = self._last_s = -math.inf
        self._rows = self._bytes = 0.0

    def left(self, now_s: float, rows: int, body_bytes: int) -> None:
        """So much left the buffer. A settlement that let nothing go is no delivery: it must not keep a speed of before an outage alive."""
        if not rows:
            return
        silent_s = now_s - self._last_s
        if silent_s > SILENT_S:
            self._first_s, self._rows, self._bytes = now_s, 0.0, 0.0
        else:
            faded = math.exp(-silent_s / WINDOW_S)
            self._rows, self._bytes = self._rows * faded, self._bytes * faded
        self._last_s = now_s
        self._rows += rows
        self._bytes += body_bytes

    def rows_per_s(self, now_s: float) -> float:
        return self._rate(now_s, self._rows)

    def bytes_per_s(self, now_s: float) -> float:
        """Compressed."""
        return self._rate(now_s, self._bytes)

    def drain_s(self, now_s: float, pending_bytes: int) -> float | None:
        """How long ``pending_bytes`` take at the present speed; None: nothing leaves, so nobody knows."""
        rate = self.bytes_per_s(now_s)
        if pending_bytes <= 0:
            return 0.0
        return pending_bytes / rate if rate > 0 else None

    def _rate(self, now_s: float, amount: float) -> float:
        silent_s = now_s - self._last_s
        if silent_s > SILENT_S:
            return 0.0
        age_s = max(now_s - self._first_s, _LEAST_S)
        # the weights of a window that is not full yet add up to less than WINDOW_S
        return amount * math.exp(-silent_s / WINDOW_S) / (WINDOW_S * -math.expm1(-age_s / WINDOW_S))

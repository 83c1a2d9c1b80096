"""Quantiles of what was measured in the last seconds, in a few KB whatever the rate. Pure.

Owns the histogram: one for each second, in buckets of an eighth of an octave, so that a quantile is right to 6 %. It must not
know what is measured, nor read a clock.
"""

from __future__ import annotations

import math
from collections import Counter, deque

_PARTS = 8
"""Buckets an octave."""
_LEAST = 1e-6
"""Smaller values count as this."""


class Window:
    """Values of the last ``seconds``. Memory, at most: some 200 buckets a second of 100 bytes, 200 KB for 10 s of values from a microsecond to a minute."""

    def __init__(self, seconds: int = 10, least: int = 1) -> None:
        """With fewer than ``least`` values a quantile says nothing: one slow request among a few is no tendency."""
        self._seconds = seconds
        self._least = least
        self._buckets: deque[tuple[int, Counter[int]]] = deque()

    def add(self, value: float, now_s: float) -> None:
        """Take in a value, measured now (monotonic seconds)."""
        second = int(now_s)
        if not self._buckets or self._buckets[-1][0] != second:
            self._forget(second)
            self._buckets.append((second, Counter()))
        self._buckets[-1][1][_bucket(value)] += 1

    def quantile(self, share: float, now_s: float) -> float | None:
        """The least value that ``share`` of the values do not exceed; None where too few were measured."""
        self._forget(int(now_s))
        counts: Counter[int] = Counter()
        for _, seen in self._buckets:
            counts.update(seen)
        total = counts.total()
        if total < self._least or not total:
            return None
        wanted = math.ceil(share * total)
        for bucket in sorted(counts):
            wanted -= counts[bucket]
            if wanted <= 0:
                return _middle(bucket)
        raise AssertionError("a share is at most 1")

    def _forget(self, second: int) -> None:
        while self._buckets and self._buckets[0][0] <= second - self._seconds:
            self._buckets.popleft()


def _bucket(value: float) -> int:
    mantissa, exponent = math.frexp(max(value, _LEAST))
    return exponent * _PARTS + int((mantissa - 0.5) * 2 * _PARTS)


def _middle(bucket: int) -> float:
    exponent, part = divmod(bucket, _PARTS)
    return math.ldexp(0.5 + (part + 0.5) / (2 * _PARTS), exponent)

"""What may be kept in a time: units a month and bytes a day as a cap of the keep probability, and what keep rules may take. Pure.

Owns the arithmetic of spending. It must not know what a trace is, nor read a clock: times are monotonic seconds of the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86_400.0
LEAST = 1e-4
"""A cap is never lower: overspent budgets still let one trace in ten thousand through."""
_RATE_MEMORY_S = 300.0
"""Time constant of the average of what is offered."""


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount a period, spread evenly, of which ``burst_s`` may be saved up."""

    amount: float
    """Units or bytes."""
    period_s: float
    burst_s: float

    @property
    def per_s(self) -> float:
        """What comes in a second. The burst is part of the amount, so that no window of ``period_s`` gets more than the amount."""
        return self.amount / (self.period_s + self.burst_s)


def monthly(units: float) -> Budget:
    """Langfuse bills traces + observations + scores. A month is 31 days; a day's worth may be saved up."""
    return Budget(units, 31 * DAY_S, DAY_S)


def daily(size_bytes: float) -> Budget:
    """Bytes as sent; an hour's worth may be saved up."""
    return Budget(size_bytes, DAY_S, 3600.0)


@dataclass(frozen=True, slots=True)
class Spending:
    """How a budget stands. Saved over restarts or begun anew with nothing saved up, so that restarts give nothing away."""

    at_s: float
    saved: float = 0.0
    """Negative: overspent, by rule keeps or chance."""
    offered_per_s: float = 0.0
    """What would be spent if everything were kept, averaged over 5 minutes."""


def advance(spending: Spending, budget: Budget, offered: float, kept: float, now_s: float) -> Spending:
    """After ``offered`` came since the last call, of which ``kept`` was kept. A call a second is plenty."""
    elapsed_s = now_s - spending.at_s
    if elapsed_s <= 0:
        return Spending(spending.at_s, spending.saved - kept, spending.offered_per_s)
    share = 1 - math.exp(-elapsed_s / _RATE_MEMORY_S)
    saved = min(spending.saved + budget.per_s * elapsed_s, budget.per_s * budget.burst_s) - kept
    return Spending(now_s, saved, spending.offered_per_s + share * (offered / elapsed_s - spending.offered_per_s))


def cap(spending: Spending, budget: Budget) -> float:
    """The highest keep probability that the budget allows: even spreading, and a quarter of the burst time to spend what is saved."""
    allowed = budget.per_s + spending.saved * 4 / budget.burst_s
    if spending.offered_per_s <= 0:
        return 1.0
    return min(1.0, max(LEAST, allowed / spending.offered_per_s))


@dataclass(frozen=True, slots=True)
class Capacity:
    """What keep rules may take together."""

    spans_per_s: float | None = None
    """Fixed; None: a share of what the destination was seen to take."""
    share: float = 0.8
    least_spans_per_s: float = 50.0
    """As long as nothing was seen."""
    burst_s: float = 10.0

    def rate(self, seen_spans_per_s: float) -> float:
        """Spans a second, given what the destination took at its best lately."""
        return self.spans_per_s if self.spans_per_s is not None else max(self.least_spans_per_s, self.share * seen_spans_per_s)


class Allowance:
    """A token bucket of spans. A trace that was granted is kept whole, so later spans may run it into debt, at most 6 bursts."""

    RESERVE = 0.25
    """Of the bucket, for what is urgent."""

    def __init__(self, capacity: Capacity, now_s: float) -> None:
        self._capacity = capacity
        self._at_s = now_s
        self._rate = capacity.rate(0.0)
        self._level = self._size

    @property
    def _size(self) -> float:
        return max(1.0, self._rate * self._capacity.burst_s)

    @property
    def level_spans(self) -> float:
        """What is left; negative: debt."""
        return self._level

    def use_rate(self, seen_spans_per_s: float) -> None:
        """Take over what the destination was seen to take."""
        self._rate = self._capacity.rate(seen_spans_per_s)

    def take(self, spans: int, now_s: float, *, urgent: bool) -> bool:
        """Whether so many spans may be kept; they are charged then."""
        self._refill(now_s)
        if self._level <= (0.0 if urgent else self.RESERVE * self._size):
            return False
        self.spend(spans)
        return True

    def spend(self, spans: int) -> None:
        """Charge spans of a trace that was granted before."""
        self._level = max(self._level - spans, -6 * self._size)

    def _refill(self, now_s: float) -> None:
        if now_s > self._at_s:
            self._level = min(self._level + (now_s - self._at_s) * self._rate, self._size)
            self._at_s = now_s


class Minimums:
    """At least so many traces a minute of each agent. Memory: ``AGENTS`` names of 128 characters, 100 KB; agents beyond share one slot."""

    AGENTS = 256
    _SHARED = "\0others"

    def __init__(self, per_minute: float) -> None:
        self._every_s = 60 / per_minute if per_minute > 0 else math.inf
        self._next_s: dict[str, float] = {}

    def due(self, agent: str, now_s: float) -> bool:
        """Whether the agent has had less than its minimum lately."""
        return self._every_s < math.inf and now_s >= self._next_s.get(self._slot(agent), -math.inf)

    def took(self, agent: str, now_s: float) -> None:
        """A trace of the agent was kept for its minimum."""
        self._next_s[self._slot(agent)] = now_s + self._every_s

    def _slot(self, agent: str) -> str:
        return agent if agent in self._next_s or len(self._next_s) < self.AGENTS else self._SHARED

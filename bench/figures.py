"""Measured figures beside the budgets that they are held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SLACK = 1.2
"""A budget is missed when it is exceeded by more than a fifth: machines differ by as much from one hour to the next."""


@dataclass(frozen=True)
class Figure:
    """One measured value. ``limit`` is what it may be at most, or at least; None: it is only shown."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False

    @property
    def missed(self) -> bool:
        """Whether the budget is missed by more than the slack; a limit of 0 has none."""
        if self.limit is None:
            return False
        return self.value < self.limit / SLACK if self.at_least else self.value > self.limit * SLACK

    def line(self) -> str:
        """As a row of the report."""
        shown = f"{self.name:<44} {self.value:>10.4g} {self.unit:<10}"
        if self.limit is None:
            return shown.rstrip()
        within = self.value >= self.limit if self.at_least else self.value <= self.limit
        verdict = "MISSED" if self.missed else "held" if within else "held within a fifth"
        return f"{shown} {'>=' if self.at_least else '<='} {self.limit:<8g} {verdict}"


def report(figures: Iterable[Figure]) -> bool:
    """Print the figures as they come; whether no budget is missed."""
    good = True
    for figure in figures:
        print(figure.line(), flush=True)
        good = good and not figure.missed
    return good


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares through (x, y): how much y grows when x grows by one. 0 for fewer than two different x."""
    if not points:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def percentile(values: Iterable[float], share: float) -> float:
    """What ``share`` of the values stay under; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

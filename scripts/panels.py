"""What dashboards are made of: panels, their rows, and the queries that most of them ask. Values only."""

from __future__ import annotations

from typing import NamedTuple

SELECT = 'job=~"$job", instance=~"$instance"'
RATE = "[$__rate_interval]"


class Query(NamedTuple):
    """PromQL with ``SELECT`` in every selector, and what a line is called (``{{label}}`` is filled in)."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One picture. ``unit`` is Grafana's name of it; a ``stat`` shows its last value, green below the first of ``steps``, then orange, then red."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    text: str
    steps: tuple[float, ...] = ()
    stat: bool = False
    exemplars: bool = False
    """Show the traces that stand behind a histogram's buckets."""


class Row(NamedTuple):
    """A heading and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


def counted(metric: str, *by: str, where: str = "") -> str:
    """The rate of a counter, summed by labels."""
    return f"sum by ({', '.join(by)}) (rate({metric}{{{SELECT}{where}}}{RATE}))"


def quantile(q: float, metric: str, *by: str, where: str = "") -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({q}, {counted(f'{metric}_bucket', *by, 'le', where=where)})"


def percentiles(metric: str, *by: str, of: tuple[float, ...] = (0.5, 0.95), where: str = "") -> tuple[Query, ...]:
    """A line for each quantile, named after the labels and itself."""
    labels = "".join(f"{{{{{label}}}}} " for label in by)
    return tuple(Query(quantile(q, metric, *by, where=where), f"{labels}p{q * 100:g}") for q in of)


def gauge(metric: str) -> str:
    """A metric as it stands."""
    return f"{metric}{{{SELECT}}}"


def stat(title: str, unit: str, expr: str, text: str, *steps: float) -> Panel:
    """One number; it turns orange at the first step and red at the second, or red at the only one."""
    return Panel(title, unit, (Query(expr, title),), text, steps, stat=True)

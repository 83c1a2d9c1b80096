"""The metrics of agents: measures added up by agent, operation, model and provider. Pure.

Owns the sums, the buckets and how many label sets there are. Sums only grow, from the start of the process. It must not know traces or
how metrics are written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from operator import add
from typing import NamedTuple

from sidecar.enrich.agent_names import OTHER
from sidecar.enrich.measures import TOKEN_TYPES
from sidecar.trace.measure import Measure

DURATION_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bucket bounds of ``gen_ai.client.operation.duration`` in OpenTelemetry's GenAI conventions."""
FIRST_TOKEN_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Of ``gen_ai.server.time_to_first_token``."""
CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MAX_SETS = 512
"""Label sets of operations: 48 agents with two models each and tools are 200. A set takes about 2 KB, so 1 MB in all, and up to 46 lines of a scrape."""


class Key(NamedTuple):
    """Labels of an operation; model and provider are empty where no model was called."""

    agent: str
    operation: str
    model: str
    provider: str


class Spread:
    """A histogram. Its exemplars are the last trace of each bucket and the value it had."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.exemplars: list[tuple[bytes, float] | None] = [None] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, trace_id: bytes) -> None:
        """Count a value."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.exemplars[bucket] = (trace_id, value)
        self.total += value


class Sums:
    """Everything counted for one label set."""

    __slots__ = ("cost_usd", "durations", "error_traces", "errors", "first_tokens", "input_bytes", "output_bytes", "tokens")

    def __init__(self) -> None:
        self.durations = Spread(DURATION_S)
        self.errors: Counter[str] = Counter()
        """By kind."""
        self.error_traces: dict[str, bytes] = {}
        """The last trace of each kind."""
        self.first_tokens: Spread | None = None
        self.tokens = [0] * len(TOKEN_TYPES)
        self.cost_usd = 0.0
        self.input_bytes = 0
        self.output_bytes = 0


class Spent(NamedTuple):
    """What calls took from a budget."""

    usd: float
    tokens: int


class Measured:
    """All sums of a process. Memory, at most: ``MAX_SETS`` sets and those of ``other``, 256 agents with five signals and a histogram each: 2 MB."""

    def __init__(self) -> None:
        self.sums: dict[Key, Sums] = {}
        self.signals: Counter[tuple[str, str]] = Counter()
        """By agent and signal."""
        self.confidences: dict[str, Spread] = {}
        """Of decisions, by agent."""
        self.overflow: Counter[str] = Counter()
        """Operations whose labels became ``other``, by what there was too much of: agents, sets."""
        self.spent: dict[tuple[str, str], Spent] = {}
        """By scope and name of a budget, since it was last taken away."""

    def count(self, agent: str, budget: str, measure: Measure) -> None:
        """Add a measure of an agent, which has the budget of that name. Takes about 1 us for a call: what it needs often is in line."""
        if measure.operation:
            sums = self.sums.get((agent, measure.operation, measure.model, measure.provider)) or self._sums(agent, measure)  # type: ignore[call-overload]  # a plain tuple finds its equal, and is made in C
            spread, value = sums.durations, measure.duration_s
            bucket = bisect_left(DURATION_S, value)
            spread.counts[bucket] += 1
            spread.exemplars[bucket] = (measure.trace_id, value)
            spread.total += value
            if measure.tokens:
                sums.tokens = list(map(add, sums.tokens, measure.tokens))
            sums.cost_usd += measure.cost_usd
            if measure.first_token_s is not None:
                if sums.first_tokens is None:
                    sums.first_tokens = Spread(FIRST_TOKEN_S)
                sums.first_tokens.add(measure.first_token_s, measure.trace_id)
            if measure.error:
                sums.errors[measure.error] += 1
                sums.error_traces[measure.error] = measure.trace_id
            if measure.input_bytes or measure.output_bytes:
                sums.input_bytes += measure.input_bytes
                sums.output_bytes += measure.output_bytes
            if agent == OTHER:
                self.overflow["agents"] += 1
            if budget or measure.budgets:
                self._spend(budget, measure)
        if measure.signals:
            self._count_signals(agent, measure)

    def _count_signals(self, agent: str, measure: Measure) -> None:
        for signal in measure.signals:
            self.signals[agent, signal] += 1
        if measure.confidence is not None:
            spread = self.confidences.get(agent)
            if spread is None:
                spread = self.confidences[agent] = Spread(CONFIDENCE)
            spread.add(measure.confidence, measure.trace_id)

    def _sums(self, agent: str, measure: Measure) -> Sums:
        key = Key(agent, measure.operation, measure.model, measure.provider)
        if len(self.sums) >= MAX_SETS:
            self.overflow["sets"] += 1
            key = Key(OTHER, measure.operation, OTHER if measure.model else "", OTHER if measure.provider else "")
        return self.sums.setdefault(key, Sums())

    def _spend(self, budget: str, measure: Measure) -> None:
        """Of one call on all its budgets; what is no call spends nothing."""
        tokens = sum(measure.tokens)
        if not tokens and not measure.cost_usd:
            return
        for account in (("agent", budget), *(("model", name) for name in measure.budgets)):
            if account[1]:
                before = self.spent.get(account, Spent(0.0, 0))
                self.spent[account] = Spent(before.usd + measure.cost_usd, before.tokens + tokens)

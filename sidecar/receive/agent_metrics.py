"""The agents' own metrics: what spans count for, added up, and shown to Prometheus when it asks.

Owns the series' names and labels, and the exemplars: the trace of the last operation in each bucket, which only OpenMetrics can carry.
It must not know spans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from sidecar.enrich.agents import AgentRules
from sidecar.enrich.completer import Counted
from sidecar.enrich.facts import Kind
from sidecar.enrich.measured import Measured, Spread, Sums
from sidecar.enrich.measures import TOKEN_TYPES
from sidecar.observe.metrics import AGENT_FAMILIES
from sidecar.receive.spending import Spending

_FAMILIES = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class AgentMetrics(Collector):
    """Counts measures, and shows the sums. Counting one takes about 1 us; showing, 1 us a line."""

    def __init__(self, spending: Spending | None = None) -> None:
        self._spending = spending
        self._measured = Measured()

    def use_budgets(self, rules: AgentRules) -> None:
        """Follow the budgets of these rules from now on."""
        if self._spending is not None:
            self._spending.use(rules)

    def count(self, counted: Iterable[Counted]) -> None:
        """Add measures to the sums, and take their calls from the budgets."""
        measured = self._measured
        for agent, budget, measure in counted:
            measured.count(agent, budget, measure)
        if measured.spent:
            if self._spending is not None:
                self._spending.add(measured.spent)
            measured.spent.clear()

    def collect(self) -> Iterator[Metric]:
        """The families, in the order of the table, those without a series too. The samples of each can be iterated once."""
        for name, kind, _, text in AGENT_FAMILIES:
            family = _FAMILIES[kind](name, text)
            # Made as they are written, 40 ms for 512 label sets: whoever writes a slice at a time lets others have their turn in between.
            family.samples = self._samples(name)
            yield family

    def _samples(self, name: str) -> Iterator[Sample]:
        measured = self._measured
        if name.startswith("sidecar_budget_"):
            yield from self._budgets(name)
        elif name == "sidecar_agent_signals_total":
            for (agent, signal), count in list(measured.signals.items()):
                yield Sample(name, {"agent": agent, "signal": signal}, count)
        elif name == "sidecar_agent_decision_confidence":
            for agent, spread in list(measured.confidences.items()):
                yield from _histogram(name, {"agent": agent}, spread)
        elif name == "sidecar_agent_overflow_total":
            for label, count in list(measured.overflow.items()):
                yield Sample(name, {"label": label}, count)
        elif name == "sidecar_agent_tool_bytes_total":
            yield from _tool_bytes(name, measured)
        else:
            for key, sums in list(measured.sums.items()):
                yield from _BY_OPERATION[name](name, key._asdict(), sums)

    def _budgets(self, name: str) -> Iterator[Sample]:
        is_limit, unit = name.startswith("sidecar_budget_limit"), "usd" if name.endswith("dollars") else "tokens"
        for line in self._spending.lines() if self._spending is not None else ():
            if line.unit == unit:
                labels = {"scope": line.scope, "name": line.name, "period": line.period}
                yield Sample(name, labels, line.limit if is_limit else line.spent)


def _operations(name: str, labels: dict[str, str], sums: Sums) -> Iterator[Sample]:
    yield Sample(name, labels, sum(sums.durations.counts))


def _errors(name: str, labels: dict[str, str], sums: Sums) -> Iterator[Sample]:
    for kind, count in list(sums.errors.items()):
        yield Sample(name, {**labels, "kind": kind}, count, None, _exemplar(sums.error_traces[kind], 1.0))


def _durations(name: str, labels: dict[str, str], sums: Sums) -> Iterator[Sample]:
    return _histogram(name, labels, sums.durations)


def _first_tokens(name: str, labels: dict[str, str], sums: Sums) -> Iterator[Sample]:
    if sums.first_tokens is not None:
        yield from _histogram(name, labels, sums.first_tokens)


def _tokens(name: str, labels: dict[str, str], sums: Sums) -> Iterator[Sample]:
    for kind, tokens in zip(TOKEN_TYPES, sums.tokens, strict=True):
        if tokens:
            yield Sample(name, {**labels, "type": kind}, tokens)


def _cost(name: str, labels: dict[str, str], sums: Sums) -> Iterator[Sample]:
    if sums.cost_usd:
        yield Sample(name, labels, sums.cost_usd)


_BY_OPERATION: Mapping[str, Callable[[str, dict[str, str], Sums], Iterator[Sample]]] = {
    "sidecar_agent_operations_total": _operations,
    "sidecar_agent_errors_total": _errors,
    "sidecar_agent_operation_seconds": _durations,
    "sidecar_agent_first_token_seconds": _first_tokens,
    "sidecar_agent_tokens_total": _tokens,
    "sidecar_agent_cost_dollars_total": _cost,
}


def _tool_bytes(name: str, measured: Measured) -> Iterator[Sample]:
    sizes: Counter[tuple[str, str]] = Counter()
    for key, sums in measured.sums.items():
        if key.operation == Kind.TOOL:
            sizes[key.agent, "input"] += sums.input_bytes
            sizes[key.agent, "output"] += sums.output_bytes
    for (agent, direction), size in sizes.items():
        yield Sample(name, {"agent": agent, "direction": direction}, size)


def _histogram(name: str, labels: dict[str, str], spread: Spread) -> Iterator[Sample]:
    count = 0
    for bound, more, seen in zip((*map(str, spread.bounds), "+Inf"), spread.counts, spread.exemplars, strict=True):
        count += more
        yield Sample(f"{name}_bucket", {**labels, "le": bound}, count, None, None if seen is None else _exemplar(*seen))
    yield Sample(f"{name}_count", labels, count)
    yield Sample(f"{name}_sum", labels, spread.total)


def _exemplar(trace_id: bytes, value: float) -> Exemplar:
    return Exemplar({"trace_id": trace_id.hex()}, value)

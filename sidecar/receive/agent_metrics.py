"""The agents' own metrics: what spans count for, added up, and shown to Prometheus when it asks.

Owns the series' names and labels, and the exemplars: the trace of the last operation in each bucket, which only OpenMetrics can carry.
It must not know spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from sidecar.enrich.agents import AgentRules
from sidecar.enrich.completer import Counted
from sidecar.enrich.measured import Measured, Spread
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
        """The families, in the order of the table, those without a series too."""
        found = {name: _FAMILIES[kind](name, text) for name, kind, _, text in AGENT_FAMILIES}
        self._collect_operations(found)
        self._collect_signals(found)
        for line in self._spending.lines() if self._spending is not None else ():
            unit = "dollars" if line.unit == "usd" else line.unit
            labels = {"scope": line.scope, "name": line.name, "period": line.period}
            found[f"sidecar_budget_spent_{unit}"].add_sample(f"sidecar_budget_spent_{unit}", labels, line.spent)
            found[f"sidecar_budget_limit_{unit}"].add_sample(f"sidecar_budget_limit_{unit}", labels, line.limit)
        yield from found.values()

    def _collect_operations(self, found: dict[str, Metric]) -> None:
        bytes_by_agent: dict[tuple[str, str], int] = {}
        for key, sums in self._measured.sums.items():
            labels = key._asdict()
            _add(found, "sidecar_agent_operations_total", labels, sum(sums.durations.counts))
            for kind, count in sums.errors.items():
                _add(found, "sidecar_agent_errors_total", {**labels, "kind": kind}, count, _exemplar(sums.error_traces[kind], 1.0))
            _add_spread(found, "sidecar_agent_operation_seconds", labels, sums.durations)
            if sums.first_tokens is not None:
                _add_spread(found, "sidecar_agent_first_token_seconds", labels, sums.first_tokens)
            for kind, tokens in zip(TOKEN_TYPES, sums.tokens, strict=True):
                if tokens:
                    _add(found, "sidecar_agent_tokens_total", {**labels, "type": kind}, tokens)
            if sums.cost_usd:
                _add(found, "sidecar_agent_cost_dollars_total", labels, sums.cost_usd)
            if key.operation == "tool":
                for direction, size in (("input", sums.input_bytes), ("output", sums.output_bytes)):
                    bytes_by_agent[key.agent, direction] = bytes_by_agent.get((key.agent, direction), 0) + size
        for (agent, direction), size in bytes_by_agent.items():
            _add(found, "sidecar_agent_tool_bytes_total", {"agent": agent, "direction": direction}, size)

    def _collect_signals(self, found: dict[str, Metric]) -> None:
        measured = self._measured
        for (agent, signal), count in measured.signals.items():
            _add(found, "sidecar_agent_signals_total", {"agent": agent, "signal": signal}, count)
        for agent, spread in measured.confidences.items():
            _add_spread(found, "sidecar_agent_decision_confidence", {"agent": agent}, spread)
        for label, count in measured.overflow.items():
            _add(found, "sidecar_agent_overflow_total", {"label": label}, count)


def _add(found: dict[str, Metric], name: str, labels: dict[str, str], value: float, exemplar: Exemplar | None = None) -> None:
    found[name].samples.append(Sample(name, labels, value, None, exemplar))


def _add_spread(found: dict[str, Metric], name: str, labels: dict[str, str], spread: Spread) -> None:
    samples = found[name].samples
    bounds = (*map(str, spread.bounds), "+Inf")
    for bound, count, seen in zip(bounds, accumulate(spread.counts), spread.exemplars, strict=True):
        samples.append(Sample(f"{name}_bucket", {**labels, "le": bound}, count, None, None if seen is None else _exemplar(*seen)))
    samples.append(Sample(f"{name}_count", labels, count))
    samples.append(Sample(f"{name}_sum", labels, spread.total))


def _exemplar(trace_id: bytes, value: float) -> Exemplar:
    return Exemplar({"trace_id": trace_id.hex()}, value)

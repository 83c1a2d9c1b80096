"""The agents' own metrics, as Prometheus sees them."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sidecar.enrich.agents import parse_agents
from sidecar.observe.metrics import AGENT_FAMILIES
from sidecar.receive.agent_metrics import AgentMetrics
from sidecar.receive.spending import Spending
from sidecar.trace.measure import Measure
from tests.fakes.clock import FakeClock

TRACE = bytes(range(16))
CALL = Measure(TRACE, "generation", "gpt-4o", "openai", 1.5, 0.25, (10, 5, 0, 0, 0, 2, 0, 0), 0.5, budgets=("gpt-*",))
FAILED = Measure(TRACE[::-1], "generation", "gpt-4o", "openai", 0.015, error="rate_limit")
TOOL = Measure(TRACE, "tool", duration_s=0.03, input_bytes=3, output_bytes=5)
DECISION = Measure(TRACE, signals=("decision",), confidence=0.75)
LABELS = {"agent": "pricing", "operation": "generation", "model": "gpt-4o", "provider": "openai"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def counted(*measures: Measure, agent: str = "pricing") -> AgentMetrics:
    metrics = AgentMetrics()
    metrics.count([(agent, "", each) for each in measures])
    return metrics


def scraped(metrics: AgentMetrics, accept: str = "") -> dict[str, Metric]:
    """By name, as a parser of the format reads it back."""
    registry = CollectorRegistry()
    registry.register(metrics)
    encode, _ = choose_encoder(accept)
    text = encode(registry).decode()
    if accept:
        return {family.name: family for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]  # the package left it without types
    families = text_string_to_metric_families(text)
    return {family.name: family for family in families}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels[key] for key in sorted(sample.labels)): sample.value for sample in family.samples}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_every_family_is_there_from_the_start_with_its_type_and_meaning(accept: str) -> None:
    families = scraped(AgentMetrics(), accept)

    for name, kind, _, text in AGENT_FAMILIES:
        assert (families[name.removesuffix("_total")].type, families[name.removesuffix("_total")].documentation) == (kind, text)


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_every_series_has_the_labels_that_the_table_says(accept: str) -> None:
    families = scraped(counted(CALL, FAILED, TOOL, DECISION, *(Measure(TRACE, "agent") for _ in range(3))), accept)

    for name, _, labels, _ in AGENT_FAMILIES:
        for sample in families[name.removesuffix("_total")].samples:
            assert set(sample.labels) - {"le"} == set(labels.split(", ")), name


def test_operations_errors_tokens_and_cost_are_shown_by_agent_and_model() -> None:
    families = scraped(counted(CALL, CALL, FAILED, TOOL))
    call = ("pricing", "gpt-4o", "generation", "openai")

    assert values(families["sidecar_agent_operations"]) == {call: 3, ("pricing", "", "tool", ""): 1}
    assert values(families["sidecar_agent_errors"]) == {("pricing", "rate_limit", "gpt-4o", "generation", "openai"): 1}
    assert values(families["sidecar_agent_cost_dollars"]) == {call: 1.0}
    assert values(families["sidecar_agent_tokens"]) == {(*call, "input"): 20, (*call, "output"): 10, (*call, "reasoning"): 4}
    assert values(families["sidecar_agent_tool_bytes"]) == {("pricing", "input"): 3, ("pricing", "output"): 5}


def samples(family: Metric, suffix: str, **labels: str) -> list[Sample]:
    return [each for each in family.samples if each.name == family.name + suffix and labels.items() <= each.labels.items()]


def test_durations_and_times_to_the_first_token_are_histograms_of_the_conventions_bounds() -> None:
    families = scraped(counted(CALL, FAILED))
    durations, first = families["sidecar_agent_operation_seconds"], families["sidecar_agent_first_token_seconds"]

    assert {each.labels["le"]: each.value for each in samples(durations, "_bucket", **LABELS) if each.value != 1} == {
        "0.01": 0,
        "2.56": 2,
        "5.12": 2,
        "10.24": 2,
        "20.48": 2,
        "40.96": 2,
        "81.92": 2,
        "+Inf": 2,
    }
    assert [each.value for each in (*samples(durations, "_count"), *samples(durations, "_sum"))] == [2, 1.515]
    assert {each.labels["le"] for each in samples(first, "_bucket") if each.value == 0} == {
        "0.001",
        "0.005",
        "0.01",
        "0.02",
        "0.04",
        "0.06",
        "0.08",
        "0.1",
    }


def test_exemplars_lead_to_traces_and_are_shown_to_openmetrics_only() -> None:
    metrics = counted(CALL, FAILED)
    families = scraped(metrics, OPENMETRICS)

    found = {each.labels["le"]: each.exemplar for each in samples(families["sidecar_agent_operation_seconds"], "_bucket") if each.exemplar}
    assert {bound: (each.labels, each.value) for bound, each in found.items()} == {
        "2.56": ({"trace_id": TRACE.hex()}, 1.5),
        "0.02": ({"trace_id": TRACE[::-1].hex()}, 0.015),
    }
    (error,) = samples(families["sidecar_agent_errors"], "_total")
    assert error.exemplar is not None and error.exemplar.labels == {"trace_id": TRACE[::-1].hex()}
    assert all(each.exemplar is None for family in scraped(metrics).values() for each in family.samples)


def test_signals_and_the_confidence_of_decisions_are_shown_by_agent() -> None:
    families = scraped(counted(DECISION, Measure(TRACE, signals=("handoff", "conflict", "resolution", "heartbeat"))))

    kinds = ("decision", "handoff", "conflict", "resolution", "heartbeat")
    assert values(families["sidecar_agent_signals"]) == {("pricing", kind): 1 for kind in kinds}
    assert {each.labels["le"] for each in samples(families["sidecar_agent_decision_confidence"], "_bucket") if each.value} == {
        "0.8",
        "0.9",
        "1.0",
        "+Inf",
    }


def test_operations_that_became_other_are_shown() -> None:
    assert values(scraped(counted(CALL, agent="other"))["sidecar_agent_overflow"]) == {("agents",): 1}


def test_a_name_with_quotes_and_line_breaks_is_escaped() -> None:
    name = 'the "pricing" \\ agent\nof [EMAIL]'

    for accept in ("", OPENMETRICS):
        (sample,) = scraped(counted(TOOL, agent=name), accept)["sidecar_agent_operations"].samples
        assert sample.labels["agent"] == name


def test_budgets_show_what_is_spent_beside_the_limit() -> None:
    rules = parse_agents(
        {
            "agents": [{"match": "pricing", "name": "retail", "budget": {"usd_per_day": 10, "tokens_per_hour": 100}}],
            "budgets": [{"model": "gpt-*", "usd_per_month": 50}],
        }
    )
    metrics = AgentMetrics(Spending(rules, FakeClock(), logging.getLogger("sidecar.budgets"), ":memory:"))
    for _ in range(2):
        metrics.count([("pricing", "retail", CALL)])

    families = scraped(metrics)
    assert values(families["sidecar_budget_spent_dollars"]) == {("retail", "day", "agent"): 1.0, ("gpt-*", "month", "model"): 1.0}
    assert values(families["sidecar_budget_limit_dollars"]) == {("retail", "day", "agent"): 10, ("gpt-*", "month", "model"): 50}
    assert values(families["sidecar_budget_spent_tokens"]) == {("retail", "hour", "agent"): 34}
    assert values(families["sidecar_budget_limit_tokens"]) == {("retail", "hour", "agent"): 100}

    metrics.use_budgets(parse_agents({"budgets": [{"model": "gpt-*", "usd_per_month": 5}]}))
    assert values(scraped(metrics)["sidecar_budget_limit_dollars"]) == {("gpt-*", "month", "model"): 5}


def test_counting_goes_on_while_a_scrape_is_written() -> None:
    metrics = counted(CALL, DECISION)
    seen = 0

    for family in metrics.collect():
        for _ in family.samples:
            seen += 1
            metrics.count([(f"agent {seen}", "", each) for each in (CALL, TOOL, DECISION)])

    assert seen > len(AGENT_FAMILIES)

"""The agents' own metrics of a real process: equal to what was called and to what Langfuse shows, and budgets that outlast a restart."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.acceptance.sending import corpus_requests, ids_of, send_now
from tests.acceptance.test_context import CHAT, both
from tests.enrich.golden import captures, read_capture
from tests.fakes.langfuse_mapping import show
from tests.processes import Sidecar
from tests.spans import Attributes, request, span

pytestmark = pytest.mark.acceptance

CALL: Attributes = {**CHAT, "gen_ai.system": "openai", "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
CALL_USD = 0.0035
"""1,000 tokens at 2.50 and 100 at 10.00 dollars a million."""


def totals(sidecar: Sidecar, name: str, label: str, **where: str) -> dict[str, float]:
    """A metric's values, summed by one of its labels."""
    found: defaultdict[str, float] = defaultdict(float)
    for (metric, labels), value in sidecar.metrics().items():
        if metric == name and where.items() <= dict(labels).items():
            found[dict(labels)[label]] += value
    return found


def test_calls_tokens_and_cost_of_the_corpus_are_those_that_were_made_by_the_agents_that_langfuse_shows(tmp_path: Path) -> None:
    requests = corpus_requests()
    spans = [each for name in captures() for seen in read_capture(name).values() for each in seen]
    calls = {(view.trace_id, view.span_id): facts for view, facts in spans if facts.is_call}

    with both(tmp_path, settle_s=1) as (fake, sidecar):
        send_now(sidecar, requests)
        fake.block_for_spans(len(ids_of(requests)), 60)
        sidecar.settled()
        operations = totals(sidecar, "sidecar_agent_operations_total", "operation")
        errors = totals(sidecar, "sidecar_agent_errors_total", "kind", operation="generation")
        tokens = totals(sidecar, "sidecar_agent_tokens_total", "agent")
        cost = totals(sidecar, "sidecar_agent_cost_dollars_total", "agent")

        assert operations["generation"] + operations["embedding"] == len(calls)
        assert errors == Counter(facts.error.kind.value for facts in calls.values() if facts.error is not None)

        tokens_shown: defaultdict[str, float] = defaultdict(float)
        cost_shown: defaultdict[str, float] = defaultdict(float)
        for key, each in fake.seen.unique().items():
            if (facts := calls.get(key)) is not None:
                observation = show(each.span, each.scope, each.resource)
                agent = str(observation.metadata.get("agent_name") or "unknown")
                tokens_shown[agent] += facts.usage.total if facts.usage is not None else 0
                cost_shown[agent] += observation.total_cost or 0
        assert tokens == {agent: count for agent, count in tokens_shown.items() if count}
        assert cost == {agent: pytest.approx(usd) for agent, usd in cost_shown.items() if usd}


def test_an_sdk_that_exports_each_span_when_it_ends_has_its_calls_counted_for_their_agents(tmp_path: Path) -> None:
    """Children end before the agents above them, and each export is a request of its own."""
    with both(tmp_path, settle_s=3600) as (fake, sidecar):
        provider = TracerProvider(resource=Resource({"service.name": "shop"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=sidecar.traces_url)))
        tracer = provider.get_tracer("shop")
        with tracer.start_as_current_span("invoke planner", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}):
            with tracer.start_as_current_span(
                "invoke pricing", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "pricing-17"}
            ):
                for _ in range(2):
                    tracer.start_span("chat gpt-4o", attributes=CALL).end()
                tracer.start_span("execute_tool lookup", attributes={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"}).end()
            failed = tracer.start_span("chat gpt-4o", attributes={**CALL, "error.type": "RateLimitError"})
            failed.set_status(trace.StatusCode.ERROR, "429")
            failed.end()
        provider.shutdown()
        fake.block_for_spans(6, 20)
        sidecar.settled()

        calls = {"operation": "generation", "model": "gpt-4o", "provider": "openai"}
        for agent, count in (("pricing", 2), ("planner", 1)):
            assert sidecar.metric("sidecar_agent_operations_total", agent=agent, **calls) == count
            assert sidecar.metric("sidecar_agent_tokens_total", agent=agent, type="input", **calls) == 1000 * count
            assert sidecar.metric("sidecar_agent_cost_dollars_total", agent=agent, **calls) == pytest.approx(CALL_USD * count)
            assert sidecar.metric("sidecar_agent_operations_total", agent=agent, operation="agent", model="", provider="") == 1
        assert sidecar.metric("sidecar_agent_operations_total", agent="pricing", operation="tool", model="", provider="") == 1
        assert sidecar.metric("sidecar_agent_errors_total", agent="planner", kind="rate_limit", **calls) == 1
        assert "unknown" not in totals(sidecar, "sidecar_agent_operations_total", "agent")


def test_what_was_spent_of_budgets_outlasts_a_restart_and_counts_for_inherited_agents_too(tmp_path: Path) -> None:
    rules = tmp_path / "agents.yaml"
    budgets = {
        "agents": [{"match": "plan*", "name": "planner", "budget": {"usd_per_month": 10}}],
        "budgets": [{"model": "gpt-4o*", "tokens_per_month": 10**6}],
    }
    rules.write_text(yaml.safe_dump(budgets), encoding="utf-8")
    with both(tmp_path, settle_s=3600, agents=str(rules)) as (fake, sidecar):
        agent = span(span_id=b"agent-01", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planning"})
        for number in range(3):
            trace_id = bytes([number + 1]) * 16
            agent.trace_id = trace_id
            call = span(trace_id=trace_id, span_id=b"call--01", parent=b"agent-01", attributes=CALL)
            send_now(sidecar, [request(call)])
            send_now(sidecar, [request(agent)])
            fake.block_for_spans(2 * number + 2, 20)
            sidecar.settled()

            spent = sidecar.metric("sidecar_budget_spent_dollars", scope="agent", period="month")
            assert spent == pytest.approx(CALL_USD * (number + 1))
            sidecar.restart()
        assert sidecar.metric("sidecar_agent_operations_total", agent="planner", operation="agent", model="", provider="") == 0
        assert totals(sidecar, "sidecar_budget_spent_tokens", "scope") == {"model": 3300}
        assert totals(sidecar, "sidecar_budget_limit_dollars", "scope") == {"agent": 10}

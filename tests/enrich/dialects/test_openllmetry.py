"""OpenLLMetry / Traceloop."""

from __future__ import annotations

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.dialects.openllmetry import name_runs
from sidecar.enrich.facts import Kind
from tests import spans
from tests.enrich.views import facts, views


def test_openllmetry_calls_every_run_an_agent_but_only_one_with_an_agents_name_is() -> None:
    run: spans.Attributes = {
        "traceloop.span.kind": "workflow",
        "traceloop.entity.name": "r",
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "r",
    }
    plain = facts(run)
    agents = facts({**run, "traceloop.association.properties.lc_agent_name": "support"})
    assert (plain.kind, plain.agent_name) == (Kind.CHAIN, None)
    assert (agents.kind, agents.agent_name) == (Kind.AGENT, "support")


def test_a_run_of_langgraph_takes_its_agents_name_from_within() -> None:
    run = spans.span(
        name="invoke_agent nightly",
        span_id=b"1" * 8,
        attributes={
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "nightly",
            "gen_ai.workflow.nodes": ["model"],
            "traceloop.workflow.name": "nightly",
        },
    )
    inner = spans.span(
        span_id=b"2" * 8, parent=b"1" * 8, attributes={"traceloop.span.kind": "workflow", "traceloop.association.properties.lc_agent_name": "support"}
    )
    seen = [(each, read_facts(each)) for each in views(run, inner)]
    name_runs(seen)
    assert seen[0][1].agent_name == "support"


def test_crewai_over_openllmetry_speaks_of_tasks() -> None:
    found = facts(
        {"gen_ai.operation.name": "execute_task", "gen_ai.task.input": "do", "gen_ai.task.output": "done", "crewai.agent.role": "Writer"},
        scope="opentelemetry.instrumentation.crewai",
    )
    assert (found.kind, found.agent_name, found.dialect) == (Kind.CHAIN, "Writer", "openllmetry")
    assert found.input is not None
    assert not found.input.native

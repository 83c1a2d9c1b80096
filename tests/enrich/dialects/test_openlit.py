"""OpenLIT."""

from __future__ import annotations

from sidecar.enrich.facts import Kind, Usage
from tests import spans
from tests.enrich.views import facts


def test_openlit_leaves_cached_tokens_out_of_anthropics_input() -> None:
    attributes: dict[str, spans.Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.usage.input_tokens": 2000,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 500,
    }
    assert facts(attributes, scope="openlit.instrumentation.anthropic").usage == Usage(input=2000, output=10, cache_read=500)
    assert facts(attributes, scope="acme").usage == Usage(input=1500, output=10, cache_read=500)


def test_openlit_calls_the_inner_nodes_of_an_agent_agents() -> None:
    node = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "model", "gen_ai.agent.id": "model"}
    found = facts(node, scope="openlit.instrumentation.langgraph")
    assert (found.kind, found.agent_name, found.agent_id) == (Kind.CHAIN, None, None)


def test_a_first_token_of_openlit_only_counts_for_a_stream() -> None:
    call: dict[str, spans.Value] = {"gen_ai.operation.name": "chat", "gen_ai.server.time_to_first_token": 0.06}
    assert facts({**call, "gen_ai.request.stream": False}, scope="openlit.instrumentation.openai").time_to_first_token_s is None
    assert facts({**call, "gen_ai.request.stream": True}, scope="openlit.instrumentation.openai").time_to_first_token_s == 0.06


def test_a_failed_call_has_nothing_but_its_name() -> None:
    found = facts(scope="openlit.instrumentation.anthropic", name="chat claude-sonnet-4-5", error="RateLimitError: 429")
    assert (found.kind, found.is_call, found.model_requested) == (Kind.GENERATION, True, "claude-sonnet-4-5")


def test_a_ready_made_agent_is_a_workflow_with_the_agents_name() -> None:
    workflow: spans.Attributes = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "support"}
    assert facts(workflow, scope="openlit.instrumentation.langgraph").agent_name == "support"
    assert facts(workflow, scope="openlit.instrumentation.langchain").agent_name is None

"""Pydantic AI and Logfire."""

from __future__ import annotations

from sidecar.enrich.facts import Content, Kind
from tests import spans
from tests.enrich.views import facts

MESSAGES = '[{"role": "user", "content": "hi"}]'


def test_an_agents_run_before_version_1_is_an_agent_by_its_keys() -> None:
    found = facts(
        {"agent_name": "support", "model_name": "m", "all_messages_events": MESSAGES, "final_result": "done"}, scope="pydantic-ai", name="agent run"
    )
    assert (found.kind, found.agent_name, found.model_requested, found.is_call) == (Kind.AGENT, "support", "m", False)
    assert found.input == Content(MESSAGES, ("all_messages_events",))
    assert found.output == Content("done", ("final_result",))


def test_a_run_without_a_result_has_no_output() -> None:
    found = facts({"agent_name": "support", "all_messages_events": MESSAGES}, scope="pydantic-ai", name="agent run")
    assert (found.input, found.output) == (Content(MESSAGES, ("all_messages_events",)), None)


def test_events_without_a_choice_have_no_output() -> None:
    found = facts({"gen_ai.operation.name": "chat", "events": MESSAGES}, scope="pydantic-ai")
    assert (found.input, found.output) == (Content(MESSAGES, ("events",), native=True), None)


def test_aggregated_usage_of_an_agent_is_not_usage() -> None:
    attributes: spans.Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a", "gen_ai.aggregated_usage.input_tokens": 699}
    assert facts(attributes, scope="pydantic-ai").usage is None


def test_steps_that_run_tools_are_chains_and_the_tools_are_tools() -> None:
    assert facts({"tools": ["a", "b"], "logfire.msg": "running 2 tools"}, scope="pydantic-ai", name="running tools").kind is Kind.CHAIN
    assert facts({"gen_ai.tool.name": "a", "tool_arguments": "{}"}, scope="pydantic-ai", name="running tool").kind is Kind.TOOL


def test_logfire_logs_a_call_with_its_request_and_response() -> None:
    attributes: spans.Attributes = {
        "request_data": '{"model": "m"}',
        "response_data": '{"x": 1}',
        "gen_ai.system": "openai",
        "gen_ai.request.model": "m",
    }
    found = facts(attributes, scope="logfire.openai", name="Chat Completion with 'm'")
    assert (found.kind, found.input, found.output) == (
        Kind.GENERATION,
        Content('{"model": "m"}', ("request_data",)),
        Content('{"x": 1}', ("response_data",)),
    )

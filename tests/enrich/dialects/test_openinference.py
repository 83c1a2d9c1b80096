"""OpenInference: LangChain, CrewAI, agno, smolagents, LlamaIndex."""

from __future__ import annotations

import json

import pytest

from tests import spans
from tests.enrich.views import facts


def test_crewai_over_openinference_names_its_agents_by_role() -> None:
    found = facts(
        {"openinference.span.kind": "AGENT", "graph.node.id": "Senior Researcher"},
        scope="openinference.instrumentation.crewai",
        name="Agent._execute_core",
    )
    assert found.agent_name == "Senior Researcher"


def test_agno_over_openinference_has_a_hash_where_crewai_has_the_role() -> None:
    attributes = {"openinference.span.kind": "AGENT", "graph.node.id": "9f86d081884c7d659a2feaa0c55ad015", "graph.node.name": "Finance"}
    assert facts(attributes, scope="openinference.instrumentation.agno").agent_name == "Finance"


def test_smolagents_names_a_span_after_the_agents_class() -> None:
    found = facts(
        {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 900, "llm.token_count.completion": 80},
        scope="openinference.instrumentation.smolagents",
        name="CodeAgent.run",
    )
    assert (found.agent_name, found.is_call) == ("CodeAgent", False)


def test_langchain_over_openinference_hides_agent_session_and_user_in_metadata() -> None:
    metadata = json.dumps({"lc_agent_name": "support", "session_id": "s", "user_id": 7, "ls_provider": "openai", "nested": {"a": 1}})
    found = facts({"openinference.span.kind": "CHAIN", "metadata": metadata})
    assert (found.agent_name, found.session_id, found.user_id, found.provider) == ("support", "s", "7", "openai")


@pytest.mark.parametrize("metadata", ["not json", "[]", '{"lc_agent_name": 5, "session_id": true, "user_id": [1]}', '{"lc_agent_name": ""}', "null"])
def test_metadata_that_is_something_else_says_nothing(metadata: str) -> None:
    found = facts({"openinference.span.kind": "CHAIN", "metadata": metadata})
    assert (found.agent_name, found.session_id, found.user_id) == (None, None, None)


def test_openinference_gives_the_answering_model_and_keeps_the_asked_one_in_the_parameters() -> None:
    attributes: spans.Attributes = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o-2024-08-06",
        "llm.token_count.prompt": 5,
        "llm.invocation_parameters": '{"model": "gpt-4o", "user": "u-1"}',
    }
    found = facts(attributes)
    assert (found.model_requested, found.model_answered, found.user_id) == ("gpt-4o", "gpt-4o-2024-08-06", "u-1")


def test_llamaindex_calls_preparing_a_call_llm_too() -> None:
    assert not facts({"openinference.span.kind": "LLM", "llm.model_name": "m"}, name="OpenAI._prepare_chat_with_tools").is_call


def test_a_logged_stream_tells_when_its_first_token_came() -> None:
    event = spans.event("First Token Stream Event", time_ns=spans.START_NS + 250_000_000)
    assert facts({"openinference.span.kind": "LLM"}, events=[event]).time_to_first_token_s == 0.25

"""LangSmith."""

from __future__ import annotations

from sidecar.enrich.facts import Usage
from tests.enrich.views import facts


def test_langchains_own_tags_are_left_out() -> None:
    assert facts({"langsmith.span.kind": "chain", "langsmith.span.tags": "seq:step:1, prod, graph:step:2, prod"}).tags == ("prod",)


def test_token_details_stand_in_langchains_usage_metadata() -> None:
    usage = '{"input_tokens": 575, "output_tokens": 39, "input_token_details": {"cache_read": 500}, "output_token_details": {"reasoning": 30}}'
    found = facts(
        {"langsmith.span.kind": "llm", "gen_ai.usage.input_tokens": 575, "gen_ai.usage.output_tokens": 39, "langsmith.metadata.usage_metadata": usage}
    )
    assert found.usage == Usage(input=75, output=9, cache_read=500, reasoning=30)


def test_the_session_of_langsmith_is_a_project_and_no_session() -> None:
    found = facts({"langsmith.span.kind": "chain", "langsmith.trace.session_name": "my-project", "langsmith.metadata.thread_id": "t-1"})
    assert found.session_id == "t-1"


def test_a_tool_is_named_by_its_span_where_nothing_else_does() -> None:
    assert facts({"langsmith.span.kind": "tool"}, name="look").tool_name == "look"

"""The Langfuse SDKs."""

from __future__ import annotations

import json

import pytest

from sidecar.enrich.dialects import MAX_FIRST_TOKEN_S
from sidecar.enrich.facts import Usage
from tests import spans
from tests.enrich.views import facts


def test_usage_of_the_langfuse_sdk_is_disjoint_unless_its_total_says_otherwise() -> None:
    def usage(**details: int) -> Usage | None:
        return facts({"langfuse.observation.type": "generation", "langfuse.observation.usage_details": json.dumps(details)}).usage

    assert usage(input=1200, output=300, input_cached_tokens=512) == Usage(input=1200, output=300, cache_read=512)
    assert usage(input=1200, output=300, input_cached_tokens=512, total=1500) == Usage(input=688, output=300, cache_read=512)
    assert usage(input=10, output=5, output_reasoning_tokens=7, total=22) == Usage(input=10, output=5, reasoning=7)
    assert usage(prompt_tokens=10, completion_tokens=5, total_tokens=15) == Usage(input=10, output=5)


def test_an_explicit_cost_of_0_counts_when_tokens_were_used() -> None:
    attributes: dict[str, spans.Value] = {"langfuse.observation.type": "generation", "langfuse.observation.cost_details": '{"input": 0, "output": 0}'}
    assert facts(attributes).cost_usd is None
    assert facts({**attributes, "langfuse.observation.usage_details": '{"input": 5}'}).cost_usd == 0.0


@pytest.mark.parametrize("details", ["not json", "[1]", '"x"', '{"input": "many"}', "{" * 50_000, '{"input": {"a": {"b": {"c": {"d": {"e": 1}}}}}}'])
def test_details_that_are_something_else_are_no_usage_and_no_cost(details: str) -> None:
    found = facts(
        {"langfuse.observation.type": "generation", "langfuse.observation.usage_details": details, "langfuse.observation.cost_details": details}
    )
    assert (found.usage, found.cost_usd) == (None, None)


def test_prompts_are_named_by_name_and_version_or_not_at_all() -> None:
    name: spans.Attributes = {"langfuse.observation.prompt.name": "greeting"}
    assert facts(name).prompt_name is None
    found = facts({**name, "langfuse.observation.prompt.version": "3"})
    assert (found.prompt_name, found.prompt_version) == ("greeting", 3)


@pytest.mark.parametrize("text", ['"2026-11-19T00:00:00.5Z"', "not a time", "2026-11-19T00:00:00", "9999-12-31T23:59:59Z"])
def test_a_start_of_the_completion_is_a_full_time_after_the_spans_start(text: str) -> None:
    found = facts({"langfuse.observation.type": "generation", "langfuse.observation.completion_start_time": text}).time_to_first_token_s
    assert found is None or 0 < found <= MAX_FIRST_TOKEN_S

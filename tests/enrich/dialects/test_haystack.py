"""Haystack."""

from __future__ import annotations

import json

import pytest

from sidecar.enrich.facts import Kind, Usage
from tests.enrich.views import facts


def test_haystack_keeps_model_and_usage_in_the_outputs_json() -> None:
    output = json.dumps({"replies": [{"content": "x", "meta": {"model": "gpt-4o", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}}]})
    found = facts(
        {"haystack.component.type": "OpenAIChatGenerator", "haystack.component.output": output}, scope="haystack", name="haystack.component.run"
    )
    assert (found.kind, found.model_answered, found.usage) == (Kind.GENERATION, "gpt-4o", Usage(7, 2))


@pytest.mark.parametrize("output", ["not json", '{"replies": ["text"], "meta": [{"model": "m"}]}', '{"replies": null}', '{"replies": [{"meta": 5}]}'])
def test_other_outputs_of_haystack_do_no_harm(output: str) -> None:
    assert facts({"haystack.agent.step.llm.output": output}, scope="haystack", name="haystack.agent.step.llm").usage is None

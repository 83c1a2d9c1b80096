"""Google's Agent Development Kit."""

from __future__ import annotations

import json

from sidecar.enrich.facts import Kind, Usage
from tests import spans
from tests.enrich.views import facts


def test_adk_1_leaves_thoughts_out_of_the_output_but_not_out_of_the_answer() -> None:
    answer = json.dumps({"content": {}, "usage_metadata": {"thoughts_token_count": 64, "cached_content_token_count": 100}})
    attributes: spans.Attributes = {"gen_ai.usage.input_tokens": 129, "gen_ai.usage.output_tokens": 28, "gcp.vertex.agent.llm_response": answer}
    assert facts(attributes, scope="gcp.vertex.agent", name="call_llm").usage == Usage(input=29, output=28, cache_read=100, reasoning=64)


def test_adk_1_says_who_the_agent_is_in_the_spans_name_only() -> None:
    found = facts(scope="gcp.vertex.agent", name="agent_run [pricing agent]")
    assert (found.kind, found.agent_name) == (Kind.AGENT, "pricing agent")

"""LiteLLM."""

from __future__ import annotations

from sidecar.enrich.facts import Kind, Usage
from tests.enrich.views import facts


def test_litellm_writes_usage_and_metadata_as_python() -> None:
    found = facts(
        {
            "gen_ai.operation.name": "acompletion",
            "gen_ai.usage.input_tokens": 5002,
            "gen_ai.usage.output_tokens": 111,
            "metadata.usage_object": "{'completion_tokens': 111, 'prompt_tokens_details': {'cached_tokens': 2944, 'audio_tokens': None}}",
            "metadata.requester_metadata": "{'session_id': 's-1', 'user_id': 'u-1'}",
        },
        scope="litellm",
    )
    assert (found.usage, found.session_id, found.user_id) == (Usage(input=2058, output=111, cache_read=2944), "s-1", "u-1")


def test_the_raw_request_beneath_a_call_is_no_call() -> None:
    found = facts({"llm.openai.messages": "[{'role': 'user'}]", "llm.openai.model": "gpt-4o"}, scope="litellm", name="raw_gen_ai_request")
    assert (found.kind, found.is_call, found.usage) == (Kind.SPAN, False, None)


def test_a_request_to_the_proxy_is_infrastructure() -> None:
    assert facts({"http.url": "/v1/chat/completions"}, scope="litellm", name="Received Proxy Server Request").kind is Kind.INFRA


def test_the_callback_for_langfuse_says_what_openinference_says() -> None:
    found = facts(
        {"openinference.span.kind": "LLM", "langfuse.observation.type": "generation", "llm.cost.total": 0.5, "llm.token_count.prompt": 5},
        scope="litellm",
    )
    assert (found.kind, found.cost_usd, found.usage) == (Kind.GENERATION, 0.5, Usage(input=5))

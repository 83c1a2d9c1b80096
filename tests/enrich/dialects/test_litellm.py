"""LiteLLM."""

from __future__ import annotations

from sidecar.enrich.facts import Usage
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

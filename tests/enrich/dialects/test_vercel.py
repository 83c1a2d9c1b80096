"""The Vercel AI SDK."""

from __future__ import annotations

import pytest

from sidecar.enrich.facts import Kind, Usage
from tests import spans
from tests.enrich.views import facts


def test_the_vercel_sdk_names_a_prompt_in_its_metadata() -> None:
    found = facts(
        {"ai.operationId": "ai.generateText.doGenerate", "ai.telemetry.metadata.langfusePrompt": '{"name": "greeting", "version": 3}'}, scope="ai"
    )
    assert (found.prompt_name, found.prompt_version) == ("greeting", 3)


@pytest.mark.parametrize(
    ("operation", "kind", "is_call"),
    [
        ("ai.generateText", Kind.CHAIN, False),
        ("ai.streamObject.doStream", Kind.GENERATION, True),
        ("ai.embed.doEmbed", Kind.EMBEDDING, True),
        ("ai.toolCall", Kind.TOOL, False),
    ],
)
def test_only_the_inner_operations_of_the_vercel_sdk_are_calls(operation: str, kind: Kind, is_call: bool) -> None:
    found = facts({"ai.operationId": operation, "ai.usage.inputTokens": 5}, scope="ai")
    assert (found.kind, found.is_call) == (kind, is_call)


def test_before_version_6_the_vercel_sdk_passes_anthropics_input_on_as_it_is() -> None:
    attributes: dict[str, spans.Value] = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.provider": "anthropic.messages",
        "ai.usage.inputTokens": 2057,
        "ai.usage.outputTokens": 81,
        "ai.usage.cachedInputTokens": 1000,
    }
    exclusive = {**attributes, "ai.response.providerMetadata": '{"anthropic": {"usage": {"input_tokens": 2057}}}'}
    inclusive = {**attributes, "ai.response.providerMetadata": '{"anthropic": {"usage": {"input_tokens": 1057}}}'}
    assert facts(exclusive, scope="ai").usage == Usage(input=2057, output=81, cache_read=1000)
    assert facts(inclusive, scope="ai").usage == Usage(input=1057, output=81, cache_read=1000)

"""The dialect of a span: by scope, else by the keys that prove it."""

from __future__ import annotations

import pytest

from sidecar.enrich.dialects.detect import dialect_of


@pytest.mark.parametrize(
    ("scope", "keys", "name"),
    [
        ("langfuse-sdk", (), "langfuse-sdk"),
        ("acme", ("langfuse.observation.type",), "langfuse-sdk"),
        ("ai", ("langfuse.environment", "ai.operationId"), "vercel"),
        ("litellm", ("openinference.span.kind", "langfuse.observation.type"), "litellm-langfuse"),
        ("litellm", ("litellm.call_id", "gen_ai.system"), "litellm"),
        ("litellm", ("llm.openai.messages",), "litellm-raw"),
        ("litellm", (), "litellm-raw"),
        ("fastapi", ("metadata.user_api_key_hash",), "litellm"),
        ("openinference.instrumentation.new_framework", (), "openinference"),
        ("@arizeai/openinference-instrumentation-openai", (), "openinference"),
        ("acme", ("openinference.span.kind",), "openinference"),
        ("acme", ("input.value",), "openinference"),
        ("langsmith", (), "langsmith"),
        ("mlflow.tracing.provider", (), "mlflow"),
        ("gcp.vertex.agent", (), "adk"),
        ("strands.telemetry.tracer", (), "strands"),
        ("pydantic-ai", (), "pydantic-ai"),
        ("logfire.openai", (), "pydantic-ai"),
        ("haystack", (), "haystack"),
        ("autogen SingleThreadedAgentRuntime", (), "autogen"),
        ("semantic_kernel.functions.kernel_function", (), "semantic-kernel"),
        ("agent_framework", (), "semconv"),
        ("openlit.instrumentation.crewai", (), "openlit"),
        ("acme", ("gen_ai.client.token.usage",), "openlit"),
        ("opentelemetry.instrumentation.openai.v1", ("gen_ai.request.model",), "openllmetry"),
        ("opentelemetry.instrumentation.openai_v2", ("gen_ai.request.model",), "semconv"),
        ("opentelemetry.instrumentation.google_genai", ("gen_ai.request.model",), "semconv"),
        ("opentelemetry.instrumentation.google_generativeai", ("gen_ai.request.model",), "openllmetry"),
        ("@traceloop/instrumentation-openai", (), "openllmetry"),
        ("acme", ("gen_ai.prompt.0.role",), "openllmetry"),
        ("com.anthropic.sdk.python", ("gen_ai.operation.name",), "anthropic-sdk"),
        ("acme", ("gen_ai.operation.name",), "semconv"),
        ("opentelemetry.instrumentation.httpx", ("http.url",), "infra"),
        ("@opentelemetry/instrumentation-undici", (), "infra"),
        ("io.opentelemetry.kafka-clients-2.6", (), "infra"),
        ("acme.http", (), "plain"),
        ("", (), "plain"),
    ],
)
def test_a_scope_or_a_key_tells_the_dialect(scope: str, keys: tuple[str, ...], name: str) -> None:
    assert dialect_of(scope, keys).name == name

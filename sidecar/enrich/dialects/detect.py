"""Which dialect a span speaks, by its scope's name, else by keys that prove it. Pure.

Owns the order in which dialects are recognised: one trace often mixes several, so every span is asked for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sidecar.enrich.dialects import (
    adk,
    anthropic_sdk,
    autogen,
    haystack,
    infra,
    langfuse_sdk,
    langsmith,
    litellm,
    mlflow,
    openinference,
    openlit,
    openllmetry,
    pydantic_ai,
    semantic_kernel,
    semconv,
    strands,
    vercel,
)
from sidecar.enrich.dialects.dialect import Dialect

Keys = Collection[str]

_BY_SCOPE: dict[str, Dialect] = {
    "langfuse-sdk": langfuse_sdk.DIALECT,
    "langsmith": langsmith.DIALECT,
    "ai": vercel.DIALECT,
    "mlflow.tracing.provider": mlflow.DIALECT,
    "gcp.vertex.agent": adk.DIALECT,
    "strands.telemetry.tracer": strands.DIALECT,
    "pydantic-ai": pydantic_ai.DIALECT,
    "haystack": haystack.DIALECT,
    "autogen-core": autogen.DIALECT,
    "autogen SingleThreadedAgentRuntime": autogen.DIALECT,
    "agent_framework": semconv.DIALECT,
    "com.anthropic.sdk.python": anthropic_sdk.DIALECT,
    "traceloop.tracer": openllmetry.DIALECT,
    "opentelemetry.util.genai.handler": semconv.DIALECT,
    "opentelemetry.instrumentation.openai_v2": semconv.DIALECT,
    "opentelemetry.instrumentation.google_genai": semconv.DIALECT,
}
_BY_SCOPE_PREFIX: tuple[tuple[str, Dialect], ...] = (
    ("openinference.instrumentation.", openinference.DIALECT),
    ("@arizeai/openinference-", openinference.DIALECT),
    ("openlit.instrumentation.", openlit.DIALECT),
    ("openlit", openlit.DIALECT),
    ("logfire", pydantic_ai.DIALECT),
    ("langsmith", langsmith.DIALECT),
    ("mlflow", mlflow.DIALECT),
    ("semantic_kernel", semantic_kernel.DIALECT),
    ("autogen", autogen.DIALECT),
    ("@traceloop/", openllmetry.DIALECT),
    ("com.anthropic.sdk", anthropic_sdk.DIALECT),
)


def _any(*prefixes: str) -> Callable[[Keys], bool]:
    return lambda keys: any(key.startswith(prefixes) for key in keys)


_BY_KEYS: tuple[tuple[Callable[[Keys], bool], Dialect], ...] = (
    (_any("langfuse.observation.", "langfuse.trace."), langfuse_sdk.DIALECT),
    (lambda keys: "openinference.span.kind" in keys, openinference.DIALECT),
    (_any("litellm.", "metadata.user_api_key_", "hidden_params"), litellm.DIALECT),
    (_any("langsmith.span.", "langsmith.trace."), langsmith.DIALECT),
    (_any("ai.operationId"), vercel.DIALECT),
    (_any("mlflow.span"), mlflow.DIALECT),
    (_any("gcp.vertex.agent."), adk.DIALECT),
    (_any("event_loop.cycle_id", "gen_ai.event.start_time"), strands.DIALECT),
    (_any("logfire.", "model_request_parameters", "pydantic_ai."), pydantic_ai.DIALECT),
    (_any("haystack."), haystack.DIALECT),
    (_any("recipient_agent_type"), autogen.DIALECT),
    (lambda keys: "gen_ai.client.token.usage" in keys or "openlit.agent.version_hash" in keys, openlit.DIALECT),
    (_any("traceloop.", "llm.request.type", "gen_ai.prompt.", "gen_ai.completion.", "llm.usage.", "crewai."), openllmetry.DIALECT),
    (_any("llm.", "input.value", "output.value"), openinference.DIALECT),
    (_any("anthropic.usage."), anthropic_sdk.DIALECT),
    (_any("gen_ai."), semconv.DIALECT),
)


def dialect_of(scope: str, keys: Keys) -> Dialect:
    """The dialect of spans with this scope name and these keys; the first that fits."""
    if scope == "litellm" or scope.startswith("litellm."):
        return litellm.dialect_of(keys)
    found = _BY_SCOPE.get(scope)
    if found is None:
        found = next((dialect for prefix, dialect in _BY_SCOPE_PREFIX if scope.startswith(prefix)), None)
    if found is None:
        found = next((dialect for proves, dialect in _BY_KEYS if proves(keys)), None)
    if found is None:
        found = infra.dialect_of(scope)
    if found is semconv.DIALECT and scope.startswith("opentelemetry.instrumentation.") and not scope.endswith(("_v2", "google_genai", "vertexai_v2")):
        return openllmetry.DIALECT
    return found

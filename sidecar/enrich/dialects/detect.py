"""Which dialect a span speaks, by its scope's name, else by keys that prove it. Pure.

Owns the order in which dialects are recognised: one trace often mixes several, so every span is asked for itself.
"""

from __future__ import annotations

from collections.abc import Collection

from sidecar.enrich.dialects import (
    adk,
    anthropic_sdk,
    autogen,
    claude_code,
    genkit,
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
    servers,
    spring_ai,
    strands,
    vercel,
    voice,
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
    "genkit-tracer": genkit.DIALECT,
    "livekit-agents": voice.LIVEKIT,
    "pipecat": voice.PIPECAT,
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
    ("com.anthropic.claude_code", claude_code.DIALECT),
    ("pipecat.", voice.PIPECAT),
    ("pydantic-evals", pydantic_ai.DIALECT),
)


def _begins(*prefixes: str) -> tuple[str, ...]:
    return tuple(f"\n{prefix}" for prefix in prefixes)


def _is(*keys: str) -> tuple[str, ...]:
    return tuple(f"\n{key}\n" for key in keys)


_BY_KEYS: tuple[tuple[tuple[str, ...], Dialect], ...] = (
    (_begins("langfuse.observation.", "langfuse.trace."), langfuse_sdk.DIALECT),
    (_is("openinference.span.kind"), openinference.DIALECT),
    (_begins("litellm.", "metadata.user_api_key_", "hidden_params"), litellm.DIALECT),
    (_begins("langsmith.span.", "langsmith.trace."), langsmith.DIALECT),
    (_begins("ai.operationId"), vercel.DIALECT),
    (_begins("mlflow.span"), mlflow.DIALECT),
    (_begins("gcp.vertex.agent."), adk.DIALECT),
    (_begins("event_loop.cycle_id", "gen_ai.event.start_time"), strands.DIALECT),
    (_begins("logfire.", "model_request_parameters", "pydantic_ai."), pydantic_ai.DIALECT),
    (_begins("haystack."), haystack.DIALECT),
    (_begins("recipient_agent_type"), autogen.DIALECT),
    (_is("gen_ai.client.token.usage", "openlit.agent.version_hash"), openlit.DIALECT),
    (_begins("traceloop.", "llm.request.type", "gen_ai.prompt.", "gen_ai.completion.", "llm.usage.", "crewai."), openllmetry.DIALECT),
    (_begins("llm.", "input.value", "output.value"), openinference.DIALECT),
    (_begins("anthropic.usage."), anthropic_sdk.DIALECT),
    (_begins("spring.ai."), spring_ai.DIALECT),
    (_begins("genkit:"), genkit.DIALECT),
    (_begins("lk."), voice.LIVEKIT),
    (_begins("gen_ai.latency."), servers.DIALECT),
    (_begins("gen_ai."), semconv.DIALECT),
)
"""Proofs as they stand in all keys with a line break around each: one search in C instead of one question a key."""
_PROOFS = tuple((proof, dialect) for proofs, dialect in _BY_KEYS for proof in proofs)


def dialect_of(scope: str, keys: Keys) -> Dialect:
    """The dialect of spans with this scope name and these keys; the first that fits."""
    if scope == "litellm" or scope.startswith("litellm."):
        return litellm.dialect_of(keys)
    found = _BY_SCOPE.get(scope)
    if found is None:
        found = next((dialect for prefix, dialect in _BY_SCOPE_PREFIX if scope.startswith(prefix)), None)
    if found is None:
        lines = "\n".join(("", *keys, ""))
        found = next((dialect for proof, dialect in _PROOFS if proof in lines), None)
    if found is None:
        found = infra.dialect_of(scope)
    if found is semconv.DIALECT and scope.startswith("opentelemetry.instrumentation.") and not scope.endswith(("_v2", "google_genai", "vertexai_v2")):
        return openllmetry.DIALECT
    return found

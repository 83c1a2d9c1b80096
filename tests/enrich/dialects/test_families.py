"""Families of instrumentations with rules of their own that no capture is of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.dialects import read_facts
from tests import spans
from tests.enrich.dialects.unseen import Case, check, ids, used
from tests.enrich.views import views

VOICE = [
    Case(
        "livekit-agents",
        "llm_request",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.provider.name": "openai",
            **used(500, 60),
            "lk.llm_metrics": '{"ttft":0.3,"prompt_tokens":500,"prompt_cached_tokens":300,"completion_tokens":60,"total_tokens":560}',
            "lk.pii.chat_ctx": '{"items":[]}x',
            "lk.pii.response.text": "yo",
        },
        "generation CALL | gpt-4o @ openai | i200 o60 r300 | 13 lk.pii.chat_ctx > 2 lk.pii.response.text | livekit",
    ),
    Case(
        "livekit-agents",
        "llm_node",
        {"gen_ai.request.model": "gpt-4o", "lk.pii.chat_ctx": "x", "lk.pii.response.text": "y", "lk.response.ttft": 0.4},
        "chain | gpt-4o | 1 lk.pii.chat_ctx > 1 lk.pii.response.text | livekit",
    ),
    Case(
        "livekit-agents",
        "agent_turn",
        {"lk.generation_id": "x", "lk.pii.user_input": "q", "lk.pii.instructions": "i", "lk.agent_name": "Bob"},
        "agent | 1 lk.pii.user_input > - | agent Bob | livekit",
    ),
    Case(
        "livekit-agents",
        "function_tool",
        {
            "lk.function_tool.name": "lookup",
            "lk.function_tool.id": "call1",
            "lk.pii.function_tool.arguments": "{}x",
            "lk.pii.function_tool.output": "err",
            "lk.function_tool.is_error": True,
        },
        "tool | 3 lk.pii.function_tool.arguments > 3 lk.pii.function_tool.output | tool lookup | ERROR other: tool_error:  | livekit",
    ),
    Case(
        "livekit-agents",
        "tts_request",
        {"lk.tts_metrics": "{}", "gen_ai.request.model": "sonic", "lk.pii.input_text": "hi"},
        "generation CALL | sonic | 2 lk.pii.input_text > - | livekit",
    ),
    Case(
        "pipecat",
        "llm",
        {
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.operation.name": "chat",
            "input": "[m]",
            "output": "a",
            "metrics.ttfb": 0.4,
            **used(5, 6),
            "gen_ai.usage.cache_read_input_tokens": 2,
        },
        "generation CALL | gpt-4o @ openai | i3 o6 r2 | 3* input > 1* output | first_token 0.4000 | pipecat",
    ),
    Case(
        "pipecat",
        "tts",
        {
            "gen_ai.provider.name": "cartesia",
            "gen_ai.request.model": "sonic",
            "gen_ai.operation.name": "tts",
            "text": "hello",
            "metrics.character_count": 5,
        },
        "generation CALL | sonic @ cartesia | 5 text > - | pipecat",
    ),
    Case(
        "pipecat",
        "stt",
        {"gen_ai.provider.name": "deepgram", "gen_ai.request.model": "nova", "gen_ai.operation.name": "stt", "transcript": "hello"},
        "generation CALL | nova @ deepgram | - > 5 transcript | pipecat",
    ),
    Case(
        "pipecat",
        "llm_setup",
        {"gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "gemini-live", "gen_ai.operation.name": "llm_setup"},
        "span | gemini-live @ gcp.gemini | pipecat",
    ),
    Case("pipecat", "turn", {"turn.number": 1, "conversation.id": "c1", "turn.was_interrupted": False}, "chain | session c1 | pipecat"),
    Case(
        "pipecat",
        "lookup",
        {"tool.function_name": "lookup", "tool.call_id": "c", "tool.arguments": "{}x", "tool.result": "r", "tool.result_status": "error"},
        "tool | 3 tool.arguments > 1 tool.result | tool lookup | ERROR other: tool_error:  | pipecat",
    ),
]


JAVA_AND_GOOGLE = [
    Case(
        "genkit-tracer",
        "googleai/gemini-2.5-flash",
        {
            "genkit:name": "googleai/gemini-2.5-flash",
            "genkit:type": "action",
            "genkit:metadata:subtype": "model",
            "genkit:input": '{"messages":[{"role":"user","content":[{"text":"hi"}]}]}',
            "genkit:output": '{"message":{"role":"model","content":[{"text":"yo"}]},"usage":{"inputTokens":8,"outputTokens":4,"totalTokens":15,"thoughtsTokens":3,"cachedContentTokens":2}}',
            "genkit:state": "success",
            "genkit:isRoot": False,
        },
        "generation CALL | gemini-2.5-flash @ googleai | i6 o4 r2 t3 | 56* genkit:input > 157* genkit:output | genkit",
    ),
    Case(
        "genkit-tracer",
        "menuFlow",
        {
            "genkit:name": "menuFlow",
            "genkit:type": "action",
            "genkit:metadata:subtype": "flow",
            "genkit:input": '"x"',
            "genkit:output": '"y"',
            "genkit:isRoot": True,
            "genkit:state": "error",
        },
        "chain | 3* genkit:input > 3* genkit:output | ERROR other: error:  | genkit",
    ),
    Case(
        "genkit-tracer",
        "generate",
        {"genkit:name": "generate", "genkit:type": "util", "genkit:input": "{}x", "genkit:output": '"y"'},
        "chain | 3* genkit:input > 3* genkit:output | genkit",
    ),
    Case(
        "genkit-tracer",
        "t",
        {"genkit:name": "t", "genkit:type": "action", "genkit:metadata:subtype": "tool.v2", "genkit:input": '{"a":1}', "genkit:output": '"y"'},
        "tool | 7* genkit:input > 3* genkit:output | tool t | genkit",
    ),
    Case(
        "org.springframework.boot",
        "chat gpt-4o",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o-2024-08-06",
            "gen_ai.usage.input_tokens": "5",
            "gen_ai.usage.output_tokens": "6",
            "gen_ai.usage.total_tokens": "11",
            "gen_ai.response.finish_reasons": '["STOP"]',
        },
        "generation CALL | gpt-4o > gpt-4o-2024-08-06 @ openai | i5 o6 | semconv",
    ),
    Case(
        "org.springframework.boot",
        "spring_ai chat_client",
        {
            "gen_ai.operation.name": "framework",
            "gen_ai.system": "spring_ai",
            "spring.ai.kind": "chat_client",
            "spring.ai.chat.client.stream": "false",
            "spring.ai.chat.client.conversation.id": "c7",
            "gen_ai.prompt": "hi",
        },
        "chain | 2* gen_ai.prompt > - | session c7 | spring-ai",
    ),
    Case(
        "org.springframework.boot",
        "tool_call weather",
        {
            "gen_ai.operation.name": "framework",
            "gen_ai.system": "spring_ai",
            "spring.ai.kind": "tool_call",
            "spring.ai.tool.definition.name": "weather",
            "spring.ai.tool.call.id": "call_9",
            "spring.ai.tool.call.arguments": "{}x",
            "spring.ai.tool.call.result": "ok",
        },
        "tool | 3 spring.ai.tool.call.arguments > 2 spring.ai.tool.call.result | tool weather | spring-ai",
    ),
    Case(
        "org.springframework.boot",
        "pg_vector query",
        {
            "db.operation.name": "query",
            "db.system": "pg_vector",
            "spring.ai.kind": "vector_store",
            "db.vector.query.content": "q",
            "db.vector.query.response.documents": "[d]",
        },
        "retriever | 1 db.vector.query.content > 3 db.vector.query.response.documents | spring-ai",
    ),
    Case(
        "org.springframework.boot",
        "pg_vector add",
        {"db.operation.name": "add", "db.system": "pg_vector", "spring.ai.kind": "vector_store"},
        "infra | spring-ai",
    ),
    Case(
        "org.springframework.boot",
        "advisor",
        {"gen_ai.operation.name": "framework", "gen_ai.system": "spring_ai", "spring.ai.kind": "advisor", "spring.ai.advisor.name": "x"},
        "chain | spring-ai",
    ),
    Case(
        "io.quarkus.opentelemetry",
        "completion gpt-4o",
        {
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o",
            "gen_ai.usage.prompt_tokens": 5,
            "gen_ai.usage.completion_tokens": 7,
            "gen_ai.client.estimated_cost": "0.003 USD",
        },
        "generation CALL | gpt-4o | i5 o7 | semconv",
    ),
    Case("io.quarkus.opentelemetry", "langchain4j.tools.weather", {"langchain4j.tools.name": "x"}, "tool | tool weather | plain"),
]


RUNTIMES = [
    Case(
        "vllm.llm_engine",
        "llm_request",
        {
            "gen_ai.request.id": "cmpl-1",
            "gen_ai.usage.prompt_tokens": 5,
            "gen_ai.usage.completion_tokens": 7,
            "gen_ai.latency.time_to_first_token": 0.1,
            "gen_ai.latency.e2e": 1.0,
            "gen_ai.usage.num_sequences": 1,
        },
        "generation CALL | i5 o7 | first_token 0.1000 | inference-server",
    ),
    Case(
        "vllm.llm_engine",
        "llm_request",
        {
            "gen_ai.response.model": "llama",
            "gen_ai.request.id": "cmpl-1",
            "gen_ai.usage.prompt_tokens": 5,
            "gen_ai.usage.completion_tokens": 7,
            "gen_ai.latency.time_to_first_token": 0.1,
        },
        "generation CALL | > llama | i5 o7 | first_token 0.1000 | inference-server",
    ),
    Case(
        "com.anthropic.claude_code.tracing",
        "claude_code.interaction",
        {"span.type": "interaction", "user_prompt": "fix it", "session.id": "s", "interaction.sequence": 1},
        "agent | 6 user_prompt > - | agent claude-code | session s | claude-code",
    ),
    Case(
        "com.anthropic.claude_code.tracing",
        "claude_code.llm_request",
        {
            "span.type": "llm_request",
            "model": "claude-opus-4-5",
            "gen_ai.system": "anthropic",
            "gen_ai.request.model": "claude-opus-4-5",
            "input_tokens": 2,
            "output_tokens": 1200,
            "cache_read_tokens": 84562,
            "cache_creation_tokens": 7096,
            "success": True,
            "ttft_ms": 900,
            "new_context": "q",
            "response.model_output": "a",
        },
        "generation CALL | claude-opus-4-5 @ anthropic | i2 o1200 r84562 w7096 | 1 new_context > 1 response.model_output | first_token 0.9000 | claude-code",
    ),
    Case(
        "com.anthropic.claude_code.tracing",
        "claude_code.tool",
        {"span.type": "tool", "tool_name": "Bash", "tool_use_id": "t1", "gen_ai.tool.call.id": "t1", "tool_input": "ls"},
        "tool | 2 tool_input > - | tool Bash | claude-code",
    ),
    Case(
        "com.anthropic.claude_code.tracing",
        "claude_code.tool.execution",
        {"span.type": "tool.execution", "success": False, "error": "boom"},
        "span | ERROR other: error: boom | claude-code",
    ),
    Case(
        "com.anthropic.claude-platform",
        "messages",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.response.model": "claude-opus-4-5",
            "gen_ai.response.id": "msg_0123456789",
            **used(100, 10),
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.cache_write.input_tokens": 10,
        },
        "generation CALL | > claude-opus-4-5 @ anthropic | i50 o10 r40 w10 | semconv",
    ),
]


@pytest.mark.parametrize("case", VOICE, ids=ids(VOICE))
def test_voice_agents_are_read(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", JAVA_AND_GOOGLE, ids=ids(JAVA_AND_GOOGLE))
def test_spring_ai_langchain4j_and_genkit_are_read(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", RUNTIMES, ids=ids(RUNTIMES))
def test_claude_code_and_inference_servers_are_read(case: Case) -> None:
    check(case)


_CASES = (*VOICE, *JAVA_AND_GOOGLE, *RUNTIMES)
_SCOPES = sorted({case.scope for case in _CASES})
_KEYS = sorted({key for case in _CASES for key in case.attributes})
_VALUES = (
    st.text(max_size=9)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.booleans()
    | st.sampled_from(
        [
            "error",
            "429",
            "vector_store",
            "model",
            '{"usage":{"inputTokens":1e400,"outputTokens":-1.5}}',
            '{"usage":1}',
            '{"prompt_cached_tokens":"x"}',
            "tool",
        ]
    )
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_SCOPES), st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=12))
def test_whatever_the_values_are_reading_raises_nothing(scope: str, attributes: dict[str, spans.Value]) -> None:
    (view,) = views(spans.span(attributes=attributes), scope=scope)
    usage = read_facts(view).usage
    assert usage is None or min(getattr(usage, name) for name in usage.__struct_fields__) >= 0

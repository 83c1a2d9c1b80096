"""Frameworks and platforms with keys of their own that no capture is of."""

from __future__ import annotations

import pytest

from tests.enrich.dialects.unseen import MESSAGES, SAID, Case, check, ids, used

FRAMEWORKS = [
    Case(
        "@mastra/otel-exporter",
        "invoke_agent weather",
        {
            "gen_ai.operation.name": "invoke_agent",
            "mastra.span.type": "agent_run",
            "mastra.agent_run.input": '[{"role":"user"}]',
            "mastra.agent_run.output": '{"text":"x"}',
            "gen_ai.agent.name": "weather",
            "gen_ai.agent.id": "weather-agent",
            "gen_ai.system_instructions": "be",
            "gen_ai.conversation.id": "th1",
        },
        "agent | 17 mastra.agent_run.input > 12 mastra.agent_run.output | agent weather | session th1 | agent_id weather-agent | semconv",
    ),
    Case(
        "@mastra/otel-exporter",
        "chat gpt-4o",
        {
            "gen_ai.operation.name": "chat",
            "mastra.span.type": "model_generation",
            **SAID,
            "gen_ai.request.model": "gpt-4o",
            **used(50, 6),
            "gen_ai.usage.cache_read.input_tokens": 10,
            "gen_ai.usage.reasoning_tokens": 2,
            "gen_ai.usage.audio_input_tokens": 5,
            "mastra.completion_start_time": "2026-11-18T10:26:40.500Z",
        },
        "generation CALL | gpt-4o | i35 o4 r10 t2 a5 | 58* gen_ai.input.messages > 86* gen_ai.output.messages | semconv",
    ),
    Case(
        "@mastra/otel-exporter",
        "model_step x",
        {"gen_ai.operation.name": "model_step", "mastra.span.type": "model_step", "mastra.model_step.input": "{}a", "mastra.model_step.output": "b"},
        "chain | 3 mastra.model_step.input > 1 mastra.model_step.output | semconv",
    ),
    Case(
        "@mastra/otel-exporter",
        "step",
        {
            "gen_ai.operation.name": "workflow_step",
            "mastra.span.type": "workflow_step",
            "mastra.workflow_step.input": "{}a",
            "mastra.workflow_step.output": "b",
        },
        "chain | 3 mastra.workflow_step.input > 1 mastra.workflow_step.output | semconv",
    ),
    Case(
        "logfire.openai_agents",
        "Agent run: 'Triage'",
        {
            "logfire.msg_template": "Agent run: {name!r}",
            "logfire.msg": "Agent run: 'Triage'",
            "name": "Triage",
            "tools": '["a"]',
            "logfire.span_type": "span",
        },
        "agent | agent Triage | pydantic-ai",
    ),
    Case(
        "logfire.openai_agents",
        "Responses API",
        {
            "logfire.msg_template": "Responses API with {gen_ai.request.model!r}",
            "logfire.msg": "Responses API with 'gpt-4o'",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o-2024",
            "gen_ai.system": "openai",
            **used(9, 3),
            "events": '[{"event.name":"gen_ai.user.message","content":"q","role":"user"},{"event.name":"gen_ai.choice","message":{"content":"a"}}]',
            "raw_input": "[]",
        },
        "generation CALL | gpt-4o > gpt-4o-2024 @ openai | i9 o3 | 123* events > 123* events | pydantic-ai",
    ),
    Case(
        "logfire.openai_agents",
        "OpenAI Agents trace: {name}",
        {
            "logfire.msg_template": "OpenAI Agents trace: {name}",
            "logfire.msg": "OpenAI Agents trace: Agent workflow",
            "name": "Agent workflow",
            "agent_trace_id": "trace_1",
        },
        "chain | pydantic-ai",
    ),
    Case(
        "logfire.openai_agents",
        "Turn 1 for agent planner",
        {
            "logfire.msg_template": "Turn {turn} for agent planner",
            "logfire.msg": "Turn 1 for agent planner",
            "type": "custom",
            "name": "turn",
            "gen_ai.system": "openai",
            "sdk_span_type": "turn",
            "agent_name": "planner",
            "usage": '{"input_tokens":224}',
        },
        "chain | @ openai | agent planner | pydantic-ai",
    ),
    Case(
        "logfire.openai_agents",
        "Function",
        {"logfire.msg_template": "Function: {name}", "logfire.msg": "Function: lookup", "name": "lookup", "input": "{}x", "output": "ok"},
        "tool | 3* input > 2* output | tool lookup | pydantic-ai",
    ),
    Case(
        "logfire.openai_agents",
        "Guardrail",
        {"logfire.msg_template": "Guardrail {name!r} {triggered=}", "name": "g", "triggered": False},
        "guardrail | pydantic-ai",
    ),
    Case(
        "autogen.opentelemetry",
        "conversation x",
        {
            "ag2.span.type": "conversation",
            "gen_ai.operation.name": "conversation",
            "gen_ai.usage.cost": 0.3,
            "gen_ai.conversation.id": "c",
            "gen_ai.input.messages": MESSAGES,
        },
        "chain | $0.3 | 58* gen_ai.input.messages > - | session c | autogen",
    ),
    Case(
        "autogen.opentelemetry",
        "chat gpt-4o",
        {"ag2.span.type": "llm", "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", **used(5, 6), "gen_ai.usage.cost": 0.3},
        "generation CALL | gpt-4o | i5 o6 | $0.3 | autogen",
    ),
    Case(
        "autogen.opentelemetry",
        "speaker_selection",
        {"ag2.span.type": "speaker_selection", "gen_ai.operation.name": "speaker_selection"},
        "chain | autogen",
    ),
    Case("autogen.opentelemetry", "execute_code", {"ag2.span.type": "code_execution", "gen_ai.operation.name": "code_execution"}, "tool | autogen"),
    Case(
        "strands.telemetry.tracer",
        "execute_tool x",
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "x", "gen_ai.tool.status": "error"},
        "tool | tool x | ERROR other: tool_error:  | strands",
    ),
    Case("pydantic-evals", "evaluate x", {"logfire.msg_template": "evaluate {name}", "name": "x"}, "chain | pydantic-ai"),
    Case(
        "pydantic-evals",
        "evaluator: Judge",
        {"logfire.msg_template": "evaluator: {evaluator_name}", "evaluator_name": "Judge"},
        "evaluator | pydantic-ai",
    ),
]


PLATFORMS = [
    Case(
        "dify",
        "llm",
        {
            "gen_ai.span.kind": "LLM",
            "gen_ai.session.id": "s",
            "gen_ai.user.id": "u",
            "gen_ai.framework": "dify",
            "gen_ai.request.model": "qwen",
            "gen_ai.provider.name": "tongyi",
            "gen_ai.usage.input_tokens": "4",
            "gen_ai.usage.output_tokens": "5",
            "gen_ai.prompt": "p",
            "gen_ai.completion": "c",
            "input.value": "i",
            "output.value": "o",
        },
        "generation CALL | > qwen @ tongyi | i4 o5 | 1* input.value > 1* output.value | user u | session s | openinference",
    ),
    Case(
        "dify",
        "retr",
        {"gen_ai.span.kind": "RETRIEVER", "retrieval.query": "q", "retrieval.document": "[d]"},
        "retriever | 1 retrieval.query > 3 retrieval.document | semconv",
    ),
    Case("x", "entry", {"gen_ai.span.kind": "ENTRY"}, "chain | semconv"),
    Case(
        "lmnr",
        "openai.chat",
        {
            "lmnr.span.type": "LLM",
            "gen_ai.request.model": "gpt-4o",
            **used(5, 6),
            "lmnr.association.properties.session_id": "s",
            "lmnr.association.properties.user_id": "u",
        },
        "generation CALL | gpt-4o | i5 o6 | user u | session s | semconv",
    ),
    Case(
        "lmnr",
        "step",
        {"lmnr.span.type": "DEFAULT", "lmnr.span.input": "i", "lmnr.span.output": "o"},
        "span | 1 lmnr.span.input > 1 lmnr.span.output | plain",
    ),
    Case(
        "lmnr",
        "t",
        {"lmnr.span.type": "TOOL", "lmnr.span.input": "i", "lmnr.span.output": "o"},
        "tool | 1 lmnr.span.input > 1 lmnr.span.output | plain",
    ),
    Case(
        "langwatch",
        "llm",
        {
            "langwatch.span.type": "llm",
            "gen_ai.request.model": "gpt-4o",
            "langwatch.input": "i",
            "langwatch.output": "o",
            "langwatch.user.id": "u",
            "langwatch.thread.id": "t",
        },
        "generation CALL | gpt-4o | 1 langwatch.input > 1 langwatch.output | user u | session t | semconv",
    ),
    Case(
        "agentops",
        "a",
        {"agentops.span.kind": "agent", "agent.name": "x", "agentops.entity.input": "i", "agentops.entity.output": "o"},
        "agent | 1 agentops.entity.input > 1 agentops.entity.output | agent x | plain",
    ),
    Case(
        "mirascope",
        "f",
        {"mirascope.type": "trace", "mirascope.trace.output": "x", "mirascope.trace.arg_values": "{}x"},
        "span | 3 mirascope.trace.arg_values > 1 mirascope.trace.output | plain",
    ),
]


@pytest.mark.parametrize("case", FRAMEWORKS, ids=ids(FRAMEWORKS))
def test_frameworks_with_keys_of_their_own_are_read(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", PLATFORMS, ids=ids(PLATFORMS))
def test_the_sdks_of_platforms_are_read(case: Case) -> None:
    check(case)

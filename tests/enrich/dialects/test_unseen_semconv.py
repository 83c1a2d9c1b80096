"""Spans by the GenAI conventions, of frameworks that no capture is of: read from keys, not from frameworks' names."""

from __future__ import annotations

import pytest

from tests import spans
from tests.enrich.dialects.unseen import SAID, Case, check, ids, used

SEMCONV = [
    Case(
        "acme",
        "chat gemini-2.5-pro",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "gcp.gemini",
            "gen_ai.request.model": "gemini-2.5-pro",
            **used(100, 50),
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.reasoning.output_tokens": 20,
            **SAID,
            "gen_ai.system_instructions": '[{"type":"text","content":"be nice"}]',
            "gen_ai.conversation.id": "c1",
            "gen_ai.response.time_to_first_chunk": 0.2,
        },
        "generation CALL | gemini-2.5-pro @ gcp.gemini | i60 o30 r40 t20 | 58* gen_ai.input.messages+1 > 86* gen_ai.output.messages | session c1 | first_token 0.2000 | semconv",
    ),
    Case(
        "acme",
        "chat gpt",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}],
            "gen_ai.output.messages": [{"role": "assistant", "parts": []}],
        },
        "generation CALL | gpt-4o | 58 gen_ai.input.messages > 33 gen_ai.output.messages | semconv",
    ),
    Case(
        "acme",
        "chat",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o-audio",
            **used(100, 50),
            "gen_ai.usage.audio.input_tokens": 60,
            "gen_ai.usage.text.input_tokens": 40,
            "gen_ai.usage.audio.output_tokens": 30,
        },
        "generation CALL | gpt-4o-audio | i40 o20 a60 A30 | semconv",
    ),
    Case(
        "acme",
        "fetch_response",
        {
            "gen_ai.operation.name": "fetch_response",
            "gen_ai.provider.name": "openai",
            "gen_ai.response.model": "gpt-4o",
            "gen_ai.response.id": "resp_123456789",
        },
        "span | > gpt-4o @ openai | semconv",
    ),
    Case(
        "acme",
        "search_memory",
        {"gen_ai.operation.name": "search_memory", "gen_ai.memory.query.text": "q", "gen_ai.memory.records": '[{"id":1}]'},
        "retriever | 1 gen_ai.memory.query.text > 10 gen_ai.memory.records | semconv",
    ),
    Case(
        "mcp",
        "tools/call get_weather",
        {
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "get_weather",
            "gen_ai.operation.name": "execute_tool",
            "mcp.session.id": "s",
            "network.transport": "tcp",
            "gen_ai.tool.call.arguments": "{}",
            "gen_ai.tool.call.result": "ok",
        },
        "tool | - > 2* gen_ai.tool.call.result | tool get_weather | semconv",
    ),
    Case(
        "mcp",
        "tools/call get_weather",
        {"mcp.method.name": "tools/call", "mcp.tool.name": "get_weather", "rpc.system": "jsonrpc"},
        "tool | tool get_weather | plain",
    ),
    Case(
        "agent_framework",
        "invoke_agent x",
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "x", **used(5, 6)},
        "agent | i5 o6 | agent x | semconv",
    ),
    Case(
        "azure.ai.agents",
        "create_thread",
        {
            "gen_ai.system": "az.ai.agents",
            "gen_ai.operation.name": "create_thread",
            "gen_ai.thread.id": "t1",
            "az.namespace": "Microsoft.CognitiveServices",
            "server.address": "x",
        },
        "span | session t1 | semconv",
    ),
    Case(
        "azure.ai.agents",
        "start_thread_run",
        {
            "gen_ai.system": "az.ai.agents",
            "gen_ai.operation.name": "start_thread_run",
            "gen_ai.thread.id": "t1",
            "gen_ai.response.model": "gpt-4o",
            "gen_ai.agent.id": "asst_abc",
        },
        "span | > gpt-4o | session t1 | agent_id asst_abc | semconv",
    ),
    Case(
        "azure.ai.agents",
        "process_thread_run",
        {
            "gen_ai.system": "az.ai.agents",
            "gen_ai.operation.name": "process_thread_run",
            "gen_ai.thread.id": "t1",
            "gen_ai.response.model": "gpt-4o",
            **used(5, 6),
        },
        "generation CALL | > gpt-4o | i5 o6 | session t1 | semconv",
    ),
    Case(
        "openrouter",
        "chat",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "openai/gpt-4o",
            **used(5, 6),
            "gen_ai.usage.total_cost": 0.02,
            "gen_ai.usage.input_tokens.cached": 2,
            "user.id": "u",
            "trace.name": "tn",
        },
        "generation CALL | openai/gpt-4o | i3 o6 r2 | $0.02 | user u | semconv",
    ),
    Case("Experimental.Microsoft.Extensions.AI", "orchestrate_tools", {"gen_ai.operation.name": "orchestrate_tools"}, "chain | semconv"),
    Case("nemo_guardrails", "guardrails.request", {"gen_ai.operation.name": "guardrails", "span.kind": "server"}, "guardrail | semconv"),
    Case(
        "acme",
        "plan x",
        {
            "gen_ai.operation.name": "plan",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.agent.name": "pl",
            "gen_ai.data_source.id": "d",
            "gen_ai.retrieval.query.text": "q",
            "gen_ai.retrieval.documents": '[{"id":"1","score":0.3}]',
        },
        "chain | gpt-4o | 1 gen_ai.retrieval.query.text > 24 gen_ai.retrieval.documents | agent pl | semconv",
    ),
    Case(
        "acme",
        "create_memory x",
        {
            "gen_ai.operation.name": "create_memory",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.agent.name": "pl",
            "gen_ai.data_source.id": "d",
            "gen_ai.retrieval.query.text": "q",
            "gen_ai.retrieval.documents": '[{"id":"1","score":0.3}]',
        },
        "span | gpt-4o | 1 gen_ai.retrieval.query.text > 24 gen_ai.retrieval.documents | agent pl | semconv",
    ),
    Case(
        "acme",
        "evaluate x",
        {
            "gen_ai.operation.name": "evaluate",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.agent.name": "pl",
            "gen_ai.data_source.id": "d",
            "gen_ai.retrieval.query.text": "q",
            "gen_ai.retrieval.documents": '[{"id":"1","score":0.3}]',
        },
        "evaluator | gpt-4o | 1 gen_ai.retrieval.query.text > 24 gen_ai.retrieval.documents | agent pl | semconv",
    ),
    Case(
        "azure.ai.inference",
        "chat gpt-4o",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "az.ai.inference",
            "gen_ai.request.model": "gpt-4o",
            "az.namespace": "Microsoft.CognitiveServices",
            **used(5, 6),
        },
        "generation CALL | gpt-4o @ az.ai.inference | i5 o6 | 32 event:gen_ai.user.message > 28 event:gen_ai.choice | semconv",
        events=[
            spans.event("gen_ai.user.message", {"gen_ai.system": "az.ai.inference", "gen_ai.event.content": '{"role":"user","content":"hi"}'}),
            spans.event("gen_ai.choice", {"gen_ai.system": "az.ai.inference", "gen_ai.event.content": '{"message":{"content":"yo"}}'}),
        ],
    ),
    Case(
        "acme",
        "chat gpt-4o",
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "error.type": "429"},
        "generation CALL | gpt-4o | ERROR rate_limit: 429:  | semconv",
    ),
    Case(
        "mcp",
        "tools/call x",
        {"mcp.method.name": "tools/call", "gen_ai.tool.name": "x", "error.type": "tool_error"},
        "tool | tool x | ERROR other: tool_error:  | semconv",
    ),
    Case(
        "acme",
        "relevance",
        {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.8, "gen_ai.evaluation.score.label": "ok"},
        "evaluator | semconv",
    ),
    Case("acme", "invoke_agent planner", {"gen_ai.agent.name": "planner"}, "agent | agent planner | semconv"),
    Case(
        "acme", "text_to_speech", {"gen_ai.operation.name": "generate_speech", "gen_ai.request.model": "tts-1"}, "generation CALL | tts-1 | semconv"
    ),
    Case(
        "acme",
        "retrieve kb",
        {"gen_ai.operation.name": "retrieval", "aws.bedrock.knowledge_base.id": "k", "gen_ai.retrieval.query.text": "q"},
        "retriever | 1 gen_ai.retrieval.query.text > - | semconv",
    ),
    Case(
        "gcp.vertex.agent",
        "invoke_agent root",
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "root", "gen_ai.conversation.id": "s"},
        "agent | agent root | session s | adk",
    ),
    Case(
        "acme",
        "chat",
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "o3", **used(100, 220), "gen_ai.usage.reasoning.output_tokens": 192},
        "generation CALL | o3 | i100 o28 t192 | semconv",
    ),
    Case(
        "agentgateway",
        "POST /v1",
        {"http.method": "POST", "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", **used(5, 6)},
        "generation CALL | gpt-4o @ openai | i5 o6 | semconv",
    ),
    Case(
        "acme",
        "response",
        {"gen_ai.operation.name": "realtime", "gen_ai.request.model": "gpt-realtime", **used(50, 60)},
        "generation CALL | gpt-realtime | i50 o60 | semconv",
    ),
    Case(
        "acme",
        "chat gpt-4o",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            **used(5, 6),
            **SAID,
            "gen_ai.prompt.name": "greet",
            "gen_ai.prompt.variable.x": "1",
        },
        "generation CALL | gpt-4o | i5 o6 | 58 gen_ai.input.messages > 86 gen_ai.output.messages | openllmetry",
    ),
    Case(
        "acme",
        "chat gpt-4o mini",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.provider.name": "azure.ai.openai",
            "openai.response.service_tier": "flex",
            **used(5, 6),
            "gen_ai.input.messages": [{"role": "user"}],
            "gen_ai.output.messages": [{"role": "assistant"}],
            "gen_ai.tool.definitions": [{"type": "function"}],
            "enduser.id": "e",
        },
        "generation CALL | gpt-4o-mini @ azure.ai.openai | i5 o6 | 17 gen_ai.input.messages > 22 gen_ai.output.messages | user e | tier flex | semconv",
    ),
]


PLAIN = [
    Case("mcp", "tools/list", {"mcp.method.name": "tools/list", "mcp.session.id": "s", "network.transport": "tcp"}, "infra | plain"),
    Case(
        "opentelemetry.instrumentation.chromadb",
        "chroma.query",
        {"db.system": "chroma", "db.operation": "query", "db.chroma.query.n_results": 3},
        "infra | plain",
    ),
    Case(
        "opentelemetry.instrumentation.pinecone",
        "pinecone.query",
        {"db.system": "Pinecone", "server.address": "x", "pinecone.query.top_k": 3, "vector_db.vendor": "Pinecone"},
        "infra | plain",
    ),
    Case(
        "opentelemetry.instrumentation.botocore.dynamodb",
        "DynamoDB.GetItem",
        {"rpc.system": "aws-api", "db.system": "dynamodb", "aws.region": "x"},
        "infra | plain",
    ),
    Case("crewai.telemetry", "Crew Created", {"crewai_version": "1", "crew_key": "k", "crew_agents": "[]"}, "span | plain"),
    Case("acme", "predict churn", {"model": "xgboost-7", "input": "x", "output": "y", "prompt": "z"}, "span | 1* prompt > 1 output | plain"),
    Case("acme", "plan", {"service": "x", "user_id": "u", "tokens": 3}, "span | user u | plain"),
    Case(
        "System.Net.Http",
        "POST",
        {"http.request.method": "POST", "server.address": "api.openai.com", "url.full": "https://api.openai.com/v1/chat/completions"},
        "infra | plain",
    ),
    Case("spring.kafka", "orders publish", {"messaging.system": "kafka"}, "infra | plain"),
    Case("@opentelemetry/instrumentation-graphql", "query", {"graphql.operation.name": "q"}, "infra | infra"),
    Case(
        "opentelemetry.instrumentation.sqlalchemy",
        "SELECT",
        {"db.statement": "select", "db.system": "postgresql", "input": "x"},
        "infra | 1* input > - | infra",
    ),
    Case("celery", "process", {"messaging.system": "rabbitmq", "user_id": "u1", "session_id": "s1"}, "infra | user u1 | session s1 | infra"),
    Case("acme.app", "handle", {"user_id": "u1", "session_id": "s1", "llm_model": "gpt-4o"}, "span | user u1 | session s1 | plain"),
    Case("acme.app", "ask", {"llm.prompt": "hi", "llm.model": "gpt-4o", "llm.tokens": 5}, "span | openinference"),
]


@pytest.mark.parametrize("case", SEMCONV, ids=ids(SEMCONV))
def test_spans_by_the_genai_conventions_are_read(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", PLAIN, ids=ids(PLAIN))
def test_an_applications_own_and_infrastructures_spans_are_never_calls(case: Case) -> None:
    check(case)

"""OpenInference's spans that no capture has."""

from __future__ import annotations

import pytest

from tests.enrich.dialects.unseen import Case, check, ids

OPENINFERENCE = [
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "RERANKER",
            "reranker.query": "q",
            "reranker.model_name": "rr",
            "reranker.output_documents.0.document.content": "d",
            "input.value": "i",
            "output.value": "o",
        },
        "retriever | rr | 1* input.value > 1* output.value | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "GUARDRAIL",
            "reranker.query": "q",
            "reranker.model_name": "rr",
            "reranker.output_documents.0.document.content": "d",
            "input.value": "i",
            "output.value": "o",
        },
        "guardrail | rr | 1* input.value > 1* output.value | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "EVALUATOR",
            "reranker.query": "q",
            "reranker.model_name": "rr",
            "reranker.output_documents.0.document.content": "d",
            "input.value": "i",
            "output.value": "o",
        },
        "evaluator | rr | 1* input.value > 1* output.value | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "PROMPT",
            "reranker.query": "q",
            "reranker.model_name": "rr",
            "reranker.output_documents.0.document.content": "d",
            "input.value": "i",
            "output.value": "o",
        },
        "chain | rr | 1* input.value > 1* output.value | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "UNKNOWN",
            "reranker.query": "q",
            "reranker.model_name": "rr",
            "reranker.output_documents.0.document.content": "d",
            "input.value": "i",
            "output.value": "o",
        },
        "span | rr | 1* input.value > 1* output.value | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "chain",
            "reranker.query": "q",
            "reranker.model_name": "rr",
            "reranker.output_documents.0.document.content": "d",
            "input.value": "i",
            "output.value": "o",
        },
        "chain | rr | 1* input.value > 1* output.value | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "rr",
        {
            "openinference.span.kind": "RERANKER",
            "reranker.query": "q",
            "reranker.model_name": "rr",
            "reranker.output_documents.0.document.content": "d",
            "reranker.input_documents.0.document.content": "d",
        },
        "retriever | rr | 1 reranker.query > 17 reranker.output_documents.0.document.content | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "rr",
        {
            "openinference.span.kind": "RETRIEVER",
            "input.value": "q",
            "retrieval.documents.0.document.content": "d",
            "retrieval.documents.0.document.score": 0.3,
        },
        "retriever | 1* input.value > 29 retrieval.documents.0.document.content+1 | openinference",
    ),
    Case(
        "openinference.instrumentation.openai",
        "e",
        {
            "openinference.span.kind": "EMBEDDING",
            "embedding.model_name": "text-embedding-3-small",
            "embedding.embeddings.0.embedding.text": "t",
            "llm.token_count.prompt": 8,
            "llm.token_count.total": 8,
        },
        "embedding CALL | > text-embedding-3-small | i8 | openinference",
    ),
    Case(
        "openinference.instrumentation.agno",
        "lookup",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "lookup",
            "tool.parameters": "{}",
            "input.value": "{}",
            "output.value": "x",
            "tool_call.function.arguments": "{}",
            "tool.id": "call_1",
        },
        "tool | - > 1* output.value | tool lookup | openinference",
    ),
    Case(
        "openinference.instrumentation.smolagents",
        "CodeAgent.run",
        {
            "openinference.span.kind": "AGENT",
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 10,
            "input.value": "i",
            "output.value": "o",
        },
        "agent | i100 o10 | 1* input.value > 1* output.value | agent CodeAgent | openinference",
    ),
    Case(
        "openinference.instrumentation.crewai",
        "Researcher._execute_core",
        {"openinference.span.kind": "AGENT", "graph.node.id": "Researcher", "input.value": "x", "output.value": "y"},
        "agent | 1* input.value > 1* output.value | agent Researcher | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "claude-sonnet-4-5",
            "llm.provider": "anthropic",
            "llm.system": "anthropic",
            "llm.token_count.prompt": 930,
            "llm.token_count.prompt_details.cache_read": 1152,
            "llm.token_count.completion": 10,
            "llm.token_count.total": 940,
            "llm.input_messages": '[{"role":"user"}]',
            "llm.output_messages": '[{"role":"assistant"}]',
        },
        "generation CALL | > claude-sonnet-4-5 @ anthropic | i930 o10 r1152 | 17* llm.input_messages > 22* llm.output_messages | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 930,
            "llm.token_count.prompt_details.cache_input": 152,
            "llm.token_count.completion": 10,
            "llm.cost.prompt": 0.1,
            "llm.cost.completion": 0.2,
            "llm.cost.total": 0.3,
        },
        "generation CALL | > gpt-4o | i930 o10 | $0.3 | costs input=0.1,output=0.2 | openinference",
    ),
    Case(
        "openinference.instrumentation.google_genai",
        "x",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gemini-2.5-pro",
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 20,
            "llm.token_count.completion_details.reasoning": 50,
            "llm.token_count.total": 170,
        },
        "generation CALL | > gemini-2.5-pro | i100 o20 t50 | openinference",
    ),
    Case(
        "openinference.instrumentation.acme",
        "x",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o",
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "q",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "f",
        },
        "generation CALL | gpt-4o | 31* llm.input_messages.0.message.role+1 > 77* llm.output_messages.0.message.role+1 | openinference",
    ),
    Case(
        "openinference.instrumentation.openai_agents",
        "Assistant",
        {"openinference.span.kind": "AGENT", "graph.node.id": "Assistant"},
        "agent | agent Assistant | openinference",
    ),
    Case(
        "openinference.instrumentation.openai_agents",
        "handoff to B",
        {"openinference.span.kind": "TOOL", "graph.node.id": "B", "graph.node.parent_id": "A"},
        "tool | tool handoff to B | openinference",
    ),
    Case("openinference.instrumentation.openai_agents", "gr", {"openinference.span.kind": "CHAIN"}, "chain | openinference"),
    Case(
        "openinference.instrumentation.beeai",
        "ChatModel",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "llama",
            "llm.provider": "ollama",
            "llm.token_count.prompt": 4,
            "llm.token_count.completion": 5,
        },
        "generation CALL | > llama @ ollama | i4 o5 | openinference",
    ),
    Case(
        "openinference.instrumentation.agno",
        "Agent.run",
        {
            "openinference.span.kind": "AGENT",
            "agno.agent": "x",
            "agent.name": "Fin",
            "session.id": "s",
            "user.id": "u",
            "input.value": "a",
            "output.value": "b",
            "llm.token_count.prompt": 40,
        },
        "agent | i40 | 1* input.value > 1* output.value | agent Fin | user u | session s | openinference",
    ),
    Case(
        "openinference.instrumentation.smolagents",
        "FinalAnswerTool",
        {"openinference.span.kind": "TOOL", "tool.name": "final_answer", "input.value": "a", "output.value": "b"},
        "tool | 1* input.value > 1* output.value | tool final_answer | openinference",
    ),
    Case(
        "openinference.instrumentation.instructor",
        "instructor.patch",
        {"openinference.span.kind": "TOOL", "input.value": "a", "output.value": "b"},
        "tool | 1* input.value > 1* output.value | tool instructor.patch | openinference",
    ),
    Case(
        "envoy-ai-gateway",
        "ChatCompletion",
        {
            "openinference.span.kind": "LLM",
            "llm.system": "openai",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 4,
            "llm.token_count.completion": 5,
            "input.value": "{}x",
            "output.value": "y",
        },
        "generation CALL | > gpt-4o @ openai | i4 o5 | 3* input.value > 1* output.value | openinference",
    ),
]


@pytest.mark.parametrize("case", OPENINFERENCE, ids=ids(OPENINFERENCE))
def test_spans_by_openinference_are_read(case: Case) -> None:
    check(case)

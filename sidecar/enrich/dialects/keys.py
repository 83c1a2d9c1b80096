"""The conventions' keys: which attribute keys can hold which fact, and in what order they are believed. Data only.

Owns the tables that serve every dialect. What only one family does stands in that family's module. It must not read a span.

Order within a field: what the agent said explicitly, the GenAI conventions (newest first), OpenInference, OpenLLMetry, frameworks.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.enrich.facts import Kind

FIELDS: Mapping[str, tuple[str, ...]] = {
    "agent_name": (
        "traceloop.association.properties.lc_agent_name",
        "langsmith.metadata.lc_agent_name",
        "langfuse.observation.metadata.lc_agent_name",
        "gen_ai.agent.name",
        "agent_name",
        "agent.name",
        "crewai.agent.role",
        "ai.telemetry.functionId",
        "recipient_agent_type",
        "lk.agent_name",
    ),
    "agent_id": ("gen_ai.agent.id", "agent.id", "crewai.agent.id"),
    "agent_version": ("gen_ai.agent.version", "agent.version"),
    "model_answered": (
        "langfuse.observation.model.name",
        "gen_ai.response.model",
        "ai.response.model",
        "llm.response.model",
        "llm.response.model_name",
        "mlflow.llm.model",
    ),
    "model_requested": (
        "gen_ai.request.model",
        "gen_ai.model_name",
        "ai.model.id",
        "llm.request.model_name",
        "llm.model_name",
        "embedding.model_name",
        "reranker.model_name",
        "langsmith.metadata.ls_model_name",
        "traceloop.association.properties.ls_model_name",
        "litellm.provider.model",
        "mlflow.llm.model",
        "langfuse.observation.metadata.ls_model_name",
        "model_name",
    ),
    "provider": (
        "gen_ai.provider.name",
        "gen_ai.system",
        "llm.provider",
        "llm.system",
        "ai.model.provider",
        "mlflow.llm.provider",
        "langsmith.metadata.ls_provider",
        "traceloop.association.properties.ls_provider",
        "langfuse.observation.metadata.ls_provider",
        "error.llm_provider",
    ),
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "ai.usage.inputTokens",
        "ai.usage.promptTokens",
        "ai.usage.tokens",
        "llm.usage.prompt_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
        "llm.usage.completion_tokens",
    ),
    "total_tokens": (
        "gen_ai.usage.total_tokens",
        "llm.usage.total_tokens",
        "llm.token_count.total",
        "ai.usage.totalTokens",
    ),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cache_read_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cache_read_input_tokens",
        "gen_ai.usage.details.cached_tokens",
        "gen_ai.usage.input_cached_tokens",
        "gen_ai.usage.input_tokens.cached",
        "gen_ai.usage.cached_tokens",
        "gen_ai.usage.prompt_tokens_details.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.inputTokenDetails.cacheReadTokens",
        "ai.usage.cachedInputTokens",
        "cache_read_input_tokens",
    ),
    "cache_write": (
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens",
        "gen_ai.usage.cache_write_tokens",
        "gen_ai.usage.details.cache_write_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
        "cache_write_input_tokens",
    ),
    "cache_write_1h": (
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
        "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens",
        "gen_ai.usage.details.cache_write_1h_tokens",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "gen_ai.usage.details.thoughts_tokens",
        "gen_ai.usage.completion_tokens_details.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
        "ai.usage.outputTokenDetails.reasoningTokens",
        "ai.usage.reasoningTokens",
    ),
    "input_audio": (
        "llm.token_count.prompt_details.audio",
        "gen_ai.usage.details.input_audio_tokens",
        "gen_ai.usage.audio.input_tokens",
        "gen_ai.usage.input_audio_tokens",
        "gen_ai.usage.audio_input_tokens",
    ),
    "output_audio": (
        "llm.token_count.completion_details.audio",
        "gen_ai.usage.details.output_audio_tokens",
        "gen_ai.usage.audio.output_tokens",
        "gen_ai.usage.output_audio_tokens",
        "gen_ai.usage.audio_output_tokens",
    ),
    "cost": (
        "gen_ai.usage.cost.amount",
        "gen_ai.usage.cost",
        "gen_ai.usage.total_cost",
        "gen_ai.cost.total_cost",
        "operation.cost",
        "llm.cost.total",
        "llm.response.cost",
    ),
    "cost_input": ("gen_ai.cost.input_cost", "llm.cost.prompt", "gen_ai.usage.input_cost"),
    "cost_output": ("gen_ai.cost.output_cost", "llm.cost.completion", "gen_ai.usage.output_cost"),
    "service_tier": (
        "gen_ai.openai.response.service_tier",
        "openai.response.service_tier",
        "gen_ai.response.service_tier",
        "anthropic.response.service_tier",
        "aws.bedrock.response.service_tier",
        "gen_ai.openai.request.service_tier",
        "openai.request.service_tier",
    ),
    "tool_name": (
        "gen_ai.tool.name",
        "tool.name",
        "ai.toolCall.name",
        "haystack.tool.name",
        "mcp.tool.name",
        "spring.ai.tool.definition.name",
        "lk.function_tool.name",
        "tool.function_name",
        "tool_name",
    ),
    "tool_call_id": (
        "gen_ai.tool.call.id",
        "ai.toolCall.id",
        "tool_call.id",
        "tool.id",
        "spring.ai.tool.call.id",
        "lk.function_tool.id",
        "tool.call_id",
        "tool_use_id",
    ),
    "user": (
        "langfuse.user.id",
        "user.id",
        "langfuse.trace.metadata.langfuse_user_id",
        "langfuse.observation.metadata.langfuse_user_id",
        "ai.telemetry.metadata.userId",
        "traceloop.association.properties.user_id",
        "langsmith.metadata.user_id",
        "langfuse.observation.metadata.user_id",
        "langfuse.trace.metadata.user_id",
        "enduser.id",
        "gen_ai.user",
        "gen_ai.user.id",
        "gen_ai.request.user",
        "llm.user",
        "langwatch.user.id",
        "lmnr.association.properties.user_id",
        "mlflow.trace.user",
        "metadata.user_api_key_end_user_id",
        "user_id",
    ),
    "session": (
        "langfuse.session.id",
        "session.id",
        "langfuse.trace.metadata.langfuse_session_id",
        "langfuse.observation.metadata.langfuse_session_id",
        "ai.telemetry.metadata.sessionId",
        "traceloop.association.properties.session_id",
        "langsmith.metadata.session_id",
        "langfuse.observation.metadata.session_id",
        "langfuse.trace.metadata.session_id",
        "mlflow.trace.session",
        "gen_ai.conversation.id",
        "traceloop.association.properties.conversation_id",
        "langsmith.metadata.conversation_id",
        "traceloop.association.properties.chat_id",
        "traceloop.association.properties.thread_id",
        "langsmith.metadata.thread_id",
        "langfuse.observation.metadata.thread_id",
        "gcp.vertex.agent.session_id",
        "gen_ai.session.id",
        "gen_ai.thread.id",
        "langwatch.thread.id",
        "lmnr.association.properties.session_id",
        "spring.ai.chat.client.conversation.id",
        "genkit:sessionId",
        "conversation.id",
        "thread_id",
        "session_id",
        "conversation_id",
    ),
    "trace_name": ("langfuse.trace.name", "traceloop.workflow.name"),
    "tags": (
        "langfuse.trace.tags",
        "langfuse.tags",
        "langfuse.trace.metadata.langfuse_tags",
        "langfuse.observation.metadata.langfuse_tags",
        "ai.telemetry.metadata.tags",
        "tag.tags",
        "langsmith.span.tags",
        "langfuse.observation.metadata.tags",
        "tags",
    ),
    "prompt_name": ("langfuse.observation.prompt.name", "langfuse.prompt.name", "traceloop.prompt.key"),
    "prompt_version": ("langfuse.observation.prompt.version", "langfuse.prompt.version", "traceloop.prompt.version"),
    "first_token_s": (
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.server.time_to_first_token",
        "gen_ai.response.time_to_first_token",
        "gen_ai.latency.time_to_first_token",
        "lk.response.ttft",
        "metrics.ttfb",
    ),
    "first_token_ms": ("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk", "ttft_ms"),
    "completion_start": ("langfuse.observation.completion_start_time", "mastra.completion_start_time"),
    "level": ("langfuse.observation.level",),
    "error_type": ("error.type", "error.code"),
    "error_message": ("error.message", "gen_ai.framework.error.message", "langfuse.observation.status_message"),
    "status_code": ("http.response.status_code", "http.status_code", "error.code"),
}
"""Every key in one row is believed before those to its right."""

_MODEL_CALLS = (
    "chat completion completions text_completion generate_content generate responses response message messages converse invoke_model predict acompletion "
    "atext_completion aresponses stream image image_generation audio speech transcription multimodal_completion llm tts stt text_to_speech speech_to_text "
    "generate_speech generate_image generate_video realtime"
)
OPERATIONS: Mapping[str, Kind] = {
    **dict.fromkeys(_MODEL_CALLS.split(), Kind.GENERATION),
    **dict.fromkeys(("embeddings", "embedding", "embed", "aembedding", "aembeddings"), Kind.EMBEDDING),
    **dict.fromkeys(("invoke_agent", "create_agent", "agent", "agent_step", "execute_agent"), Kind.AGENT),
    **dict.fromkeys(("execute_tool", "tool", "tool_call", "call_tool", "mcp_tool_call", "code_execution"), Kind.TOOL),
    **dict.fromkeys(
        ("retrieval", "retrieve", "retriever", "rerank", "vectordb", "vector_db_retrieve", "vector_search", "search_memory"), Kind.RETRIEVER
    ),
    **dict.fromkeys(("evaluate", "evaluation"), Kind.EVALUATOR),
    **dict.fromkeys(("guardrail", "guardrails", "apply_guardrail", "guard"), Kind.GUARDRAIL),
    **dict.fromkeys(
        (
            "invoke_workflow",
            "workflow",
            "execute_task",
            "task",
            "chain",
            "framework",
            "plan",
            "invoke_graph",
            "invoke_swarm",
            "execute_event_loop_cycle",
            "conversation",
            "initiate_chats",
            "speaker_selection",
            "orchestrate_tools",
        ),
        Kind.CHAIN,
    ),
    # They may name a model and are no call of it.
    **dict.fromkeys(
        (
            "fetch_response",
            *(f"{verb}_memory{what}" for verb in ("create", "update", "upsert", "delete") for what in ("", "_store")),
        ),
        Kind.SPAN,
    ),
}
"""Values of ``gen_ai.operation.name``, those of the conventions and those that instrumentations add."""

_SPAN_KINDS: Mapping[str, Kind] = {
    "llm": Kind.GENERATION,
    "chat_model": Kind.GENERATION,
    "generation": Kind.GENERATION,
    "embedding": Kind.EMBEDDING,
    "agent": Kind.AGENT,
    "tool": Kind.TOOL,
    "retriever": Kind.RETRIEVER,
    "reranker": Kind.RETRIEVER,
    "chain": Kind.CHAIN,
    "workflow": Kind.CHAIN,
    "task": Kind.CHAIN,
    "prompt": Kind.CHAIN,
    "parser": Kind.CHAIN,
    "guardrail": Kind.GUARDRAIL,
    "evaluator": Kind.EVALUATOR,
    "evaluation": Kind.EVALUATOR,
    "rag": Kind.RETRIEVER,
    "entry": Kind.CHAIN,
    "step": Kind.CHAIN,
    "component": Kind.CHAIN,
    "operation": Kind.CHAIN,
}

EXPLICIT_TYPE = "langfuse.observation.type"
OPERATION = "gen_ai.operation.name"
DECLARATIONS: Mapping[str, Mapping[str, Kind]] = {
    EXPLICIT_TYPE: {**_SPAN_KINDS, "span": Kind.SPAN, "event": Kind.EVENT},
    "openinference.span.kind": _SPAN_KINDS,
    "langsmith.span.kind": _SPAN_KINDS,
    "mlflow.spanType": _SPAN_KINDS,
    "spring.ai.kind": {"chat_client": Kind.CHAIN, "advisor": Kind.CHAIN, "tool_call": Kind.TOOL},
    "gen_ai.operation.name": OPERATIONS,
    "mcp.method.name": {"tools/call": Kind.TOOL, "resources/read": Kind.RETRIEVER},
    "traceloop.span.kind": _SPAN_KINDS,
    "llm.request.type": {
        **dict.fromkeys(("chat", "completion", "responses", "acompletion"), Kind.GENERATION),
        **dict.fromkeys(("embedding", "embeddings", "aembedding"), Kind.EMBEDDING),
        "rerank": Kind.RETRIEVER,
    },
    "genkit:metadata:subtype": {
        **dict.fromkeys(("model", "background-model"), Kind.GENERATION),
        "embedder": Kind.EMBEDDING,
        **dict.fromkeys(("tool", "tool.v2"), Kind.TOOL),
        "retriever": Kind.RETRIEVER,
        "evaluator": Kind.EVALUATOR,
        "flow": Kind.CHAIN,
    },
    "genkit:type": dict.fromkeys(("flow", "flowstep", "util", "helper", "prompttemplate"), Kind.CHAIN),
    "gen_ai.span.kind": _SPAN_KINDS,
    "mastra.span.type": {
        **dict.fromkeys(
            ("workflow_run", "workflow_step", "workflow_conditional", "workflow_parallel", "workflow_loop", "processor_run", "model_step"), Kind.CHAIN
        ),
        "scorer_run": Kind.EVALUATOR,
        "rag_vector_operation": Kind.RETRIEVER,
    },
    "langwatch.span.type": _SPAN_KINDS,
    "lmnr.span.type": _SPAN_KINDS,
    "agentops.span.kind": _SPAN_KINDS,
}
"""Keys that say what a span is, most trusted first. Values are compared in lower case and without quotes.

Where conventions contradict each other the order is Langfuse's own as far as it has one: what was said on purpose, OpenInference
(whose kinds are finer), the GenAI conventions, then platforms. Spring AI calls all its own spans operation ``framework``.
"""

TOOL_KEYS = ("gen_ai.tool.name", "gen_ai.tool.call.id")
MODEL_KEYS = ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "langfuse.observation.model.name")
"""Without any declaration, these make a span a tool's or a model's, as Langfuse has it."""

GENAI_PREFIXES = (
    *("gen_ai.", "llm.", "ai.", "traceloop.", "langfuse.", "langsmith.", "openinference.", "mlflow.", "input.value", "output.value"),
    *("mastra.", "genkit:", "lk.", "spring.ai.", "langwatch.", "lmnr.", "agentops."),
)
INFRA_PREFIXES = ("http.", "url.", "rpc.", "db.", "messaging.", "asgi.", "net.", "network.", "server.", "client.", "faas.", "dns.", "peer.", "aws.")
"""A span with keys of the second kind and none of the first is HTTP, RPC, database or queue."""

_FRAMEWORKS = (
    "langchain langgraph crewai strands-agents strands autogen llamaindex llama_index haystack dspy smolagents agno mastra semantic_kernel semantic-kernel "
    "pydantic-ai pydantic_ai microsoft.agent_framework gcp.vertex.agent openlit litellm litellm_proxy openailike openai_agents ai vercel spring_ai az.ai.agents dify unknown none"
)
FRAMEWORKS = frozenset(_FRAMEWORKS.split())
"""Names that stand where a provider's should be, on agents' spans mostly."""

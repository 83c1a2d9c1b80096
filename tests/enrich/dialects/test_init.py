"""The reading of facts, and conventions that no dialect changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.dialects import Plans, read_facts
from sidecar.enrich.dialects.keys import DECLARATIONS, FIELDS
from sidecar.enrich.dialects.labels import MAX_ID, MAX_NAME
from sidecar.enrich.facts import Kind
from tests import spans
from tests.enrich.views import facts, view


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"langfuse.observation.type": "GENERATION"}, Kind.GENERATION),
        ({"langfuse.observation.type": "event"}, Kind.EVENT),
        ({"openinference.span.kind": "RERANKER"}, Kind.RETRIEVER),
        ({"openinference.span.kind": "PROMPT"}, Kind.CHAIN),
        ({"openinference.span.kind": "UNKNOWN", "gen_ai.operation.name": "chat"}, Kind.GENERATION),
        ({"gen_ai.operation.name": "text_completion"}, Kind.GENERATION),
        ({"gen_ai.operation.name": "embeddings"}, Kind.EMBEDDING),
        ({"gen_ai.operation.name": "invoke_workflow"}, Kind.CHAIN),
        ({"gen_ai.operation.name": "retrieval"}, Kind.RETRIEVER),
        ({"gen_ai.operation.name": "my_own_operation"}, Kind.SPAN),
        ({"langsmith.span.kind": "prompt", "gen_ai.operation.name": "chat"}, Kind.CHAIN),
        ({"langsmith.span.kind": "retriever", "gen_ai.operation.name": "embeddings"}, Kind.RETRIEVER),
        ({"mlflow.spanType": '"CHAT_MODEL"'}, Kind.GENERATION),
        ({"llm.request.type": "embedding", "gen_ai.request.model": "m"}, Kind.EMBEDDING),
        ({"traceloop.span.kind": "task", "gen_ai.operation.name": "chat"}, Kind.GENERATION),
        ({"genkit:metadata:subtype": "model"}, Kind.GENERATION),
        ({"gen_ai.tool.name": "look"}, Kind.TOOL),
        ({"gen_ai.request.model": "m"}, Kind.GENERATION),
        ({"db.system.name": "postgresql", "db.query.text": "select"}, Kind.INFRA),
        ({"rpc.system": "grpc"}, Kind.INFRA),
        ({"server.address": "api", "gen_ai.provider.name": "openai"}, Kind.SPAN),
        ({"app.ticket": "T-1"}, Kind.SPAN),
        ({}, Kind.SPAN),
    ],
)
def test_a_span_is_what_its_most_trusted_declaration_says(attributes: spans.Attributes, kind: Kind) -> None:
    assert facts(attributes).kind is kind


def test_what_the_agent_said_to_langfuse_wins_over_what_the_dialect_knows() -> None:
    assert facts({"langfuse.observation.type": "evaluator", "ai.operationId": "ai.generateText.doGenerate"}, scope="ai").kind is Kind.EVALUATOR


@pytest.mark.parametrize("key", ["gen_ai.usage.cost", "llm.cost.total", "gen_ai.cost.total_cost"])
def test_a_cost_of_0_is_unknown(key: str) -> None:
    assert facts({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, key: 0.0}).cost_usd is None


def test_a_cost_that_somebody_computed_is_kept_with_its_parts_when_they_add_up() -> None:
    call: dict[str, spans.Value] = {"gen_ai.operation.name": "chat", "gen_ai.cost.input_cost": 0.25, "gen_ai.cost.output_cost": 0.5}
    exact, off = facts({**call, "gen_ai.cost.total_cost": 0.75}), facts({**call, "gen_ai.cost.total_cost": 1.0})
    assert (exact.cost_usd, exact.cost_details) == (0.75, {"input": 0.25, "output": 0.5})
    assert (off.cost_usd, off.cost_details) == (1.0, {})


def test_an_explicit_session_wins_over_a_conversation() -> None:
    assert facts({"gen_ai.conversation.id": "c", "session.id": "s"}).session_id == "s"


_KEYS = sorted(
    {key for keys in FIELDS.values() for key in keys}
    | set(DECLARATIONS)
    | {"metadata", "events", "llm.invocation_parameters", "gen_ai.prompt.0.role"}
)
_SCOPES = [
    "",
    "ai",
    "haystack",
    "litellm",
    "langsmith",
    "openlit.instrumentation.x",
    "gcp.vertex.agent",
    "pydantic-ai",
    "openinference.instrumentation.x",
    "strands.telemetry.tracer",
]
_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.sampled_from(["chat", "llm", '{"input": 5}', "[", "{}", "x" * 3000, '"', "9" * 30, "1e999"]),
    st.lists(st.integers(0, 9), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_SCOPES), st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=12), st.text(max_size=30))
def test_whatever_a_span_holds_it_is_read_and_what_is_read_is_bounded(scope: str, attributes: dict[str, Any], name: str) -> None:
    found = read_facts(
        view(attributes, scope=scope, name=name.encode(errors="ignore").decode(), events=[spans.event("exception", attributes)]), Plans()
    )
    for label in (
        found.agent_name,
        found.model_requested,
        found.model_answered,
        found.provider,
        found.tool_name,
        found.trace_name,
        found.prompt_name,
    ):
        assert label is None or 0 < len(label) <= MAX_NAME
    for identity in (found.user_id, found.session_id):
        assert identity is None or 0 < len(identity) <= MAX_ID
    assert found.cost_usd is None or found.cost_usd >= 0
    assert found.usage is None or found.usage.total > 0

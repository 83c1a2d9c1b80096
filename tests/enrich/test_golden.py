"""What is read of the corpus: every span against its reviewed golden file, every trace's tokens and cost against its real calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.enrich.dialects import Plans, read_facts
from sidecar.enrich.facts import Facts, Kind
from sidecar.wire.otlp_json import decode_json
from tests.corpus import CorpusRequest, trace_requests
from tests.enrich.golden import FOLDER, captures, read_capture, render, traces

Said = Mapping[str, object]
Tokens = Callable[[str, str, Said], int | None]
"""Tokens that a real call used, from scope, name and attributes; None for what is no call."""


@pytest.mark.parametrize("capture", captures())
def test_every_span_of_a_capture_reads_as_its_golden_file_says(capture: str) -> None:
    expected = (FOLDER / f"{capture}.txt").read_text(encoding="utf-8")
    assert render(capture) == expected, "if this is an improvement: python -m tests.enrich.golden --update, and review the difference"


def test_there_is_no_golden_file_without_a_capture() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == captures()


def _sum(said: Said, *keys: str) -> int:
    return sum(int(str(said.get(key) or 0)) for key in keys)


def _openinference(scope: str, _: str, said: Said) -> int | None:
    if not scope.startswith("openinference.") or said.get("openinference.span.kind") not in ("LLM", "EMBEDDING"):
        return None
    return _sum(said, "llm.token_count.prompt", "llm.token_count.completion")


def _semconv(*scopes: str, exclusive: bool = False) -> Tokens:
    def tokens(scope: str, _: str, said: Said) -> int | None:
        if said.get("gen_ai.operation.name") not in ("chat", "embeddings", "generate_content") or (scopes and scope not in scopes):
            return None
        more = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens") if exclusive else ()
        return _sum(said, "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", *more)

    return tokens


def _total(*keys: str) -> Tokens:
    return lambda _scope, _name, said: next((_sum(said, key) for key in keys if key in said), None)


def _adk(_: str, name: str, said: Said) -> int | None:
    if name != "call_llm" or "gcp.vertex.agent.llm_response" not in said:
        return None
    return int(json.loads(str(said["gcp.vertex.agent.llm_response"]))["usage_metadata"]["total_token_count"])


def _haystack(_: str, __: str, said: Said) -> int | None:
    output = str(said.get("haystack.agent.step.llm.output") or said.get("haystack.component.output") or "{}")
    replies = json.loads(output).get("replies") if output.startswith("{") else None
    return int(replies[0]["meta"]["usage"]["total_tokens"]) if replies and replies[0]["meta"].get("usage") else None


def _langsmith(_: str, __: str, said: Said) -> int | None:
    return _sum(said, "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens") if said.get("langsmith.span.kind") == "llm" else None


def _vercel(_: str, name: str, said: Said) -> int | None:
    if name == "chat":
        return int(json.loads(str(said["langfuse.observation.usage_details"]))["total"])
    call = name.rpartition(".")[2].startswith("do")
    return _sum(said, "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "ai.usage.tokens") if call else None


def _langfuse(_: str, name: str, said: Said) -> int | None:
    details = said.get("langfuse.observation.usage_details")
    if details is None or (name == "OpenAI-generation" and "langfuse.trace.metadata.lc_agent_name" in said):
        return None
    usage = json.loads(str(details))
    return int(usage.get("total") or usage.get("total_tokens") or sum(usage.values()))


def _mlflow(_: str, __: str, said: Said) -> int | None:
    usage = said.get("mlflow.chat.tokenUsage")
    return int(json.loads(str(usage))["total_tokens"]) if usage else None


TRUTH: dict[str, Tokens] = {
    "anthropic-openinference": _openinference,
    "anthropic-openlit": _semconv(exclusive=True),
    "anthropic-openllmetry": _semconv("opentelemetry.instrumentation.anthropic"),
    "autogen": lambda *_: None,
    "dspy-openinference": _openinference,
    "google-adk-1.14": _adk,
    "google-adk-latest-semconv": _semconv(),
    "haystack-native-otel": _haystack,
    "haystack-openinference": _openinference,
    "langchain-langsmith-otel": _langsmith,
    "langchain-openinference": _openinference,
    "langchain-openlit": _semconv("openlit.instrumentation.langchain"),
    "langchain-openllmetry": _total("gen_ai.usage.total_tokens"),
    "langchain-openllmetry-0.40": _total("llm.usage.total_tokens"),
    "langfuse-js": _vercel,
    "langfuse-python-v3": _langfuse,
    "langfuse-python-v5": _langfuse,
    "litellm-langfuse_otel": _total("llm.token_count.total"),
    "litellm-otel": _total("gen_ai.usage.total_tokens"),
    "llamaindex-openinference": _openinference,
    "llamaindex-openllmetry": _total("gen_ai.usage.total_tokens"),
    "manual-genai-semconv": _semconv(),
    "manual-genai-semconv-grpc": _semconv(),
    "mlflow": _mlflow,
    "openai-agents-openinference": _openinference,
    "openai-contrib-v2-2.1b0": _semconv(),
    "openai-contrib-v2-latest-semconv": _semconv(),
    "openai-openinference": _openinference,
    "openai-openllmetry": _total("gen_ai.usage.total_tokens", "gen_ai.usage.input_tokens"),
    "openai-openllmetry-0.40": _total("llm.usage.total_tokens"),
    "pydantic-ai": _semconv("pydantic-ai"),
    "pydantic-ai-0.4": _semconv("pydantic-ai"),
    "semantic-kernel": _semconv(),
    "strands-agents": _semconv(),
    "traceloop-sdk": _total("gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
    "vercel-ai-sdk": _vercel,
}
"""Which spans are real calls and what they used, said once more for each capture, by hand and without the code under test."""

COSTS = ("gen_ai.usage.cost", "gen_ai.cost.total_cost", "operation.cost", "llm.cost.total")


def _body(request: CorpusRequest) -> bytes:
    return decode_json(request.body).request.SerializeToString() if request.is_json else request.body


def _true_totals(capture: str) -> dict[tuple[str, bytes], tuple[int, float]]:
    """Tokens and cost of the calls of each trace, by scenario and trace id; traces without any are left out."""
    totals: dict[tuple[str, bytes], tuple[int, float]] = {}
    for request in trace_requests():
        if request.capture != capture:
            continue
        for resource_spans in ExportTraceServiceRequest.FromString(_body(request)).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    kinds = {pair.key: pair.value.WhichOneof("value") for pair in span.attributes}
                    said = {pair.key: getattr(pair.value, kind) for pair in span.attributes if (kind := kinds[pair.key])}
                    used = TRUTH[capture](scope_spans.scope.name, span.name, said)
                    if used is None:
                        continue
                    explicit = json.loads(said.get("langfuse.observation.cost_details", "{}"))
                    cost = sum(explicit.get(side, 0) for side in ("input", "output")) or next((float(said[key]) for key in COSTS if key in said), 0.0)
                    place = request.name.split("/")[1], span.trace_id
                    before = totals.get(place, (0, 0.0))
                    totals[place] = before[0] + used, before[1] + cost
    return {place: total for place, total in totals.items() if total[0]}


@pytest.mark.parametrize("capture", captures())
def test_a_traces_tokens_and_cost_are_the_sum_over_its_real_calls(capture: str) -> None:
    read: dict[tuple[str, bytes], tuple[int, float]] = {}
    for scenario, spans in read_capture(capture).items():
        for trace in traces(spans):
            calls = [facts for _, facts in trace if facts.is_call]
            tokens = sum(facts.usage.total for facts in calls if facts.usage is not None)
            if tokens:
                read[scenario, trace[0][0].trace_id] = tokens, sum(facts.cost_usd or 0 for facts in calls)
    true = _true_totals(capture)
    assert {place: tokens for place, (tokens, _) in read.items()} == {place: tokens for place, (tokens, _) in true.items()}
    for place, (_, cost) in true.items():
        assert read[place][1] == pytest.approx(cost, rel=1e-9)
    assert read or capture == "autogen"


def test_plans_make_no_difference() -> None:
    plans = Plans(entries=8)
    for capture in captures():
        for spans in read_capture(capture).values():
            for view, facts in spans:
                fresh = read_facts(view, plans)
                fresh.is_call, fresh.agent_name = facts.is_call, facts.agent_name
                assert fresh == facts


def test_every_call_has_a_model_unless_the_span_has_none() -> None:
    def nameless(facts: Facts) -> bool:
        return facts.kind is Kind.GENERATION and facts.usage is not None and not (facts.model_answered or facts.model_requested)

    assert [view.name for capture in captures() for spans in read_capture(capture).values() for view, facts in spans if nameless(facts)] == []

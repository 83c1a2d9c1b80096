"""Google's Agent Development Kit: 1.x with ``gcp.vertex.agent.*`` and telling span names, 2.x with the conventions."""

from __future__ import annotations

import re

import msgspec

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.semconv import name_by_span
from sidecar.enrich.dialects.tokens import Counts
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

_AGENT_RUN = re.compile(r"(?:agent_run|invoke_agent) \[?(.+?)\]?")


class _UsageMetadata(msgspec.Struct):
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None


class _Response(msgspec.Struct):
    usage_metadata: _UsageMetadata | None = None


_decoder = msgspec.json.Decoder(_Response)


def _kind(view: SpanView) -> Kind | None:
    name = view.name
    if name == "call_llm":
        return Kind.GENERATION
    if name.startswith(("agent_run", "invoke_agent")):
        return Kind.AGENT
    if name.startswith("execute_tool"):
        return Kind.TOOL
    if name in ("invocation", "send_data") or name.startswith("invoke_workflow"):
        return Kind.CHAIN
    return None


def _count(view: SpanView, counts: Counts) -> None:
    response = view.text("gcp.vertex.agent.llm_response")
    if response is None or counts.output is None:
        return
    try:
        usage = _decoder.decode(response).usage_metadata
    except (msgspec.MsgspecError, RecursionError):
        return
    if usage is not None:
        # 1.x copies the candidates' tokens; what Gemini thought and what it had cached is only in its answer.
        counts.cache_read = counts.cache_read or usage.cached_content_token_count
        if usage.thoughts_token_count and not counts.reasoning:
            counts.reasoning, counts.reasoning_outside = usage.thoughts_token_count, True


def _refine(view: SpanView, facts: Facts) -> None:
    if facts.kind is Kind.AGENT and facts.agent_name is None:
        found = _AGENT_RUN.fullmatch(view.name)
        facts.agent_name = labels.agent(found[1]) if found else None
    elif facts.kind is Kind.TOOL:
        name_by_span(view, facts)


DIALECT = Dialect("adk", kind=_kind, count=_count, refine=_refine)

"""Haystack's own tracing: ``haystack.*``; model and usage stand inside the output's JSON."""

from __future__ import annotations

import re

import msgspec

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.tokens import Counts, counts_in
from sidecar.enrich.facts import Error, ErrorKind, Facts, Kind
from sidecar.enrich.view import SpanView

_BY_NAME = {
    "haystack.agent.run": Kind.AGENT,
    "haystack.agent.step": Kind.CHAIN,
    "haystack.agent.step.llm": Kind.GENERATION,
    "haystack.agent.step.tool": Kind.TOOL,
    "haystack.pipeline.run": Kind.CHAIN,
    "haystack.async_pipeline.run": Kind.CHAIN,
}
_BY_COMPONENT = (
    (re.compile(r"Generator$|^LLM"), Kind.GENERATION),
    (re.compile(r"Embedder$"), Kind.EMBEDDING),
    (re.compile(r"Retriever$|Ranker$|WebSearch$"), Kind.RETRIEVER),
    (re.compile(r"Agent$"), Kind.AGENT),
    (re.compile(r"ToolInvoker$"), Kind.TOOL),
    (re.compile(r"Evaluator$"), Kind.EVALUATOR),
)
_OUTPUTS = ("haystack.agent.step.llm.output", "haystack.component.output")


class _Reply(msgspec.Struct):
    meta: dict[str, object] | None = None


class _Output(msgspec.Struct):
    replies: list[_Reply | str] | None = None
    meta: object = None


_decoder = msgspec.json.Decoder(_Output)


def _kind(view: SpanView) -> Kind | None:
    known = _BY_NAME.get(view.name)
    if known is not None:
        return known
    component = view.text("haystack.component.type")
    if component is None:
        return None
    return next((kind for pattern, kind in _BY_COMPONENT if pattern.search(component)), Kind.CHAIN)


def _meta(view: SpanView) -> dict[str, object]:
    """What a generator says of its call: model, usage, finish reason."""
    text = view.first(*_OUTPUTS)
    if text is None:
        return {}
    try:
        output = _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    for reply in output.replies or ():
        if isinstance(reply, _Reply) and reply.meta:
            return reply.meta
    meta = output.meta[0] if isinstance(output.meta, list) and output.meta else output.meta
    return meta if isinstance(meta, dict) else {}


def _count(view: SpanView, counts: Counts) -> None:
    usage = _meta(view).get("usage")
    if isinstance(usage, dict):
        found = counts_in(usage)
        for field in Counts.__struct_fields__:
            setattr(counts, field, getattr(found, field))


def _refine(view: SpanView, facts: Facts) -> None:
    if facts.is_call:
        model = _meta(view).get("model")
        if isinstance(model, str) and model:
            facts.model_answered = model[: labels.MAX_NAME]
    elif facts.kind is Kind.AGENT:
        facts.agent_name = facts.agent_name or labels.agent(labels.label(view, ("haystack.component.name",)))
    if facts.error is None and view.bool("haystack.tool.error"):
        facts.error = Error(ErrorKind.OTHER, "tool_error", "")


DIALECT = Dialect("haystack", kind=_kind, count=_count, refine=_refine)

"""Genkit (JavaScript, Go, Python): ``genkit:*``; the model is the action's name, its tokens stand inside the answer's JSON."""

from __future__ import annotations

import msgspec

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.tokens import Counts
from sidecar.enrich.facts import Error, ErrorKind, Facts, Kind
from sidecar.enrich.view import SpanView


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    total_tokens: int | float | None = None
    thoughts_tokens: int | float | None = None
    cached_content_tokens: int | float | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


_decoder = msgspec.json.Decoder(_Answer)


def _count(view: SpanView, counts: Counts) -> None:
    answer = view.text("genkit:output")
    if answer is None or view.text("genkit:metadata:subtype") not in ("model", "background-model"):
        return
    try:
        usage = _decoder.decode(answer).usage
    except (msgspec.MsgspecError, RecursionError):
        return
    if usage is not None:
        counts.input, counts.output, counts.total = _whole(usage.input_tokens), _whole(usage.output_tokens), _whole(usage.total_tokens)
        # Whether thoughts are inside the output depends on the plugin; the total tells.
        counts.reasoning, counts.cache_read = _whole(usage.thoughts_tokens), _whole(usage.cached_content_tokens)


def _whole(number: float | None) -> int | None:
    return int(number) if number is not None and number == number // 1 else None


def _refine(view: SpanView, facts: Facts) -> None:
    name = labels.label(view, ("genkit:name",)) or view.name[: labels.MAX_NAME] or None
    if facts.is_call and name is not None and facts.model_requested is None:
        provider, _, model = name.rpartition("/")
        facts.model_requested = model or name
        facts.provider = facts.provider or provider.partition("/")[0] or None
    elif facts.kind is Kind.TOOL:
        facts.tool_name = facts.tool_name or name
    elif facts.kind is Kind.AGENT:
        facts.agent_name = facts.agent_name or labels.agent(name)
    if facts.error is None and view.text("genkit:state") == "error":
        facts.error = Error(ErrorKind.OTHER, "error", "")


DIALECT = Dialect("genkit", count=_count, refine=_refine)

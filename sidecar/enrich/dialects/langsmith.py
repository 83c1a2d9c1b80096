"""LangSmith's OpenTelemetry export: ``langsmith.*``, whole prompts and completions as JSON."""

from __future__ import annotations

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.langfuse_sdk import json_object
from sidecar.enrich.dialects.tokens import Counts, counts_in
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView


def _count(view: SpanView, counts: Counts) -> None:
    usage = json_object(view.text("langsmith.metadata.usage_metadata"))
    if usage:
        found = counts_in(usage)
        counts.cache_read, counts.cache_write, counts.cache_write_1h = found.cache_read, found.cache_write, found.cache_write_1h
        counts.reasoning, counts.input_audio, counts.output_audio = found.reasoning, found.input_audio, found.output_audio
        counts.input = found.input if found.input is not None else counts.input
        counts.output = found.output if found.output is not None else counts.output


def _refine(view: SpanView, facts: Facts) -> None:
    if facts.kind is Kind.TOOL and facts.tool_name is None:
        facts.tool_name = view.name[: labels.MAX_NAME] or None


DIALECT = Dialect("langsmith", count=_count, refine=_refine, trusts_ok=False)

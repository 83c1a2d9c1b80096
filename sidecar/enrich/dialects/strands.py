"""Strands Agents: the conventions with content in span events and times in milliseconds."""

from __future__ import annotations

from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.semconv import name_by_span
from sidecar.enrich.facts import Error, ErrorKind, Facts
from sidecar.enrich.view import SpanView


def _refine(view: SpanView, facts: Facts) -> None:
    name_by_span(view, facts)
    milliseconds = view.float("gen_ai.server.time_to_first_token")
    if milliseconds is not None:
        facts.time_to_first_token_s = milliseconds / 1000 if milliseconds > 0 else None
    if facts.error is None and view.text("gen_ai.tool.status") == "error":
        facts.error = Error(ErrorKind.OTHER, "tool_error", "")


DIALECT = Dialect("strands", refine=_refine)

"""Pydantic AI (all versions of its instrumentation) and Logfire."""

from __future__ import annotations

from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.semconv import name_by_span
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView


def _kind(view: SpanView) -> Kind | None:
    if view.text("gen_ai.operation.name") is not None or view.text("gen_ai.tool.name") is not None:
        return None
    if "agent_name" in view or view.name == "agent run":
        return Kind.AGENT
    if view.name.startswith("running tool"):
        return Kind.CHAIN
    if "request_data" in view and view.has_prefix("gen_ai."):
        return Kind.GENERATION
    return None


def _refine(view: SpanView, facts: Facts) -> None:
    if facts.kind is Kind.AGENT:
        name_by_span(view, facts)
        if facts.output is not None and facts.output.keys == ("all_messages_events",):
            # Everything that was said is the input; without a result there is no output.
            facts.output = None
    elif facts.kind is Kind.TOOL and facts.tool_name is None:
        name_by_span(view, facts)


DIALECT = Dialect("pydantic-ai", kind=_kind, refine=_refine, outputs=("final_result",))

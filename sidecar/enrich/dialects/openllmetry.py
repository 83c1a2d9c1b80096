"""OpenLLMetry / Traceloop, with flat keys (to 0.4x) and with the conventions' (0.62): ``traceloop.*``, ``opentelemetry.instrumentation.*``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.keys import FIELDS
from sidecar.enrich.dialects.semconv import name_by_span, undeclared
from sidecar.enrich.dialects.tokens import Counts
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

_CLASSES = (("Tool.task", Kind.TOOL), ("Retriever.task", Kind.RETRIEVER), ("Rerank.task", Kind.RETRIEVER), ("Embedding.task", Kind.CHAIN))
"""LlamaIndex's spans are named after classes."""
_TOOL_NAME = re.compile(r'"tool_name": "([^"]{1,200})"')
NAME = "openllmetry"
_TRUE_NAME = "traceloop.association.properties.lc_agent_name"


def _kind(view: SpanView) -> Kind | None:
    # A run of any LangChain runnable is called invoke_agent; it is an agent's only if an agent's name goes with it.
    declared = view.text("traceloop.span.kind")
    if declared in ("workflow", "task") and view.text("gen_ai.operation.name") == "invoke_agent":
        return Kind.AGENT if view.text(_TRUE_NAME) is not None else Kind.CHAIN
    if declared == "task" and view.scope_name.endswith(".llamaindex") and view.text("gen_ai.operation.name") is None:
        return next((kind for suffix, kind in _CLASSES if view.name.endswith(suffix)), None)
    return None


def _count(view: SpanView, counts: Counts) -> None:
    # The Gemini instrumentations give the candidates' tokens as output; thoughts are only in the total.
    counts.gap_is_reasoning = (labels.label(view, FIELDS["model_answered"][1:2] + FIELDS["model_requested"][:1]) or "").startswith(
        ("gemini", "models/gemini")
    )


def _refine(view: SpanView, facts: Facts) -> None:
    if "traceloop.span.kind" not in view:
        # Instrumentations of the conventions share the scope's prefix.
        name_by_span(view, facts)
        return
    declared = view.text("traceloop.span.kind")
    entity = labels.label(view, ("traceloop.entity.name",))
    if declared == "agent" and entity is not None:
        facts.agent_name = labels.agent(entity)
    elif facts.kind is Kind.CHAIN and view.text(_TRUE_NAME) is None and view.text("gen_ai.operation.name") == "invoke_agent":
        facts.agent_name = facts.agent_id = None
    if facts.kind is Kind.TOOL and facts.tool_name is None and entity is not None:
        facts.tool_name = entity.removesuffix(".tool")
        if entity.endswith("Tool.task"):
            # LlamaIndex names the class; the tool's name is in what it returned.
            found = _TOOL_NAME.search(view.text("traceloop.entity.output") or "")
            facts.tool_name = found[1] if found else entity.removesuffix(".task")


def name_runs(spans: Sequence[tuple[SpanView, Facts]]) -> None:
    """Give a LangGraph run the name of the agent that ran: the run's own span only has the run's name, what is within it has both.

    ``spans`` are those of one batch.
    """
    runs = {
        (view.trace_id, view.span_id): facts
        for view, facts in spans
        if facts.dialect == NAME and facts.kind is Kind.AGENT and "gen_ai.workflow.nodes" in view and _TRUE_NAME not in view
    }
    if not runs:
        return
    for view, facts in spans:
        run = runs.get((view.trace_id, view.parent_id))
        if run is not None and facts.agent_name is not None and _TRUE_NAME in view:
            run.agent_name = facts.agent_name


DIALECT = Dialect(NAME, kind=_kind, undeclared=undeclared, count=_count, refine=_refine)

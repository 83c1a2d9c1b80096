"""Pydantic AI (all versions of its instrumentation), Logfire with what it instruments (OpenAI Agents), and Pydantic Evals."""

from __future__ import annotations

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.semconv import name_by_span
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

_TEMPLATES = (
    ("Agent run: ", Kind.AGENT),
    ("Function: ", Kind.TOOL),
    ("Guardrail ", Kind.GUARDRAIL),
    ("OpenAI Agents", Kind.CHAIN),
    ("Turn ", Kind.CHAIN),
    ("Task: ", Kind.CHAIN),
    ("Handoff: ", Kind.CHAIN),
    ("evaluator: ", Kind.EVALUATOR),
    ("evaluate ", Kind.CHAIN),
    ("case: ", Kind.CHAIN),
)
"""Logfire's spans say what they are in the template of their message only."""


def _kind(view: SpanView) -> Kind | None:
    if view.text("gen_ai.operation.name") is not None or view.text("gen_ai.tool.name") is not None:
        return None
    template = view.text("logfire.msg_template")
    kind = next((kind for start, kind in _TEMPLATES if template.startswith(start)), None) if template is not None else None
    if kind is not None:
        return kind
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
        facts.agent_name = facts.agent_name or labels.agent(labels.label(view, ("name",)))
        if facts.output is not None and facts.output.keys == ("all_messages_events",):
            # Everything that was said is the input; without a result there is no output.
            facts.output = None
    elif facts.kind is Kind.TOOL and facts.tool_name is None:
        name_by_span(view, facts)
        facts.tool_name = facts.tool_name or labels.label(view, ("name",))


DIALECT = Dialect("pydantic-ai", kind=_kind, refine=_refine, outputs=("final_result",))

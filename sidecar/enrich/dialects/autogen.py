"""AutoGen: agents and tools by the conventions, and its runtime's messages between agents (``autogen process <agent>``)."""

from __future__ import annotations

from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.semconv import name_by_span
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView


def _kind(view: SpanView) -> Kind | None:
    if view.text("gen_ai.operation.name") is not None:
        return None
    # An agent that handles a message is a step of the run; the rest is the runtime's queue.
    return Kind.CHAIN if view.text("recipient_agent_type") is not None else Kind.INFRA


def _refine(view: SpanView, facts: Facts) -> None:
    name_by_span(view, facts)
    if facts.agent_id is not None:
        facts.agent_id = facts.agent_id.partition("/")[0]


DIALECT = Dialect("autogen", kind=_kind, refine=_refine)

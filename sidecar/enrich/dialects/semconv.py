"""OpenTelemetry's GenAI conventions, of every generation: by hand, contrib instrumentations, Microsoft Agent Framework, Semantic Kernel."""

from __future__ import annotations

import re

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

_NAMED = re.compile(r"(invoke_agent |create_agent |execute_tool |tools/call |langchain4j\.tools\.)(\S.*)", re.DOTALL)
"""The conventions' span names (agents, tools, MCP) and LangChain4j's, for spans that carry no attributes or leave the name out."""
_AGENTS = frozenset(("invoke_agent ", "create_agent "))


def kind_by_name(view: SpanView) -> Kind | None:
    """What the span's name says by the conventions."""
    found = _NAMED.match(view.name)
    if found is None:
        return None
    return Kind.AGENT if found[1] in _AGENTS else Kind.TOOL


def name_by_span(view: SpanView, facts: Facts) -> None:
    """Fill the agent's or tool's name from the span's name."""
    if facts.kind is Kind.AGENT and facts.agent_name is None:
        found = _NAMED.match(view.name)
        if found and found[1] in _AGENTS:
            facts.agent_name = labels.agent(found[2])
    elif facts.kind is Kind.TOOL and facts.tool_name is None:
        found = _NAMED.match(view.name)
        if found and found[1] not in _AGENTS:
            facts.tool_name = found[2][: labels.MAX_NAME]


def undeclared(view: SpanView) -> Kind | None:
    """What a span without an operation is: an evaluation's keys, or its name, may tell."""
    return Kind.EVALUATOR if "gen_ai.evaluation.name" in view else kind_by_name(view)


DIALECT = Dialect("semconv", undeclared=undeclared, refine=name_by_span)

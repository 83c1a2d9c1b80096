"""OpenTelemetry's GenAI conventions, of every generation: by hand, contrib instrumentations, Microsoft Agent Framework, Semantic Kernel."""

from __future__ import annotations

import re

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

_NAMED = re.compile(r"(invoke_agent|create_agent|execute_tool) (\S.*)", re.DOTALL)
"""The conventions' span names, for spans that carry no attributes or leave the name out."""
_BY_NAME = {"invoke_agent": Kind.AGENT, "create_agent": Kind.AGENT, "execute_tool": Kind.TOOL}


def kind_by_name(view: SpanView) -> Kind | None:
    """What the span's name says by the conventions."""
    found = _NAMED.match(view.name)
    return _BY_NAME[found[1]] if found else None


def name_by_span(view: SpanView, facts: Facts) -> None:
    """Fill the agent's or tool's name from the span's name."""
    if facts.kind is Kind.AGENT and facts.agent_name is None:
        found = _NAMED.match(view.name)
        if found and found[1] != "execute_tool":
            facts.agent_name = labels.agent(found[2])
    elif facts.kind is Kind.TOOL and facts.tool_name is None:
        found = _NAMED.match(view.name)
        if found and found[1] == "execute_tool":
            facts.tool_name = found[2][: labels.MAX_NAME]


DIALECT = Dialect("semconv", refine=name_by_span)

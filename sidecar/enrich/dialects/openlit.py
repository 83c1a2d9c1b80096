"""OpenLIT: the conventions' keys with meanings of its own for cached tokens, costs, LangGraph's nodes and first tokens."""

from __future__ import annotations

import re

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.tokens import Counts
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

_INNER_NODES = frozenset(("model", "tools", "agent", "call_model", "call_tools", "__start__", "__end__", "default"))
"""Nodes of LangGraph's ready-made agent, which OpenLIT calls agents."""
_CALL = re.compile(r"chat (\S+)")
"""The name of a failed call, which has no attributes at all."""
_NO_NAMES = frozenset(("langgraph", "default", "workflow", "graph"))


def _kind(view: SpanView) -> Kind | None:
    operation = view.text("gen_ai.operation.name")
    if operation is None and _CALL.fullmatch(view.name):
        return Kind.GENERATION
    if operation == "invoke_agent" and view.text("gen_ai.agent.name") in _INNER_NODES:
        return Kind.CHAIN
    if operation is None and view.name.startswith("invoke_workflow"):
        return Kind.CHAIN
    return None


def _count(view: SpanView, counts: Counts) -> None:
    model = view.first("gen_ai.response.model", "gen_ai.request.model") or ""
    if view.text("gen_ai.provider.name") == "anthropic" or "claude" in model:
        counts.exclusive = True


def _refine(view: SpanView, facts: Facts) -> None:
    if view.bool("gen_ai.request.stream") is not True:
        facts.time_to_first_token_s = None
    if facts.is_call and facts.model_requested is None:
        found = _CALL.fullmatch(view.name)
        facts.model_requested = found[1][: labels.MAX_NAME] if found else None
    if facts.kind is Kind.CHAIN:
        facts.agent_name = facts.agent_id = None
        if view.scope_name.endswith(".langgraph"):
            # A ready-made agent is one graph with the agent's name.
            name = labels.agent(labels.label(view, ("gen_ai.workflow.name",)))
            facts.agent_name = name if name and name.lower() not in _NO_NAMES else None
    elif facts.agent_name is not None and facts.agent_name.lower() in _NO_NAMES:
        facts.agent_name = None


DIALECT = Dialect("openlit", kind=_kind, count=_count, refine=_refine)

"""MLflow tracing: values are JSON-encoded once more (``'"AGENT"'``), usage is one JSON object."""

from __future__ import annotations

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.langfuse_sdk import json_object
from sidecar.enrich.dialects.tokens import Counts, counts_in
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView


def _count(view: SpanView, counts: Counts) -> None:
    usage = json_object(view.text("mlflow.chat.tokenUsage"))
    if usage:
        found = counts_in(usage)
        for field in Counts.__struct_fields__:
            setattr(counts, field, getattr(found, field))


def _refine(view: SpanView, facts: Facts) -> None:
    if facts.kind is Kind.AGENT and facts.agent_name is None:
        facts.agent_name = labels.agent(view.name)
    elif facts.kind is Kind.TOOL and facts.tool_name is None:
        facts.tool_name = view.name[: labels.MAX_NAME] or None
    elif facts.is_call:
        facts.model_requested = labels.label(view, ("model",)) or facts.model_requested
    cost = json_object(view.text("mlflow.llm.cost"))
    total = cost.get("total_cost")
    if facts.cost_usd is None and isinstance(total, int | float) and not isinstance(total, bool) and total > 0:
        facts.cost_usd = float(total)


DIALECT = Dialect("mlflow", refine=_refine, count=_count)

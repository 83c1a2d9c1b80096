"""The Langfuse SDKs (Python 3 to 5, JavaScript): explicit observations, with usage and cost as JSON."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.tokens import Counts, counts_in
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

MAX_JSON = 16 * 1024
"""Characters of usage and cost details that are read; real ones are below 1 KiB."""

_OPENAI_SHAPE = frozenset(("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"))


def json_object(text: str | None) -> Mapping[str, object]:
    """A small JSON object; empty for anything else."""
    if text is None or len(text) > MAX_JSON:
        return {}
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _count(view: SpanView, counts: Counts) -> None:
    details = json_object(view.text("langfuse.observation.usage_details"))
    if not details:
        return
    found = counts_in(details)
    for field in Counts.__struct_fields__:
        setattr(counts, field, getattr(found, field))
    if not _OPENAI_SHAPE & details.keys():
        # Langfuse's own shape has disjoint buckets, unless the total shows that cached tokens are inside the input.
        inside = found.total is not None and found.total == (found.input or 0) + (found.output or 0)
        counts.exclusive = not (inside and (found.cache_read or found.cache_write))
        counts.reasoning_outside = not (inside and found.reasoning)


def _refine(view: SpanView, facts: Facts) -> None:
    details = json_object(view.text("langfuse.observation.cost_details"))
    costs = {name: float(value) for name, value in details.items() if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0}
    total = costs.pop("total", None)
    if total is None and costs:
        total = sum(costs.values())
    if total is not None and (total > 0 or facts.usage is not None):
        facts.cost_usd, facts.cost_details = total, costs
    if facts.kind is Kind.AGENT and facts.agent_name is None:
        facts.agent_name = labels.agent(view.name)
    elif facts.kind is Kind.TOOL and facts.tool_name is None:
        facts.tool_name = view.name[: labels.MAX_NAME] or None
    if view.text("langfuse.observation.level") in ("DEFAULT", "DEBUG", "WARNING") and facts.error is not None and view.status_code != 2:
        facts.error = None


DIALECT = Dialect("langfuse-sdk", count=_count, refine=_refine)

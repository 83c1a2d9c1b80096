"""What the keys of a span alone say about its shape: which of shaping's rules can apply at all. Pure.

Owns the questions that need no value, so that they are asked once for spans with equal keys. It must not change a span.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

import msgspec

from sidecar.enrich import keys as names

_COUNTED = (*names.MODELS, *names.COSTS, "genkit:output", "gcp.vertex.agent.llm_response")
"""Attributes of which any makes the server look for a model, tokens or a cost; beside USAGE_PREFIXES."""
_FIRST = tuple(f"\n{prefix}" for prefix in names.USAGE_PREFIXES)


class Traits(msgspec.Struct, frozen=True, gc=False):
    """Answers for spans with the same keys."""

    is_explicit: bool
    """A key begins with ``langfuse.``: an agent or an SDK speaks to Langfuse itself."""
    speaks: bool
    """A key says something of the whole trace."""
    has_environment: bool
    models: tuple[str, ...]
    """Keys that the server takes a model's name from, in its order, without the explicit one."""
    is_counted: bool
    """The server looks for a model, tokens or a cost."""
    has_cost: bool
    """Of another convention than Langfuse's."""
    has_instructions: bool
    has_tool: bool
    has_user: bool
    has_session: bool
    has_trace_name: bool
    has_tags: bool


def traits_of(keys: Collection[str]) -> Traits:
    """The traits of spans with these keys."""
    there: AbstractSet[str] = keys if isinstance(keys, AbstractSet) else set(keys)
    lines = "\n".join(("", *keys))

    def any_of(wanted: tuple[str, ...]) -> bool:
        return not there.isdisjoint(wanted)

    return Traits(
        is_explicit="\nlangfuse." in lines,
        speaks="\nlangfuse.trace." in lines or not there.isdisjoint(names.SPEAKING),
        has_environment=any_of(names.ENVIRONMENTS),
        models=tuple(key for key in names.MODELS[1:] if key in there),
        is_counted=any_of(_COUNTED) or any(prefix in lines for prefix in _FIRST),
        has_cost=any_of(names.COSTS),
        has_instructions=names.SYSTEM_INSTRUCTIONS in there,
        has_tool=names.TOOL_NAME in there,
        has_user=any_of(names.ALIASES[names.USER_ID]),
        has_session=any_of(names.ALIASES[names.SESSION_ID]),
        has_trace_name=names.TRACE_NAME in there,
        has_tags=any_of(names.ALIASES[names.TRACE_TAGS]),
    )

"""What the keys of a span alone say about its shape: which of shaping's rules can apply at all. Pure.

Owns the questions that need no value, so that they are asked once for spans with equal keys. It must not change a span.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

import msgspec

from sidecar.enrich import keys as names
from sidecar.wire.attributes import VALUE

_COUNTED = (*names.MODELS, *names.COSTS, "genkit:output", "gcp.vertex.agent.llm_response")
"""Attributes of which any makes the server look for a model, tokens or a cost; beside USAGE_PREFIXES."""
_TRACE = "langfuse.trace."
_FIRST = tuple(f"\n{prefix}" for prefix in names.USAGE_PREFIXES)


class Traits(msgspec.Struct, frozen=True, gc=False):
    """Answers for spans with the same keys."""

    is_explicit: bool
    """A key begins with ``langfuse.``: an agent or an SDK speaks to Langfuse itself."""
    speaks_by: tuple[bytes, ...]
    """How the keys begin by which it says something of the whole trace, and, if there are any, those of an agent; each once."""
    speaks_at: tuple[tuple[int, bytes], ...]
    """The same keys: the position of each among the keys, and the key with the tag that follows it in a serialized attribute."""
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

    speaks_by = _speaks_by(keys, lines)
    return Traits(
        is_explicit="\nlangfuse." in lines,
        speaks_by=speaks_by,
        speaks_at=_speaks_at(keys, speaks_by) if speaks_by else (),
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


def _speaks_by(keys: Collection[str], lines: str) -> tuple[bytes, ...]:
    found = [key for key in keys if key in names.SPEAKING and not key.startswith(_TRACE)]
    if f"\n{_TRACE}" in lines:
        found.append(_TRACE)
    if found and f"\n{names.AGENT_METADATA}" in lines:
        found.append(names.AGENT_METADATA)
    return tuple(key.encode() for key in found)


def _speaks_at(keys: Collection[str], speaks_by: tuple[bytes, ...]) -> tuple[tuple[int, bytes], ...]:
    encoded = [key.encode(errors="replace") for key in keys]
    return tuple((position, key + VALUE) for position, key in enumerate(encoded) if key.startswith(speaks_by))

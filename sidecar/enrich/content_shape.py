"""Input and output of a span where Langfuse shows them. Pure.

Owns ``langfuse.observation.input`` and ``.output``. The server (4.16) reads one convention only: with either of the two
set it reads no other and throws the keys of all others away. So both are written or neither, and what carried the content
is removed, not kept: every prompt would be masked, stored and sent twice. Nothing explicit is overwritten.
"""

from __future__ import annotations

from sidecar.enrich.edit import Edit
from sidecar.enrich.facts import Content, Facts
from sidecar.enrich.keys import INPUT, METADATA, OUTPUT, SYSTEM_INSTRUCTIONS
from sidecar.wire.shallow_pb2 import Span

_EVENT = "event:"
_GENERIC = ("prompt", "input", "output", "events", SYSTEM_INSTRUCTIONS)
"""Names that the server takes for content on any span, and so throws away when it is told the content."""
_NEEDED_BY = ("gen_ai.input.messages", "pydantic_ai.all_messages")
"""The server shows system instructions in front of these only, and loses them otherwise."""


def shape_content(edit: Edit, span: Span, facts: Facts) -> None:
    """Promote the content where the server's own mapping falls short, with its carriers removed."""
    asked, answered = found = facts.input, facts.output
    explicit_input, explicit_output = edit.has(INPUT), edit.has(OUTPUT)
    if not explicit_input and not explicit_output and (asked is None or asked.native) and (answered is None or answered.native):
        _keep_instructions(edit, facts)
        return
    carriers: set[str] = set()
    events: set[str] = set()
    for key, content, is_explicit in ((INPUT, facts.input, explicit_input), (OUTPUT, facts.output, explicit_output)):
        if content is None or is_explicit:
            continue
        edit.put(key, content.text)
        for carrier in content.keys:
            if carrier.startswith(_EVENT):
                events.add(carrier.removeprefix(_EVENT))
            elif not carrier.startswith("langfuse."):
                carriers.add(carrier)
    for carrier in carriers:
        edit.remove(carrier)
    if events:
        _remove_events(span, events)
    for key in _GENERIC:
        if edit.has(key) and not _carries(found, key):
            _to_metadata(edit, key)


def _keep_instructions(edit: Edit, facts: Facts) -> None:
    if edit.traits.has_instructions and not _carries((facts.input,), SYSTEM_INSTRUCTIONS) and not edit.has_any(_NEEDED_BY):
        _to_metadata(edit, SYSTEM_INSTRUCTIONS)


def _carries(contents: tuple[Content | None, ...], key: str) -> bool:
    return any(content is not None and key in content.keys for content in contents)


def _to_metadata(edit: Edit, key: str) -> None:
    value = edit.view.text(key)
    if value is not None:
        edit.put(f"{METADATA}.{key}", value)
        edit.remove(key)


def _remove_events(span: Span, names: set[str]) -> None:
    kept = [event for event in span.events if event.name.decode(errors="replace") not in names]
    if len(kept) < len(span.events):
        del span.events[:]
        span.events.extend(kept)

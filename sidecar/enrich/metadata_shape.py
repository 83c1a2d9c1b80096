"""What Langfuse throws away, said again as metadata, where it is shown. Pure.

The server (4.16) stores neither a span's kind nor its trace state, links, dropped counts and events, exceptions included,
but for the events that carry prompts and completions; and of spans of its own SDK it stores no attribute that it does not
map. Owns the copies. They are bounded: what is long is cut, what is many is counted.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sidecar.enrich.cutting import cut_text
from sidecar.enrich.edit import Edit
from sidecar.enrich.keys import METADATA
from sidecar.enrich.plain import to_json
from sidecar.enrich.times import iso
from sidecar.wire.attributes import Value, decode, encode_string
from sidecar.wire.shallow_pb2 import Span

SPAN_KIND = f"{METADATA}.span_kind"
TRACE_STATE = f"{METADATA}.trace_state"
EVENTS = f"{METADATA}.span_events"
LINKS = f"{METADATA}.span_links"
DROPPED = f"{METADATA}.span_dropped"

CONTENT_EVENTS = frozenset(
    {
        b"gen_ai.system.message",
        b"gen_ai.user.message",
        b"gen_ai.assistant.message",
        b"gen_ai.tool.message",
        b"gen_ai.choice",
        b"gen_ai.content.prompt",
        b"gen_ai.content.completion",
        b"gen_ai.client.inference.operation.details",
    }
)
"""Shown as input and output."""
MAX_EVENTS = MAX_LINKS = 32
MAX_TEXT_BYTES = 16 * 1024
"""Of one value of an event or a link: a stack trace fits. 32 events x 16 KiB x a few values: the content limits bound the rest."""
_KINDS = {number: encode_string(SPAN_KIND, name) for number, name in ((2, "server"), (3, "client"), (4, "producer"), (5, "consumer"))}
"""Internal is what a span is unless it says something else."""
_SDK = "langfuse-sdk"
_READ_ANYWAY = ("langfuse.", "user.id", "session.id", "ai.telemetry.metadata", "gen_ai.prompt", "gen_ai.completion")


def keep(edit: Edit, span: Span) -> None:
    """Add to the span's metadata what the server will not store of it. A key that the agent set itself is left as it is."""
    kind = _KINDS.get(span.kind)
    if kind is not None and SPAN_KIND not in edit.view.keys:
        edit.put_raw(SPAN_KIND, kind)
    if span.trace_state:
        _put(edit, TRACE_STATE, span.trace_state.decode(errors="replace"))
    if edit.view.has_events:
        _keep_events(edit, span)
    if span.links:
        _keep_links(edit, span)
    if span.dropped_attributes_count or span.dropped_events_count or span.dropped_links_count:
        _keep_dropped(edit, span)
    if edit.view.scope_name.startswith(_SDK):
        _keep_foreign(edit)


def _put(edit: Edit, key: str, text: str) -> None:
    if not edit.has(key):
        edit.put(key, text)


def _keep_events(edit: Edit, span: Span) -> None:
    events = [event for event in span.events if event.name not in CONTENT_EVENTS and (event.attributes or event.name == b"exception")]
    if not events:
        return
    # Exceptions first: a stream of chunks must not push them out.
    events.sort(key=lambda event: event.name != b"exception")
    said: list[dict[str, object]] = [
        {
            "name": event.name.decode(errors="replace"),
            "time": iso(event.time_unix_nano),
            "attributes": _attributes(event.attributes),
        }
        for event in events[:MAX_EVENTS]
    ]
    if len(events) > MAX_EVENTS:
        said.append({"left_out": len(events) - MAX_EVENTS})
    _put(edit, EVENTS, msgspec.json.encode(said).decode())


def _keep_links(edit: Edit, span: Span) -> None:
    links = list(span.links)
    said: list[dict[str, object]] = [
        {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex(), "attributes": _attributes(link.attributes)} for link in links[:MAX_LINKS]
    ]
    if len(links) > MAX_LINKS:
        said.append({"left_out": len(links) - MAX_LINKS})
    _put(edit, LINKS, msgspec.json.encode(said).decode())


def _keep_dropped(edit: Edit, span: Span) -> None:
    counts = {"attributes": span.dropped_attributes_count, "events": span.dropped_events_count, "links": span.dropped_links_count}
    _put(edit, DROPPED, msgspec.json.encode({name: count for name, count in counts.items() if count}).decode())


def _attributes(attributes: Iterable[bytes]) -> dict[str, object]:
    return {key: _bounded(value) for key, value in map(decode, attributes)}


def _bounded(value: Value) -> object:
    if isinstance(value, str):
        return cut_text(value, MAX_TEXT_BYTES)
    if isinstance(value, bytes | list | dict):
        return cut_text(to_json(value), MAX_TEXT_BYTES)
    return value


def _keep_foreign(edit: Edit) -> None:
    """Attributes of other conventions on a span of Langfuse's SDK."""
    for key in list(edit.view.keys):
        if not key.startswith(_READ_ANYWAY) and edit.has(key):
            value = edit.view.get(key)
            if value is not None:
                _put(edit, f"{METADATA}.{key}", value if isinstance(value, str) else to_json(value))

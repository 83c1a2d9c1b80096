"""Read access to one span: its attributes by key, its events, status, scope and resource. Pure.

Owns the reading of values as the types that dialects ask for. It must not know what any key means, nor change the span.
The span has been mended: every attribute can be decoded and is valid UTF-8.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterable, Iterator, KeysView
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from sidecar.enrich.traits import Traits
from sidecar.wire.attributes import AttributeMemo, Value, find
from sidecar.wire.shallow_pb2 import Event, InstrumentationScope, Resource, Span

MAX_DIGITS = 19
"""Digits of a 64-bit integer: a longer string is no count."""


class AttributeView:
    """Attributes by key. Of a key that occurs twice the last value counts, as for Langfuse.

    Everything is decoded at once: of long values dialects ask for two in three, five sixths of their bytes, and so ``get`` can be
    the dict's own method. A view holds the text of its span once more; a text with one character beyond Latin-1 takes two or
    four bytes for each.
    """

    __slots__ = ("_lines", "get", "keys", "odd", "values")

    get: Callable[[str], Value | None]
    """The value; None when there is none or it is empty. Lists and maps are the view's own: don't change them."""
    values: dict[str, Value]
    """Every value by key, not to be changed."""
    keys: KeysView[str]
    """Every key, in order of first appearance."""
    odd: list[tuple[bytes, str, Value]]
    """What is not plain (``is_plain``), as it is serialized, with its key and value; of an entry that occurs twice, twice."""

    def __init__(self, attributes: Iterable[bytes], memo: AttributeMemo) -> None:
        values, self.odd = memo.read(attributes)
        self.values = values
        self.get = values.get
        self.keys = values.keys()
        self._lines: str | None = None

    def __contains__(self, key: str) -> builtins.bool:
        return key in self.values

    def text(self, key: str) -> str | None:
        """A string that is not empty, else None."""
        value = self.get(key)
        return value if value.__class__ is str and value else None

    def first(self, *keys: str) -> str | None:
        """The first of several strings that is there and not empty."""
        get = self.get
        for key in keys:
            value = get(key)
            if value.__class__ is str and value:
                return value
        return None

    def int(self, key: str) -> builtins.int | None:
        """An integer: as such, as an integral float, or as a string of decimal digits; else None."""
        value = self.get(key)
        if value is None or value.__class__ is int:
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str) and value.isdecimal() and len(value) <= MAX_DIGITS:
            return int(value)
        return None

    def float(self, key: str) -> builtins.float | None:
        """A finite number: as such, or as a string of one; else None."""
        value = self.get(key)
        if value is None or value is True or value is False or not isinstance(value, int | float | str):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None

    def bool(self, key: str) -> builtins.bool | None:
        """A bool: as such, or as the word ``true`` or ``false`` in any case; else None."""
        value = self.get(key)
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            return {"true": True, "false": False}.get(value.lower())
        return None

    @property
    def lines(self) -> str:
        """Every key, each with a line break before it."""
        lines = self._lines
        if lines is None:
            lines = self._lines = "\n".join(("", *self.values))
        return lines

    def has_prefix(self, prefix: str) -> builtins.bool:
        """Whether any key starts so."""
        return "\n" + prefix in self.lines

    def items_with_prefix(self, prefix: str) -> Iterator[tuple[str, Value | None]]:
        """Keys that start so, with their values."""
        for key in list(self.values):
            if key.startswith(prefix):
                yield key, self.get(key)


class EventView(NamedTuple):
    """One event of a span."""

    name: str
    time_unix_nano: int
    attributes: AttributeView


class SpanView(AttributeView):
    """One span: its own attributes are the view's own; what is around them is decoded when it is asked for.

    A change of the span after the view was made is not seen.
    """

    __slots__ = ("_attributes", "_events", "_memo", "_name", "_resource", "_scope", "scope_name", "span", "traits")

    span: Span
    """Who only reads goes by the view."""
    traits: Traits | None
    """What follows from the keys alone, where somebody has worked it out for spans with the same keys."""

    def __init__(self, span: Span, scope: InstrumentationScope, resource: Resource, memo: AttributeMemo) -> None:
        self._attributes = span.attributes  # kept for its wrapper, which takes longer to make than a span's other fields to read
        AttributeView.__init__(self, self._attributes, memo)
        self.span = span
        self._name: str | None = None
        self._events = span.events
        self._scope = scope
        self._resource = resource
        self._memo = memo
        self.traits = None
        self.scope_name = scope.name.decode("utf-8", "replace")
        """Name of the instrumentation scope; empty when there is none."""

    @property
    def scope_version(self) -> str:
        return self._scope.version.decode(errors="replace")

    def resource(self, key: str) -> Value | None:
        """A value of the resource; None when there is none or it is empty."""
        return find(self._resource.attributes, key.encode())

    @property
    def name(self) -> str:
        name = self._name
        if name is None:
            name = self._name = self.span.name.decode("utf-8", "replace")
        return name

    @property
    def kind(self) -> builtins.int:
        """OTLP's SpanKind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""
        return self.span.kind

    @property
    def start_ns(self) -> builtins.int:
        return self.span.start_time_unix_nano

    @property
    def end_ns(self) -> builtins.int:
        return self.span.end_time_unix_nano

    @property
    def duration_s(self) -> builtins.float:
        span = self.span
        return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9

    @property
    def trace_id(self) -> bytes:
        return self.span.trace_id

    @property
    def span_id(self) -> bytes:
        return self.span.span_id

    @property
    def parent_id(self) -> bytes:
        """Empty for a root."""
        return self.span.parent_span_id

    @property
    def is_root(self) -> builtins.bool:
        return not self.span.parent_span_id

    @property
    def status_code(self) -> builtins.int:
        """OTLP's StatusCode: 0 unset, 1 ok, 2 error."""
        return self.span.status.code

    @property
    def status_message(self) -> str:
        return self.span.status.message.decode(errors="replace")

    def find_events(self, names: AbstractSet[bytes]) -> list[EventView]:
        """The events with one of these names, in the span's order; the others (a stream's chunks, mostly) are not opened."""
        return [self._event(event) for event in self._events if event.name in names] if self._events else []

    def first_event_ns(self, names: AbstractSet[bytes]) -> builtins.int | None:
        """When the first of the events with these names happened (Unix time); None when there is none."""
        for event in self._events:
            if event.name in names:
                return event.time_unix_nano
        return None

    @property
    def has_events(self) -> builtins.bool:
        """Whether the span has any event now."""
        return bool(self._events)

    def _event(self, event: Event) -> EventView:
        return EventView(event.name.decode(errors="replace"), event.time_unix_nano, AttributeView(event.attributes, self._memo))

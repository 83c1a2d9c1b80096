"""Content limits: a value or a span that is too large is cut, never dropped. Pure.

Owns the bounds of a span's values and of the whole span, and the mark on a span of what was cut. It runs after masking,
because half a secret no longer looks like one. It must not know how a text is cut (cutting.py) nor what its key means.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.internal.containers import RepeatedScalarFieldContainer

from sidecar.enrich.cutting import MIN_LIMIT, cut_text, size
from sidecar.enrich.keys import CUT
from sidecar.enrich.plain import to_json
from sidecar.wire.attributes import KEY, decode, delimited, encode_string
from sidecar.wire.shallow_pb2 import Span

MAX_NAMED, MAX_NAME_CHARS = 12, 96
"""Keys that the mark names: 12 x (96 ASCII characters + quotes and a number of up to 12) stay below 1.5 KB."""
_CUT_HEAD = delimited(KEY, CUT.encode())
_MARK_ROOM = 2048
"""Bytes kept free for the mark, and for what entries have beside their values."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of UTF-8. The defaults are the settings' defaults."""

    max_value_bytes: int = 256 * 1024
    max_span_bytes: int = 1024 * 1024
    """All attributes of the span and of its events, its name and its status message together."""


class Cut(NamedTuple):
    """What was cut on one span."""

    values: int
    """Values that were shortened."""
    bytes: int
    """Bytes that the span lost."""
    dropped: int
    """Attributes and events left out because even their beginnings would not fit."""


NOTHING = Cut(0, 0, 0)


def cut_span(span: Span, limits: Limits) -> Cut:
    """Cut what is over the limits, in place, and mark the span with ``sidecar_cut``: keys and the bytes they had.

    Costs 1 us where nothing is over. Lists and maps that are cut become JSON strings. Raises nothing.
    """
    if span.ByteSize() <= min(limits.max_value_bytes, limits.max_span_bytes - _MARK_ROOM):
        return NOTHING
    before = _sizes(span)
    total = sum(before)
    cap = limits.max_value_bytes
    if total > limits.max_span_bytes - _MARK_ROOM:
        cap = min(cap, _fair_share(before, limits.max_span_bytes - _MARK_ROOM))
    cap = max(cap, MIN_LIMIT)
    cut: dict[str, int] = {}
    values = _cut_entries(span.attributes, cap, cut, "")
    for event in span.events:
        values += _cut_entries(event.attributes, cap, cut, "event ")
    values += _cut_own_texts(span, cap, cut)
    dropped = _drop(span, limits.max_span_bytes - _MARK_ROOM)
    if not values and not dropped:
        return NOTHING
    lost = total - sum(_sizes(span))
    _mark(span, cut, dropped)
    return Cut(values, lost, dropped)


def _sizes(span: Span) -> list[int]:
    sizes = [len(raw) for raw in span.attributes]
    for event in span.events:
        sizes += [len(raw) for raw in event.attributes]
        sizes.append(len(event.name))
    sizes += (len(span.name), len(span.status.message))
    return sizes


def _fair_share(sizes: Sequence[int], room: int) -> int:
    """The size to which the largest must be cut so that all fit; small ones stay whole."""
    falling = sorted(sizes, reverse=True)
    rest = sum(falling)
    for count, length in enumerate(falling, start=1):
        rest -= length
        share = (room - rest) // count
        if share >= (falling[count] if count < len(falling) else 0):
            return share
    return 0


def _cut_entries(attributes: RepeatedScalarFieldContainer[bytes], cap: int, cut: dict[str, int], place: str) -> int:
    values = 0
    for index, raw in enumerate(attributes):
        if len(raw) <= cap:
            continue
        key, value = decode(raw)
        text = value if isinstance(value, str) else to_json(value)
        length = size(text)
        if length <= cap - min(len(key), cap // 2):
            continue
        name = place + key[:MAX_NAME_CHARS]
        cut[name] = length
        attributes[index] = encode_string(key[:cap], cut_text(text, max(cap - min(size(key), cap // 2), MIN_LIMIT)))
        values += 1
    return values


def _cut_own_texts(span: Span, cap: int, cut: dict[str, int]) -> int:
    values = 0
    if len(span.name) > cap:
        cut["span name"] = len(span.name)
        span.name = cut_text(span.name.decode(errors="replace"), cap).encode()
        values += 1
    if len(span.status.message) > cap:
        cut["status message"] = len(span.status.message)
        span.status.message = cut_text(span.status.message.decode(errors="replace"), cap).encode()
        values += 1
    return values


def _drop(span: Span, room: int) -> int:
    """Leave out events, oldest first, then attributes, last first but Langfuse's own, until the span fits."""
    over = sum(_sizes(span)) - room
    if over <= 0:
        return 0
    events = 0
    for event in span.events:
        if over <= 0:
            break
        over -= len(event.name) + sum(map(len, event.attributes))
        events += 1
    del span.events[:events]
    span.dropped_events_count += events
    kept = list(span.attributes)
    attributes = 0
    for index in range(len(kept) - 1, -1, -1):
        if over <= 0:
            break
        if b"langfuse." not in kept[index][:12]:
            over -= len(kept[index])
            del kept[index]
            attributes += 1
    if attributes:
        span.attributes[:] = kept
        span.dropped_attributes_count += attributes
    return events + attributes


def _mark(span: Span, cut: dict[str, int], dropped: int) -> None:
    named = dict(list(cut.items())[:MAX_NAMED])
    if len(cut) > MAX_NAMED:
        named["other values"] = len(cut) - MAX_NAMED
    if dropped:
        named["left out"] = dropped
    for index, raw in enumerate(span.attributes):
        if raw.startswith(_CUT_HEAD):
            del span.attributes[index]
            break
    span.attributes.append(encode_string(CUT, json.dumps(named, ensure_ascii=False, separators=(",", ":"))))

"""Mending: what a malformed request needs so that Langfuse neither refuses nor silently drops it.

Langfuse's server answers 400 for a whole request when one span has no id, and answers 200 and then
drops a whole request when one attribute has no value. So every item is mended where that is
possible without guessing, and a span without usable ids is rejected alone. Afterwards the request
passes the strict schema. It must not change anything that is well-formed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from google.protobuf.internal.containers import RepeatedScalarFieldContainer
from google.protobuf.message import Message

from sidecar.wire import repair
from sidecar.wire.attributes import delimited
from sidecar.wire.batch import SpanBatch, is_clean
from sidecar.wire.shallow_pb2 import ResourceSpans, ScopeSpans, Span


class Rejection(StrEnum):
    """Why a span can't be kept."""

    TRACE_ID = "invalid_trace_id"
    SPAN_ID = "invalid_span_id"
    MALFORMED = "malformed_span"
    """Only OTLP/JSON: a field of the span has a value that its type does not allow."""


class Mend(StrEnum):
    """What was mended, as a metric label."""

    PARENT_SPAN_ID = "parent_span_id"
    """An all-zero or wrong-length parent id was cleared; else a root would become an orphan."""
    END_TIME = "end_time"
    """A missing end, or one before the start, became the start."""
    START_TIME = "start_time"
    """A missing start became the end."""
    LINK = "link"
    """A link with malformed ids was dropped."""
    NO_VALUE = "attribute_without_value"
    """An attribute without a value, or such a pair inside a key-value list, was dropped."""
    INVALID_UTF8 = "invalid_utf8"
    """Invalid UTF-8 in a string was replaced by U+FFFD."""
    UNREADABLE = "unreadable_attribute"
    """An attribute that is no KeyValue, or nests deeper than protobuf's limit of 100 messages, was dropped."""
    UNKNOWN_FIELDS = "unknown_fields"
    """Fields of a resource that the sidecar does not know hold invalid UTF-8 and were dropped."""


TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8
_NO_TRACE_ID, _NO_SPAN_ID = bytes(TRACE_ID_BYTES), bytes(SPAN_ID_BYTES)

# Tags from a message outwards to the request, to ask the strict schema about one message at the depth where it stands.
_IN_RESOURCE_SPANS = (b"\x0a",)
_IN_SCOPE_SPANS = (b"\x12", *_IN_RESOURCE_SPANS)
_RESOURCE = (b"\x0a", *_IN_RESOURCE_SPANS)
_SCOPE = (b"\x0a", *_IN_SCOPE_SPANS)
_SPAN = (b"\x12", *_IN_SCOPE_SPANS)
_EVENT = (b"\x5a", *_SPAN)
_LINK = (b"\x6a", *_SPAN)


def mend(batch: SpanBatch) -> None:
    """Mend what can be mended and remove the spans that can't be kept; counts and problems go to the batch.

    In a clean batch only ids and times are looked at. Raises nothing.
    """
    for index, resource_spans in enumerate(batch.request.resource_spans):
        if not batch.clean:
            _mend_resource_spans(resource_spans, batch)
        for scope_index, scope_spans in enumerate(resource_spans.scope_spans):
            if not batch.clean:
                _mend_scope_spans(scope_spans, batch)
            _mend_spans(scope_spans, batch, f"resourceSpans[{index}].scopeSpans[{scope_index}]")
    batch.clean = True


def _mend_spans(scope_spans: ScopeSpans, batch: SpanBatch, path: str) -> None:
    rejected: set[int] = set()
    for index, span in enumerate(scope_spans.spans):
        trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_span_id
        if len(trace_id) != TRACE_ID_BYTES or trace_id == _NO_TRACE_ID:
            batch.reject(Rejection.TRACE_ID, f"{path}.spans[{index}].traceId {_id_fault(trace_id, TRACE_ID_BYTES)}")
            rejected.add(index)
            continue
        if len(span_id) != SPAN_ID_BYTES or span_id == _NO_SPAN_ID:
            batch.reject(Rejection.SPAN_ID, f"{path}.spans[{index}].spanId {_id_fault(span_id, SPAN_ID_BYTES)}")
            rejected.add(index)
            continue
        if parent_id and (len(parent_id) != SPAN_ID_BYTES or parent_id == _NO_SPAN_ID):
            span.ClearField("parent_span_id")
            batch.mends[Mend.PARENT_SPAN_ID] += 1
        start_ns, end_ns = span.start_time_unix_nano, span.end_time_unix_nano
        if end_ns < start_ns:
            span.end_time_unix_nano = start_ns
            batch.mends[Mend.END_TIME] += 1
        elif not start_ns and end_ns:
            span.start_time_unix_nano = end_ns
            batch.mends[Mend.START_TIME] += 1
        if span.links:
            _mend_links(span, batch)
        if not batch.clean:
            _mend_span(span, batch)
    if rejected:
        kept = [span for index, span in enumerate(scope_spans.spans) if index not in rejected]
        scope_spans.ClearField("spans")
        scope_spans.spans.extend(kept)  # linear; deleting one by one would move all that follow each time


def _id_fault(wrong_id: bytes, size: int) -> str:
    return "is all zero" if len(wrong_id) == size else f"has {len(wrong_id)} bytes instead of {size}"


def _mend_links(span: Span, batch: SpanBatch) -> None:
    kept = [link for link in span.links if _is_id(link.trace_id, _NO_TRACE_ID) and _is_id(link.span_id, _NO_SPAN_ID)]
    dropped = len(span.links) - len(kept)
    if dropped:
        span.ClearField("links")
        span.links.extend(kept)
        batch.mends[Mend.LINK] += dropped


def _is_id(candidate: bytes, zero: bytes) -> bool:
    return len(candidate) == len(zero) and candidate != zero


def _mend_resource_spans(resource_spans: ResourceSpans, batch: SpanBatch) -> None:
    resource = resource_spans.resource
    if not _is_intact(resource, _RESOURCE):
        _mend_attributes(resource.attributes, _RESOURCE, b"\x0a", batch)
        if not _is_intact(resource, _RESOURCE):
            resource.DiscardUnknownFields()
            batch.mends[Mend.UNKNOWN_FIELDS] += 1
    _mend_texts(resource_spans, ("schema_url",), batch)


def _mend_scope_spans(scope_spans: ScopeSpans, batch: SpanBatch) -> None:
    scope = scope_spans.scope
    if not _is_intact(scope, _SCOPE):
        _mend_texts(scope, ("name", "version"), batch)
        _mend_attributes(scope.attributes, _SCOPE, b"\x1a", batch)
    _mend_texts(scope_spans, ("schema_url",), batch)


def _mend_span(span: Span, batch: SpanBatch) -> None:
    if _is_intact(span, _SPAN):
        return
    _mend_texts(span, ("name", "trace_state"), batch)
    _mend_texts(span.status, ("message",), batch)
    _mend_attributes(span.attributes, _SPAN, b"\x4a", batch)
    for event in span.events:
        _mend_texts(event, ("name",), batch)
        _mend_attributes(event.attributes, _EVENT, b"\x1a", batch)
    for link in span.links:
        _mend_texts(link, ("trace_state",), batch)
        _mend_attributes(link.attributes, _LINK, b"\x22", batch)


def _mend_texts(message: Message, names: Sequence[str], batch: SpanBatch) -> None:
    for name in names:
        raw: bytes = getattr(message, name)
        mended = repair.utf8(raw)
        if mended != raw:
            setattr(message, name, mended)
            batch.mends[Mend.INVALID_UTF8] += 1


def _mend_attributes(attributes: RepeatedScalarFieldContainer[bytes], path: tuple[bytes, ...], tag: bytes, batch: SpanBatch) -> None:
    before = list(attributes)
    after = list(_mended(before, (tag, *path), batch))
    if after != before:
        attributes[:] = after


def _mended(attributes: Sequence[bytes], path: tuple[bytes, ...], batch: SpanBatch) -> Iterator[bytes]:
    for raw in attributes:
        if _is_clean_at(raw, path):
            yield raw
            continue
        repairing = repair.Repair()
        try:
            mended = repairing.key_value(raw)
        except repair.WithoutValue:
            batch.mends[Mend.NO_VALUE] += 1
            continue
        except repair.Unreadable:
            mended = b""
        if not mended or not _is_clean_at(mended, path):
            batch.mends[Mend.UNREADABLE] += 1
            continue
        if repairing.invalid_utf8:
            batch.mends[Mend.INVALID_UTF8] += 1
        if repairing.without_value:
            batch.mends[Mend.NO_VALUE] += 1
        yield mended


def _is_intact(message: Message, path: tuple[bytes, ...]) -> bool:
    return _is_clean_at(message.SerializeToString(), path)


def _is_clean_at(payload: bytes, path: tuple[bytes, ...]) -> bool:
    for tag in path:
        payload = delimited(tag, payload)
    return is_clean(payload)

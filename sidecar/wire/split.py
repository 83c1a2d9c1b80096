"""Splitting a request by trace into what becomes rows, and joining rows into batches.

Owns the composition of requests from serialized parts: a request is the concatenation of its
resource spans, each a head (resource, schema url, unknown fields) and its scope spans, each a head
and its spans. So every span is serialized once, whatever the number of traces. It must not look
into attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from isal import isal_zlib

from sidecar.wire.attributes import delimited, varint
from sidecar.wire.batch import SpanBatch
from sidecar.wire.rows import NewRow
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest, ResourceSpans, ScopeSpans
from sidecar.wire.tracestate import explicit_randomness, randomness_of, threshold

GZIP_LEVEL = 1
_GZIP_WINDOW_BITS = 31  # 15 for the window, 16 for the gzip container, whose time stamp isal leaves 0
_RESOURCE_SPANS, _SCOPE_SPANS, _SPAN = b"\x0a", b"\x12", b"\x12"

DestinationOf = Callable[[ResourceSpans], str]


@dataclass(frozen=True, slots=True)
class TraceSlice:
    """The spans of one trace out of one request, bound for one destination."""

    trace_id: bytes
    destination: str
    spans: int
    has_root: bool
    """One of the spans has no parent."""
    randomness: int
    """R, 56 bits: `rv` of the first span whose trace state has one, else the low bits of the trace id."""
    threshold: int
    """T, 56 bits: the highest `th` among the spans; 0 when none has one."""
    payload: bytes
    """A complete serialized ExportTraceServiceRequest."""


@dataclass(slots=True)
class _Slice:
    """A slice that is being collected."""

    spans: int = 0
    has_root: bool = False
    randomness: int | None = None
    threshold: int = 0
    pieces: list[bytes] = field(default_factory=list)
    """The request, to be joined."""

    def note_trace_state(self, trace_state: bytes) -> None:
        if self.randomness is None:
            self.randomness = explicit_randomness(trace_state)
        self.threshold = max(self.threshold, threshold(trace_state) or 0)


_Groups = dict[tuple[str, bytes], _Slice]
_Pieces = dict[bytes, list[bytes]]
"""By trace id."""


def slices(batch: SpanBatch, destination_of: DestinationOf | str) -> list[TraceSlice]:
    """One slice a trace and destination, in the order in which they first occur. **Consumes the batch**: its request is empty afterwards.

    Every span stays under its own resource and scope; unknown fields are kept, empty envelopes are
    not. ``destination_of`` is asked once per resource spans; a plain name is the destination of all.
    Fields of the request itself that are not known stay with the first slice.
    """
    groups: _Groups = {}
    request = batch.request
    all_resource_spans = list(request.resource_spans)
    request.ClearField("resource_spans")
    head = request.SerializeToString()
    for resource_spans in all_resource_spans:
        destination = destination_of if isinstance(destination_of, str) else destination_of(resource_spans)
        _split_resource_spans(resource_spans, destination, groups)
    result = []
    for (destination, trace_id), group in groups.items():
        payload = b"".join([head, *group.pieces])
        head = b""
        randomness = randomness_of(trace_id) if group.randomness is None else group.randomness
        result.append(TraceSlice(trace_id, destination, group.spans, group.has_root, randomness, group.threshold, payload))
    return result


def _split_resource_spans(resource_spans: ResourceSpans, destination: str, groups: _Groups) -> None:
    by_trace: _Pieces = {}
    all_scope_spans = list(resource_spans.scope_spans)
    resource_spans.ClearField("scope_spans")
    for scope_spans in all_scope_spans:
        for trace_id, pieces in _split_scope_spans(scope_spans, destination, groups).items():
            _append_delimited(by_trace.setdefault(trace_id, []), _SCOPE_SPANS, pieces)
    head = resource_spans.SerializeToString()
    for trace_id, pieces in by_trace.items():
        _append_delimited(groups[destination, trace_id].pieces, _RESOURCE_SPANS, [head, *pieces])


def _split_scope_spans(scope_spans: ScopeSpans, destination: str, groups: _Groups) -> _Pieces:
    by_trace: _Pieces = {}
    spans = list(scope_spans.spans)
    scope_spans.ClearField("spans")
    head = scope_spans.SerializeToString()
    current: bytes | None = None  # spans of a trace mostly stand together
    for span in spans:
        trace_id = span.trace_id
        if trace_id != current:
            current = trace_id
            group = groups.setdefault((destination, trace_id), _Slice())
            pieces = by_trace.setdefault(trace_id, [head])
        group.spans += 1
        if not span.parent_span_id:
            group.has_root = True
        trace_state = span.trace_state
        if trace_state:
            group.note_trace_state(trace_state)
        raw = span.SerializeToString()
        pieces.append(_SPAN + varint(len(raw)))
        pieces.append(raw)
    return by_trace


def _append_delimited(out: list[bytes], tag: bytes, pieces: list[bytes]) -> None:
    """Append a length-delimited field whose payload is given in pieces; nothing is copied before the final join."""
    out.append(tag + varint(sum(map(len, pieces))))
    out.extend(pieces)


def row_of(trace_slice: TraceSlice, received_ms: int, seal_at_ms: int | None = None) -> NewRow:
    """The row of a slice, compressed. ``received_ms`` is wall clock; ``seal_at_ms`` None means born sealed."""
    return NewRow(
        destination=trace_slice.destination,
        trace_id=trace_slice.trace_id,
        randomness=trace_slice.randomness,
        priority=0,
        threshold=trace_slice.threshold,
        spans=trace_slice.spans,
        raw_bytes=len(trace_slice.payload),
        body=compress(trace_slice.payload),
        received_ms=received_ms,
        seal_at_ms=seal_at_ms,
    )


def split_row(payload: bytes) -> list[bytes]:
    """One complete request per span, in order; the rare path. Raises ValueError when ``payload`` is not a request."""
    try:
        request = ExportTraceServiceRequest.FromString(payload)
    except DecodeError as error:
        raise ValueError("the row is not a serialized ExportTraceServiceRequest") from error
    result = []
    all_resource_spans = list(request.resource_spans)
    request.ClearField("resource_spans")
    request_head = request.SerializeToString()
    for resource_spans in all_resource_spans:
        all_scope_spans = list(resource_spans.scope_spans)
        resource_spans.ClearField("scope_spans")
        resource_head = resource_spans.SerializeToString()
        for scope_spans in all_scope_spans:
            spans = [span.SerializeToString() for span in scope_spans.spans]
            scope_spans.ClearField("spans")
            scope_head = scope_spans.SerializeToString()
            for span in spans:
                scope_part = delimited(_SCOPE_SPANS, scope_head + delimited(_SPAN, span))
                result.append(request_head + delimited(_RESOURCE_SPANS, resource_head + scope_part))
                request_head = b""
    return result


def join(bodies: Iterable[bytes]) -> bytes:
    """One body out of many: concatenated gzip members are one gzip stream (RFC 1952, section 2.2), concatenated requests one request."""
    return b"".join(bodies)


def compress(payload: bytes) -> bytes:
    """One gzip member; the same input gives the same bytes."""
    return isal_zlib.compress(payload, GZIP_LEVEL, _GZIP_WINDOW_BITS)


def decompress(body: bytes) -> bytes:
    """The content of one or more gzip members that this program wrote. Raises ValueError when they are damaged.

    The output is not bounded: never use it on what a client sent.
    """
    out = []
    while body:
        member = isal_zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
        try:
            out.append(member.decompress(body))
        except isal_zlib.error as error:  # type: ignore[misc]  # isal's stub declares the class as an instance
            raise ValueError("the row's body is not intact gzip") from error
        if not member.eof:
            raise ValueError("the row's body ends within a gzip member")
        body = member.unused_data
    return b"".join(out)

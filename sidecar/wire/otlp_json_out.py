"""Stored requests as OTLP/JSON trees, for people: `buffer export` and `demo`.

Owns the writing direction of OTLP/JSON. It must show whatever is stored: what can't be read as
OTLP is shown in base64 instead of failing.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable

from google.protobuf.message import DecodeError

from sidecar.wire.shallow_pb2 import Event, ExportTraceServiceRequest, InstrumentationScope, Link, Resource, ResourceSpans, ScopeSpans, Span
from sidecar.wire.strict_pb2 import AnyValue, KeyValue

Tree = dict[str, object]


def to_json(request_bytes: bytes) -> Tree:
    """The OTLP/JSON tree of a serialized ExportTraceServiceRequest: ids in lower-case hex, 64-bit integers as strings, enums as integers.

    Ready for json.dumps: no NaN, no bytes. Fields at their default are left out, but for ids, names
    and times of spans. Raises nothing: bytes that are no request come back as
    ``{"resourceSpans": [], "unreadable": <base64>}``.
    """
    try:
        request = ExportTraceServiceRequest.FromString(request_bytes)
    except DecodeError:
        return {"resourceSpans": [], "unreadable": _base64(request_bytes)}
    return {"resourceSpans": [_resource_spans(each) for each in request.resource_spans]}


def _resource_spans(source: ResourceSpans) -> Tree:
    return {
        "resource": _resource(source.resource),
        "scopeSpans": [_scope_spans(each) for each in source.scope_spans],
        **_set(schemaUrl=_text(source.schema_url)),
    }


def _resource(source: Resource) -> Tree:
    return _set(attributes=_attributes(source.attributes), droppedAttributesCount=source.dropped_attributes_count)


def _scope_spans(source: ScopeSpans) -> Tree:
    return {"scope": _scope(source.scope), "spans": [_span(each) for each in source.spans], **_set(schemaUrl=_text(source.schema_url))}


def _scope(source: InstrumentationScope) -> Tree:
    return _set(
        name=_text(source.name),
        version=_text(source.version),
        attributes=_attributes(source.attributes),
        droppedAttributesCount=source.dropped_attributes_count,
    )


def _span(source: Span) -> Tree:
    status = _set(message=_text(source.status.message), code=source.status.code)
    return {
        "traceId": source.trace_id.hex(),
        "spanId": source.span_id.hex(),
        **_set(parentSpanId=source.parent_span_id.hex(), traceState=_text(source.trace_state), flags=source.flags),
        "name": _text(source.name),
        "kind": source.kind,
        "startTimeUnixNano": str(source.start_time_unix_nano),
        "endTimeUnixNano": str(source.end_time_unix_nano),
        **_set(
            attributes=_attributes(source.attributes),
            droppedAttributesCount=source.dropped_attributes_count,
            events=[_event(each) for each in source.events],
            droppedEventsCount=source.dropped_events_count,
            links=[_link(each) for each in source.links],
            droppedLinksCount=source.dropped_links_count,
            status=status,
        ),
    }


def _event(source: Event) -> Tree:
    return {
        "timeUnixNano": str(source.time_unix_nano),
        "name": _text(source.name),
        **_set(attributes=_attributes(source.attributes), droppedAttributesCount=source.dropped_attributes_count),
    }


def _link(source: Link) -> Tree:
    return {
        "traceId": source.trace_id.hex(),
        "spanId": source.span_id.hex(),
        **_set(
            traceState=_text(source.trace_state),
            attributes=_attributes(source.attributes),
            droppedAttributesCount=source.dropped_attributes_count,
            flags=source.flags,
        ),
    }


def _attributes(raws: Iterable[bytes]) -> list[Tree]:
    pairs = []
    for raw in raws:
        try:
            pairs.append(_pair(KeyValue.FromString(raw)))
        except DecodeError:
            pairs.append({"key": "", "value": {"bytesValue": _base64(raw)}})
    return pairs


def _pair(pair: KeyValue) -> Tree:
    return {"key": pair.key, "value": _any_value(pair.value)} if pair.HasField("value") else {"key": pair.key}


def _any_value(value: AnyValue) -> Tree:
    match value.WhichOneof("value"):
        case None:
            return {}
        case "string_value":
            return {"stringValue": value.string_value}
        case "bool_value":
            return {"boolValue": value.bool_value}
        case "int_value":
            return {"intValue": str(value.int_value)}
        case "double_value":
            return {"doubleValue": _double(value.double_value)}
        case "bytes_value":
            return {"bytesValue": _base64(value.bytes_value)}
        case "array_value":
            return {"arrayValue": {"values": [_any_value(item) for item in value.array_value.values]}}
        case _:
            return {"kvlistValue": {"values": [_pair(pair) for pair in value.kvlist_value.values]}}


def _double(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def _set(**fields: object) -> Tree:
    """The fields that are not at their default."""
    return {name: value for name, value in fields.items() if value}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")

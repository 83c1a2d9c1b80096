"""OTLP/JSON requests to the same messages that a protobuf body gives, so that one path follows.

Owns the parsing of the body and the walk from request to span. Whatever the bytes are, it raises
nothing but MalformedPayload; a fault inside a span costs that span, one above it the request.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter

import msgspec

from sidecar.errors import MalformedPayload
from sidecar.wire.batch import SpanBatch
from sidecar.wire.density import check_json
from sidecar.wire.json_values import Fault, Json, Object, Values, as_object, enum_at, id_at, integer_at, list_at, object_at
from sidecar.wire.mend import Mend, Rejection
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span

_UINT32_MAX, _UINT64_MAX = (1 << 32) - 1, (1 << 64) - 1
_MAX_DIGITS = 400
"""More than any number of OTLP has; converting longer ones takes quadratic time."""


def decode_json(body: bytes) -> SpanBatch:
    """The batch in an OTLP/JSON ExportTraceServiceRequest; raises MalformedPayload, whose violations name the place."""
    check_json(body)
    batch = SpanBatch(ExportTraceServiceRequest(), span_count=0, clean=True)
    tree = parse_json(body, batch.mends)
    reader = _Reader(batch)
    if not isinstance(tree, dict):
        raise MalformedPayload("the body is JSON, but not an object: an OTLP/JSON trace request is an object with the key resourceSpans")
    try:
        reader.request(tree)
    except Fault as fault:
        raise MalformedPayload(f"the body is not an OTLP/JSON trace request: {fault}", [(fault.path, fault.text)]) from None
    return batch


def parse_json(body: bytes, mends: Counter[str]) -> Json:
    try:
        tree: Json = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _parse_tolerantly(body, mends)
    return tree


def _parse_tolerantly(body: bytes, mends: Counter[str]) -> Json:
    """Again with a parser that takes lone surrogates, NaN and integers of any length; invalid UTF-8 is replaced."""
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = body.decode("utf-8", "replace")
        mends[Mend.INVALID_UTF8] += 1
    try:
        tree: Json = json.loads(text, parse_int=_int_or_infinite)
    except json.JSONDecodeError as error:
        raise MalformedPayload(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise MalformedPayload("the body is JSON that nests too deeply") from None
    return tree


def _int_or_infinite(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float("inf")


class _Reader:
    """Fills a batch from the tree."""

    def __init__(self, batch: SpanBatch) -> None:
        self._batch = batch
        self._values = Values(batch.mends)

    def request(self, tree: Object) -> None:
        for index, item in enumerate(list_at(tree, "resourceSpans", "")):
            path = f"resourceSpans[{index}]"
            self._resource_spans(as_object(item, path), self._batch.request.resource_spans.add(), path)
        if "resource_spans" in tree and not self._batch.span_count:
            self._batch.problems.append("resource_spans is ignored: OTLP/JSON writes keys in lowerCamelCase, resourceSpans")

    def _resource_spans(self, tree: Object, out: ResourceSpans, path: str) -> None:
        if tree.get("resource") is not None:
            where = f"{path}.resource"
            resource = object_at(tree, "resource", path)
            out.resource.SetInParent()
            out.resource.attributes.extend(self._values.attributes_at(resource, where))
            out.resource.dropped_attributes_count = integer_at(resource, "droppedAttributesCount", 0, _UINT32_MAX, where)
        out.schema_url = self._values.text_at(tree, "schemaUrl", path)
        for index, item in enumerate(list_at(tree, "scopeSpans", path)):
            where = f"{path}.scopeSpans[{index}]"
            self._scope_spans(as_object(item, where), out.scope_spans.add(), where)

    def _scope_spans(self, tree: Object, out: ScopeSpans, path: str) -> None:
        values = self._values
        if tree.get("scope") is not None:
            where = f"{path}.scope"
            scope = object_at(tree, "scope", path)
            out.scope.SetInParent()
            out.scope.name = values.text_at(scope, "name", where)
            out.scope.version = values.text_at(scope, "version", where)
            out.scope.attributes.extend(values.attributes_at(scope, where))
            out.scope.dropped_attributes_count = integer_at(scope, "droppedAttributesCount", 0, _UINT32_MAX, where)
        out.schema_url = values.text_at(tree, "schemaUrl", path)
        for index, item in enumerate(list_at(tree, "spans", path)):
            where = f"{path}.spans[{index}]"
            self._batch.span_count += 1
            span = out.spans.add()
            try:
                self._span(as_object(item, where), span, where)
            except Fault as fault:
                del out.spans[-1]
                self._batch.reject(Rejection.MALFORMED, str(fault))

    def _span(self, tree: Object, out: Span, path: str) -> None:
        values = self._values
        out.trace_id = id_at(tree, "traceId", path)
        out.span_id = id_at(tree, "spanId", path)
        out.parent_span_id = id_at(tree, "parentSpanId", path)
        out.trace_state = values.text_at(tree, "traceState", path)
        out.name = values.text_at(tree, "name", path)
        out.kind = enum_at(tree, "kind", path)
        out.flags = integer_at(tree, "flags", 0, _UINT32_MAX, path)
        out.start_time_unix_nano = integer_at(tree, "startTimeUnixNano", 0, _UINT64_MAX, path)
        out.end_time_unix_nano = integer_at(tree, "endTimeUnixNano", 0, _UINT64_MAX, path)
        out.attributes.extend(values.attributes_at(tree, path))
        out.dropped_attributes_count = integer_at(tree, "droppedAttributesCount", 0, _UINT32_MAX, path)
        out.dropped_events_count = integer_at(tree, "droppedEventsCount", 0, _UINT32_MAX, path)
        out.dropped_links_count = integer_at(tree, "droppedLinksCount", 0, _UINT32_MAX, path)
        self._events(tree, out, path)
        self._links(tree, out, path)
        if tree.get("status") is not None:
            status = object_at(tree, "status", path)
            out.status.SetInParent()
            out.status.message = values.text_at(status, "message", f"{path}.status")
            out.status.code = enum_at(status, "code", f"{path}.status")

    def _events(self, tree: Object, span: Span, path: str) -> None:
        for index, item in enumerate(list_at(tree, "events", path)):
            where = f"{path}.events[{index}]"
            source, out = as_object(item, where), span.events.add()
            out.time_unix_nano = integer_at(source, "timeUnixNano", 0, _UINT64_MAX, where)
            out.name = self._values.text_at(source, "name", where)
            out.attributes.extend(self._values.attributes_at(source, where))
            out.dropped_attributes_count = integer_at(source, "droppedAttributesCount", 0, _UINT32_MAX, where)

    def _links(self, tree: Object, span: Span, path: str) -> None:
        for index, item in enumerate(list_at(tree, "links", path)):
            where = f"{path}.links[{index}]"
            source, out = as_object(item, where), span.links.add()
            out.trace_id = id_at(source, "traceId", where)
            out.span_id = id_at(source, "spanId", where)
            out.trace_state = self._values.text_at(source, "traceState", where)
            out.attributes.extend(self._values.attributes_at(source, where))
            out.dropped_attributes_count = integer_at(source, "droppedAttributesCount", 0, _UINT32_MAX, where)
            out.flags = integer_at(source, "flags", 0, _UINT32_MAX, where)

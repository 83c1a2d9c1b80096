"""Strategies for OTLP requests, valid and damaged ones."""

from __future__ import annotations

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tests import spans
from tests.spans import Value

texts = st.text(max_size=12)
scalars = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.binary(max_size=8), st.none())
values: st.SearchStrategy[Value] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
attributes = st.dictionaries(texts, values, max_size=4)
trace_ids = st.sampled_from([bytes([number]) * 16 for number in range(1, 5)])
span_ids = st.binary(min_size=8, max_size=8).filter(any)
times = st.integers(1, 2**63)
counts = st.integers(0, 2**32 - 1)


@st.composite
def valid_spans(draw: st.DrawFn) -> Span:
    """A span that needs no mending, with anything that OTLP allows."""
    start_ns = draw(times)
    made = spans.span(
        trace_id=draw(trace_ids),
        span_id=draw(span_ids),
        parent=draw(st.just(b"") | span_ids),
        name=draw(texts),
        attributes=draw(attributes),
        start_ns=start_ns,
        end_ns=draw(st.integers(start_ns, 2**64 - 1)),
        kind=draw(st.sampled_from(Span.SpanKind.values())),
        trace_state=draw(st.sampled_from(["", "a=b", "ot=th:8;rv:0123456789abcd"])),
        events=[spans.event(name, each) for name, each in draw(st.lists(st.tuples(texts, attributes), max_size=2))],
        links=[spans.link(trace_id, b"\x01" * 8, each) for trace_id, each in draw(st.lists(st.tuples(trace_ids, attributes), max_size=2))],
        error=draw(st.none() | texts),
    )
    made.flags, made.dropped_attributes_count = draw(counts), draw(counts)
    made.dropped_events_count, made.dropped_links_count = draw(counts), draw(counts)
    return made


@st.composite
def scope_spans(draw: st.DrawFn) -> ScopeSpans:
    scope = InstrumentationScope(name=draw(texts), version=draw(texts), attributes=spans.key_values(draw(attributes)))
    return ScopeSpans(scope=scope, spans=draw(st.lists(valid_spans(), max_size=4)), schema_url=draw(texts))


@st.composite
def resource_spans(draw: st.DrawFn) -> ResourceSpans:
    resource = Resource(attributes=spans.key_values(draw(attributes)), dropped_attributes_count=draw(counts))
    return ResourceSpans(resource=resource, scope_spans=draw(st.lists(scope_spans(), max_size=3)), schema_url=draw(texts))


@st.composite
def valid_requests(draw: st.DrawFn) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest(resource_spans=draw(st.lists(resource_spans(), max_size=3)))


@st.composite
def damaged(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """A body in which a few bytes were replaced, inserted or left out, or the end was cut."""
    body = bytearray(draw(bodies))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["replace", "insert", "remove", "cut"])):
            case "replace":
                body[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "insert":
                body[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "remove":
                del body[at : at + draw(st.integers(1, 4))]
            case _:
                del body[at:]
    return bytes(body)

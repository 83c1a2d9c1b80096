"""Builders of OTLP requests with the official protobuf classes, for every test that needs spans.

Owns small, readable constructors. It must never import sidecar.wire: tests hold one against the other.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

Value: TypeAlias = str | bool | int | float | bytes | Sequence["Value"] | Mapping[str, "Value"] | None
"""What an attribute can hold; None is a value that is present but empty."""
Attributes: TypeAlias = Mapping[str, Value]

TRACE_ID = bytes(range(1, 17))
SPAN_ID = bytes(range(1, 9))
PREAMBLE = "You are a careful support agent; answer from the documents below and say so when they don't hold the answer. "
START_NS = 1_795_000_000_000_000_000
DURATION_NS = 1_500_000_000
WORDS = [
    "the",
    "customer",
    "asked",
    "for",
    "a",
    "refund",
    "of",
    "order",
    "and",
    "agent",
    "looked",
    "up",
    "stock",
    "price",
    "then",
    "answered",
    "politely",
    "with",
    "three",
    "offers",
    "while",
    "waiting",
]


def any_value(value: Value) -> AnyValue:
    """The AnyValue of a Python value; bool before int, because it is one, and str and bytes before sequences."""
    match value:
        case None:
            return AnyValue()
        case str():
            return AnyValue(string_value=value)
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case Mapping():
            return AnyValue(kvlist_value=KeyValueList(values=key_values(value)))
        case _:
            return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))


def key_values(attributes: Attributes) -> list[KeyValue]:
    """One KeyValue an attribute, in order."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def event(name: str, attributes: Attributes | None = None, *, time_ns: int = START_NS) -> Span.Event:
    return Span.Event(name=name, time_unix_nano=time_ns, attributes=key_values(attributes or {}))


def link(trace_id: bytes = TRACE_ID, span_id: bytes = SPAN_ID, attributes: Attributes | None = None) -> Span.Link:
    return Span.Link(trace_id=trace_id, span_id=span_id, attributes=key_values(attributes or {}))


def span(
    *,
    trace_id: bytes = TRACE_ID,
    span_id: bytes = SPAN_ID,
    parent: bytes = b"",
    name: str = "chat",
    attributes: Attributes | None = None,
    start_ns: int = START_NS,
    end_ns: int = START_NS + DURATION_NS,
    kind: Span.SpanKind.ValueType = Span.SPAN_KIND_INTERNAL,
    trace_state: str = "",
    events: Iterable[Span.Event] = (),
    links: Iterable[Span.Link] = (),
    error: str | None = None,
) -> Span:
    """One span; ``error`` is the message of an error status."""
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent,
        name=name,
        kind=kind,
        start_time_unix_nano=start_ns,
        end_time_unix_nano=end_ns,
        trace_state=trace_state,
        attributes=key_values(attributes or {}),
        events=events,
        links=links,
        status=None if error is None else Status(code=Status.STATUS_CODE_ERROR, message=error),
    )


def request(*spans: Span, resource: Attributes | None = None, scope: str = "tests") -> ExportTraceServiceRequest:
    """One request with one resource (``service.name`` is "agent" unless given) and one scope."""
    attributes = {"service.name": "agent"} if resource is None else resource
    scope_spans = ScopeSpans(scope=InstrumentationScope(name=scope, version="1.0"), spans=spans)
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=Resource(attributes=key_values(attributes)), scope_spans=[scope_spans])])


def many(traces: int, spans_per_trace: int, bytes_per_span: int = 4096, seed: int = 0) -> ExportTraceServiceRequest:
    """A request like an LLM agent's: every trace has a root first, spans carry 20 attributes, most bytes are prompt and completion."""
    chance = random.Random(seed)
    spans = []
    for _ in range(traces):
        trace_id, root_id = chance.randbytes(16), chance.randbytes(8)
        for index in range(spans_per_trace):
            span_id, parent = (root_id, b"") if index == 0 else (chance.randbytes(8), root_id)
            attributes = _llm_attributes(chance, max(0, bytes_per_span - 900))
            spans.append(span(trace_id=trace_id, span_id=span_id, parent=parent, name="chat gpt-4o-mini", attributes=attributes))
    return request(*spans, resource={"service.name": "agent", "service.version": "1.4.2", "telemetry.sdk.language": "python"}, scope="acme.agent")


def _llm_attributes(chance: random.Random, content_bytes: int) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.id": f"chatcmpl-{chance.getrandbits(96):x}",
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.usage.input_tokens": chance.randrange(4000),
        "gen_ai.usage.output_tokens": chance.randrange(1000),
        "gen_ai.agent.name": chance.choice(["planner", "pricing", "support"]),
        "gen_ai.conversation.id": f"conversation-{chance.randrange(100)}",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.is_streaming": False,
        "server.address": "api.openai.com",
        "server.port": 443,
        "user.id": f"user-{chance.randrange(1000)}",
        "session.id": f"session-{chance.randrange(1000)}",
        "gen_ai.prompt": _text(chance, content_bytes * 2 // 3),
        "gen_ai.completion": _text(chance, content_bytes // 3),
    }


def _text(chance: random.Random, length: int) -> str:
    """Sentences that repeat as those of prompts do: gzip makes about an eighth of it, of the corpus a seventh."""
    sentences: list[str] = []
    while sum(map(len, sentences)) < length:
        phrase = " ".join(chance.choices(WORDS, k=6))
        sentences += [f"{phrase} {chance.randrange(1000)}. ", *chance.choices([*sentences, PREAMBLE], k=2)]
    return "".join(sentences)[:length]

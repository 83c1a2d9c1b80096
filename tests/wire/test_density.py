"""Bodies that would take far more memory decoded than encoded."""

from __future__ import annotations

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.errors import MalformedPayload
from sidecar.wire.attributes import delimited
from sidecar.wire.batch import decode_protobuf
from sidecar.wire.density import SMALL_BODY_BYTES
from sidecar.wire.otlp_json import decode_json
from tests import spans
from tests.spans import SPAN_ID, TRACE_ID

SIZE = 2 * 1024 * 1024
IDS = delimited(b"\x0a", TRACE_ID) + delimited(b"\x12", SPAN_ID)


def inside(payload: bytes, *tags: bytes) -> bytes:
    for tag in tags:
        payload = delimited(tag, payload)
    return payload


def in_span(payload: bytes) -> bytes:
    return inside(IDS + payload, b"\x12", b"\x12", b"\x0a")


def endless(item: bytes, size: int = SIZE) -> bytes:
    return item * (size // len(item))


BOMBS = {
    "resource spans": endless(b"\x0a\x00"),
    "scope spans": inside(endless(b"\x12\x00"), b"\x0a"),
    "spans": inside(endless(b"\x12\x00"), b"\x12", b"\x0a"),
    "spans with a field": inside(endless(b"\x12\x02\x30\x01"), b"\x12", b"\x0a"),
    "events": in_span(endless(b"\x5a\x00")),
    "links": in_span(endless(b"\x6a\x00")),
    "attributes": in_span(endless(b"\x4a\x00")),
    "values": in_span(inside(endless(b"\x0a\x00", 4 * SIZE), b"\x2a", b"\x12", b"\x4a")),
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_a_body_of_empty_messages_is_refused_before_it_is_parsed(body: bytes) -> None:
    with pytest.raises(MalformedPayload, match="mostly of empty messages"):
        decode_protobuf(body)


@pytest.mark.parametrize("body", [b'{"resourceSpans":[' + endless(b"{},") + b"{}]}", b'{"a":[' + endless(b"[],") + b"[]]}"], ids=["objects", "lists"])
def test_a_json_body_of_empty_objects_is_refused_before_it_is_parsed(body: bytes) -> None:
    with pytest.raises(MalformedPayload, match="mostly of empty messages"):
        decode_json(body)


def test_a_large_request_of_the_smallest_real_spans_is_taken() -> None:
    small = spans.span(name="GET", attributes={"http.method": "GET", "http.status": 200, "peer": "db"}, kind=Span.SPAN_KIND_CLIENT)
    count = SIZE // len(small.SerializeToString())
    batch = decode_protobuf(spans.request(*[small] * count).SerializeToString())
    assert batch.span_count == count


def test_large_content_of_any_bytes_is_taken() -> None:
    batch = decode_protobuf(spans.request(spans.span(attributes={"audio": bytes(SIZE), "text": "\n" * SIZE})).SerializeToString())
    assert batch.span_count == 1 and batch.clean


def test_a_large_body_that_is_cut_is_left_to_the_parser() -> None:
    with pytest.raises(MalformedPayload, match="not a protobuf"):
        decode_protobuf(in_span(b"\x0a" * SIZE)[:-1])


def test_small_bodies_are_not_looked_at() -> None:
    assert decode_protobuf(endless(b"\x0a\x00", SMALL_BODY_BYTES // 8)).span_count == 0

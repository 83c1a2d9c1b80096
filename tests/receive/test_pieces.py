from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.receive.pieces import split_request
from tests.spans import many, request, span


def contents(*bodies: bytes) -> Counter[tuple[bytes, bytes, bytes]]:
    """Every span with its resource and scope."""
    found: Counter[tuple[bytes, bytes, bytes]] = Counter()
    for body in bodies:
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for each in scope_spans.spans:
                    found[resource_spans.resource.SerializeToString(), scope_spans.scope.SerializeToString(), each.SerializeToString()] += 1
    return found


def joined(*requests: ExportTraceServiceRequest) -> bytes:
    return b"".join(each.SerializeToString() for each in requests)


def test_a_small_body_stays_one_piece() -> None:
    body = many(2, 2).SerializeToString()
    assert list(split_request(body)) == [body]


def test_the_spans_of_one_scope_are_divided_under_their_resource_and_scope() -> None:
    body = many(traces=10, spans_per_trace=10, bytes_per_span=2000).SerializeToString()
    pieces = list(split_request(body, 20_000))
    assert len(pieces) >= 10
    assert max(map(len, pieces)) < 25_000
    assert contents(*pieces) == contents(body)


def test_resources_and_scopes_are_kept_whole_where_they_are_small() -> None:
    body = joined(*(request(span(name=f"span {number}"), resource={"service.name": f"agent-{number}"}) for number in range(200)))
    pieces = list(split_request(body, 2000))
    assert len(pieces) > 5
    assert contents(*pieces) == contents(body)


def test_a_span_larger_than_a_piece_stays_whole() -> None:
    body = request(span(name="small"), span(name="large", attributes={"text": "x" * 50_000}), span(name="small too")).SerializeToString()
    pieces = list(split_request(body, 1000))
    assert contents(*pieces) == contents(body)
    assert len(pieces) == 3


def test_a_large_resource_is_not_repeated() -> None:
    body = request(*(span(name=f"span {number}") for number in range(100)), resource={"blob": "x" * 10_000}).SerializeToString()
    assert list(split_request(body, 5000)) == [body]


def test_unknown_fields_survive() -> None:
    body = many(traces=5, spans_per_trace=5, bytes_per_span=500).SerializeToString()
    unknown = b"\xd2\x3e\x03new"  # field 1002, as a later version of OTLP may have it
    assert all(unknown in piece for piece in split_request(body + unknown, 3000))


@pytest.mark.parametrize("spoil", [b"\x0a\xff\xff\xff\x7f", b"\x0b", b"\x0a", b"\xff" * 11])
def test_what_cannot_be_walked_comes_back_as_it_is(spoil: bytes) -> None:
    body = many(traces=2, spans_per_trace=2).SerializeToString() + spoil
    assert list(split_request(body, 1000)) == [body]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=2000))
def test_any_bytes_give_pieces_and_never_an_error(data: bytes) -> None:
    assert list(split_request(data, 10)) or not data


@settings(max_examples=40, deadline=None)
@given(
    piece_bytes=st.integers(200, 20_000),
    shape=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3000)), min_size=1, max_size=6),
)
def test_no_span_is_lost_or_moved_whatever_the_shape(piece_bytes: int, shape: list[tuple[int, int]]) -> None:
    body = joined(
        *(
            request(
                *(span(name=f"{number}-{index}", attributes={"text": "y" * size}) for index in range(spans)), resource={"service.name": f"r{number}"}
            )
            for number, (spans, size) in enumerate(shape)
        )
    )
    assert contents(*split_request(body, piece_bytes)) == contents(body)

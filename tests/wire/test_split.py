"""Splitting by trace and joining again: nothing is lost, nothing moves."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.wire import shallow_pb2 as shallow
from sidecar.wire.attributes import delimited, find
from sidecar.wire.batch import decode_protobuf
from sidecar.wire.split import TraceSlice, compress, decompress, join, row_of, slices, split_row
from tests import corpus, spans
from tests.spans import request, span
from tests.wire.strategies import valid_requests

ONE, TWO = b"\x01" * 16, b"\x02" * 16

Placed = Counter[tuple[bytes, bytes, bytes]]


def placed(bodies: Iterable[bytes]) -> Placed:
    """How often each span stands under each resource and scope, each with its schema url."""
    result: Placed = Counter()
    for body in bodies:
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = resource_spans.resource.SerializeToString(deterministic=True) + resource_spans.schema_url.encode()
            for scope_spans in resource_spans.scope_spans:
                scope = scope_spans.scope.SerializeToString(deterministic=True) + scope_spans.schema_url.encode()
                for each in scope_spans.spans:
                    result[resource, scope, each.SerializeToString(deterministic=True)] += 1
    return result


def split(body: bytes) -> list[TraceSlice]:
    return slices(decode_protobuf(body), "default")


@given(valid_requests())
@settings(max_examples=60, deadline=None)
def test_splitting_and_joining_loses_and_moves_no_span(source: ExportTraceServiceRequest) -> None:
    body = source.SerializeToString()
    parts = split(body)
    assert placed(part.payload for part in parts) == placed([body])
    assert placed([join(part.payload for part in parts)]) == placed([body])


@given(valid_requests())
@settings(max_examples=40, deadline=None)
def test_a_slice_holds_one_trace_and_counts_it_right(source: ExportTraceServiceRequest) -> None:
    parts = split(source.SerializeToString())
    assert len({part.trace_id for part in parts}) == len(parts)
    for part in parts:
        held = [
            each
            for resource_spans in ExportTraceServiceRequest.FromString(part.payload).resource_spans
            for scope_spans in resource_spans.scope_spans
            for each in scope_spans.spans
        ]
        assert {each.trace_id for each in held} == {part.trace_id}
        assert part.spans == len(held)
        assert part.has_root is any(not each.parent_span_id for each in held)


@given(valid_requests())
@settings(max_examples=40, deadline=None)
def test_a_row_splits_into_its_spans_and_loses_none(source: ExportTraceServiceRequest) -> None:
    body = source.SerializeToString()
    singles = split_row(body)
    assert all(decode_protobuf(single).span_count == 1 for single in singles)
    assert placed(singles) == placed([body])


def test_the_corpus_survives_splitting_compressing_joining_and_splitting_again() -> None:
    for each in corpus.trace_requests():
        if each.is_json:
            continue
        rows = [row_of(part, received_ms=1) for part in split(each.body)]
        joined = decompress(join(row.body for row in rows))
        assert placed([joined]) == placed([each.body]), each.name
        assert placed(split_row(joined)) == placed([each.body]), each.name


UNKNOWN = [delimited(b"\xfa\x3f", f"from a newer version {number} \xff".encode("latin-1")) for number in range(6)]


def with_unknown_fields() -> bytes:
    made = shallow.ExportTraceServiceRequest.FromString(request(span(trace_id=ONE), span(trace_id=TWO)).SerializeToString())
    resource_spans = made.resource_spans[0]
    scope_spans = resource_spans.scope_spans[0]
    messages = [made, resource_spans, resource_spans.resource, scope_spans, scope_spans.scope, scope_spans.spans[0]]
    for message, unknown in zip(messages, UNKNOWN, strict=True):
        message.MergeFromString(unknown)
    return made.SerializeToString()


def test_unknown_fields_survive_at_every_level() -> None:
    first, second = split(with_unknown_fields())
    assert [unknown in first.payload for unknown in UNKNOWN] == [True] * 6
    assert [unknown in second.payload for unknown in UNKNOWN] == [False, True, True, True, True, False]


def test_unknown_fields_survive_the_splitting_of_a_row() -> None:
    first, second = split_row(with_unknown_fields())
    assert [unknown in first for unknown in UNKNOWN] == [True] * 6
    assert [unknown in second for unknown in UNKNOWN] == [False, True, True, True, True, False]


def test_slices_come_in_the_order_in_which_their_traces_first_occur() -> None:
    body = request(span(trace_id=TWO), span(trace_id=ONE), span(trace_id=TWO)).SerializeToString()
    assert [(part.trace_id, part.spans) for part in split(body)] == [(TWO, 2), (ONE, 1)]


def test_one_trace_bound_for_two_destinations_becomes_two_slices() -> None:
    body = request(span(), resource={"team": "red"}).SerializeToString() + request(span(), span(), resource={"team": "blue"}).SerializeToString()
    asked = []

    def destination_of(resource_spans: shallow.ResourceSpans) -> str:
        team = find(resource_spans.resource.attributes, b"team")
        asked.append(team)
        return f"{team!r}"

    parts = slices(decode_protobuf(body), destination_of)
    assert [(part.destination, part.spans) for part in parts] == [("'red'", 1), ("'blue'", 2)]
    assert asked == ["red", "blue"], "asked once per resource spans"


@pytest.mark.parametrize("body", [b"", request().SerializeToString()], ids=["empty", "envelopes"])
def test_a_request_without_spans_has_no_slices(body: bytes) -> None:
    assert split(body) == []
    assert split_row(body) == []


def test_the_root_is_seen_wherever_it_stands() -> None:
    with_root, without = split(
        request(span(trace_id=ONE, parent=b"p" * 8), span(trace_id=TWO, parent=b"p" * 8), span(trace_id=ONE)).SerializeToString()
    )
    assert with_root.has_root and not without.has_root


def test_the_trace_state_gives_randomness_and_the_highest_threshold() -> None:
    (part,) = split(
        request(
            span(), span(trace_state="ot=th:4;rv:0123456789abcd"), span(trace_state="ot=th:c"), span(trace_state="x=y,ot=rv:ffffffffffffff")
        ).SerializeToString()
    )
    assert (part.randomness, part.threshold) == (0x0123456789ABCD, 0xC << 52)


def test_without_a_trace_state_the_randomness_comes_from_the_trace_id() -> None:
    (part,) = split(request(span()).SerializeToString())
    assert (part.randomness, part.threshold) == (int.from_bytes(spans.TRACE_ID[-7:], "big"), 0)


def test_a_row_holds_what_its_slice_says() -> None:
    (part,) = split(request(span()).SerializeToString())
    row = row_of(part, received_ms=5, seal_at_ms=9)
    assert (row.destination, row.trace_id, row.spans, row.randomness) == ("default", spans.TRACE_ID, 1, part.randomness)
    assert (row.priority, row.threshold, row.received_ms, row.seal_at_ms) == (0, 0, 5, 9)
    assert (row.raw_bytes, decompress(row.body)) == (len(part.payload), part.payload)


def test_a_row_that_is_no_request_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="not a serialized"):
        split_row(b"\xff")


@given(st.lists(st.binary(max_size=300), max_size=4))
@settings(max_examples=50, deadline=None)
def test_joined_members_are_one_gzip_stream(contents: list[bytes]) -> None:
    joined = join(compress(content) for content in contents)
    assert decompress(joined) == gzip.decompress(joined) == b"".join(contents)


def test_compressing_gives_the_same_bytes_each_time_and_no_time_stamp() -> None:
    body = compress(b"content")
    assert body == compress(b"content")
    assert body[4:8] == bytes(4), "MTIME of RFC 1952"


@pytest.mark.parametrize(
    "damage", [lambda body: body[:-1], lambda body: body[:5], lambda body: body[:-6] + b"123456", lambda body: body + b"junk", lambda _: b"x"]
)
def test_a_damaged_body_raises_value_error(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(ValueError, match="the row's body"):
        decompress(damage(compress(b"content" * 50)))

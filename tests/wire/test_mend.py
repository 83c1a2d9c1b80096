"""Mending: one malformed item never costs its neighbours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.wire import shallow_pb2 as shallow
from sidecar.wire.attributes import any_array, any_string, delimited, encode_string
from sidecar.wire.batch import SpanBatch, decode_protobuf
from sidecar.wire.mend import Mend, Rejection, mend
from tests import spans
from tests.spans import START_NS, request, span

NO_VALUE = delimited(b"\x0a", b"key")
NOT_UTF8 = delimited(b"\x0a", b"k\xff") + delimited(b"\x12", any_string(b"v\xff\xfe!"))
REPLACED = encode_string("k\ufffd", "v\ufffd\ufffd!")
GOOD = encode_string("good", "value")


def nested(levels: int) -> bytes:
    """An attribute whose value holds arrays in arrays."""
    value = any_string(b"deep")
    for _ in range(levels):
        value = any_array([value])
    return delimited(b"\x0a", b"deep") + delimited(b"\x12", value)


def mended(source: ExportTraceServiceRequest | shallow.ExportTraceServiceRequest) -> SpanBatch:
    batch = decode_protobuf(source.SerializeToString())
    mend(batch)
    assert batch.clean
    assert decode_protobuf(batch.request.SerializeToString()).clean, "what was mended passes the strict schema"
    return batch


def kept(batch: SpanBatch) -> list[shallow.Span]:
    return [each for resource in batch.request.resource_spans for scope in resource.scope_spans for each in scope.spans]


def shallow_request() -> tuple[shallow.ExportTraceServiceRequest, shallow.Span]:
    """A valid request of one span, in the form that can hold anything."""
    made = shallow.ExportTraceServiceRequest.FromString(request(span()).SerializeToString())
    return made, made.resource_spans[0].scope_spans[0].spans[0]


@pytest.mark.parametrize(
    ("bad", "reason", "problem"),
    [
        (span(trace_id=b""), Rejection.TRACE_ID, "traceId has 0 bytes instead of 16"),
        (span(trace_id=b"x" * 15), Rejection.TRACE_ID, "traceId has 15 bytes instead of 16"),
        (span(trace_id=bytes(16)), Rejection.TRACE_ID, "traceId is all zero"),
        (span(span_id=b""), Rejection.SPAN_ID, "spanId has 0 bytes instead of 8"),
        (span(span_id=b"x" * 16), Rejection.SPAN_ID, "spanId has 16 bytes instead of 8"),
        (span(span_id=bytes(8)), Rejection.SPAN_ID, "spanId is all zero"),
    ],
)
def test_a_span_without_usable_ids_is_rejected_alone(bad: Span, reason: Rejection, problem: str) -> None:
    batch = mended(request(span(name="before"), bad, span(name="after")))
    assert [each.name for each in kept(batch)] == [b"before", b"after"]
    assert batch.rejected == {reason: 1}
    assert batch.problems == [f"resourceSpans[0].scopeSpans[0].spans[1].{problem}"]
    assert batch.span_count == 3


@pytest.mark.parametrize("parent", [bytes(8), b"x" * 7, b"x" * 16])
def test_a_malformed_parent_id_is_cleared(parent: bytes) -> None:
    batch = mended(request(span(parent=parent)))
    assert kept(batch)[0].parent_span_id == b""
    assert batch.mends == {Mend.PARENT_SPAN_ID: 1}


@pytest.mark.parametrize("end_ns", [0, START_NS - 1])
def test_an_end_before_the_start_becomes_the_start(end_ns: int) -> None:
    batch = mended(request(span(end_ns=end_ns)))
    assert kept(batch)[0].end_time_unix_nano == START_NS
    assert batch.mends == {Mend.END_TIME: 1}


def test_a_missing_start_becomes_the_end() -> None:
    batch = mended(request(span(start_ns=0, end_ns=START_NS)))
    assert kept(batch)[0].start_time_unix_nano == START_NS
    assert batch.mends == {Mend.START_TIME: 1}


def test_a_link_with_malformed_ids_is_dropped_and_others_stay() -> None:
    links = [spans.link(b"short"), spans.link(span_id=b""), spans.link(trace_id=bytes(16)), spans.link()]
    batch = mended(request(span(links=links)))
    assert [link.trace_id for link in kept(batch)[0].links] == [spans.TRACE_ID]
    assert batch.mends == {Mend.LINK: 3}


Place = Callable[[shallow.ExportTraceServiceRequest, shallow.Span], "list[bytes]"]
PLACES: dict[str, Place] = {
    "resource": lambda made, _: made.resource_spans[0].resource.attributes,  # type: ignore[dict-item,return-value]
    "scope": lambda made, _: made.resource_spans[0].scope_spans[0].scope.attributes,  # type: ignore[dict-item,return-value]
    "span": lambda _, each: each.attributes,  # type: ignore[dict-item,return-value]
    "event": lambda _, each: (each.events or [each.events.add()])[0].attributes,  # type: ignore[dict-item,return-value]
    "link": lambda _, each: (each.links or [each.links.add(trace_id=spans.TRACE_ID, span_id=spans.SPAN_ID)])[0].attributes,  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(
    ("bad", "after", "mends"),
    [
        ([NO_VALUE], [], {Mend.NO_VALUE: 1}),
        ([b"\xff\xff"], [], {Mend.UNREADABLE: 1}),
        ([b"\x12\x05ab"], [], {Mend.UNREADABLE: 1}),
        ([nested(60)], [], {Mend.UNREADABLE: 1}),
        ([NOT_UTF8], [REPLACED], {Mend.INVALID_UTF8: 1}),
        ([NO_VALUE, NOT_UTF8, NO_VALUE], [REPLACED], {Mend.NO_VALUE: 2, Mend.INVALID_UTF8: 1}),
    ],
    ids=["no value", "no KeyValue", "cut", "deep", "not UTF-8", "several"],
)
def test_a_malformed_attribute_is_mended_or_dropped_wherever_it_stands(
    place: Place, bad: list[bytes], after: list[bytes], mends: dict[Mend, int]
) -> None:
    made, each = shallow_request()
    attributes = place(made, each)
    del attributes[:]
    attributes.extend([GOOD, *bad, GOOD])
    batch = mended(made)
    assert list(place(batch.request, kept(batch)[0])) == [GOOD, *after, GOOD]
    assert batch.mends == mends


@pytest.mark.parametrize("levels", range(44, 51))
@pytest.mark.parametrize("place", [PLACES["span"], PLACES["event"]], ids=["span", "event"])
def test_nesting_around_the_limit_either_passes_unchanged_or_is_dropped(place: Place, levels: int) -> None:
    made, each = shallow_request()
    place(made, each).append(nested(levels))
    batch = mended(made)
    assert (nested(levels) in place(batch.request, kept(batch)[0])) is not (Mend.UNREADABLE in batch.mends)


def test_a_value_less_pair_inside_a_list_is_left_out_of_it() -> None:
    pair = spans.key_values({"in": "side"})[0].SerializeToString()
    inner = delimited(b"\x0a", NO_VALUE) + delimited(b"\x0a", pair)
    made, each = shallow_request()
    each.attributes.append(delimited(b"\x0a", b"map") + delimited(b"\x12", delimited(b"\x32", inner)))
    batch = mended(made)
    (expected,) = spans.key_values({"map": {"in": "side"}})
    assert KeyValue.FromString(kept(batch)[0].attributes[-1]) == expected
    assert batch.mends == {Mend.NO_VALUE: 1}


def test_invalid_utf8_in_names_and_messages_is_replaced() -> None:
    made, each = shallow_request()
    resource_spans = made.resource_spans[0]
    scope_spans = resource_spans.scope_spans[0]
    bad = b"bad\xff"
    resource_spans.schema_url = scope_spans.schema_url = scope_spans.scope.name = scope_spans.scope.version = bad
    each.name = each.trace_state = each.status.message = bad
    each.events.add(name=bad)
    each.links.add(trace_id=spans.TRACE_ID, span_id=spans.SPAN_ID, trace_state=bad)
    batch = mended(made)
    assert kept(batch)[0].name == "bad\ufffd".encode()
    assert batch.mends == {Mend.INVALID_UTF8: 9}


def test_unknown_fields_of_a_resource_that_hold_invalid_utf8_are_dropped() -> None:
    made, _ = shallow_request()
    entity = delimited(b"\x1a", delimited(b"\x12", b"\xff"))
    made.resource_spans[0].resource.MergeFromString(entity)
    batch = mended(made)
    assert batch.mends == {Mend.UNKNOWN_FIELDS: 1}


def test_unknown_fields_elsewhere_survive_the_slow_path() -> None:
    made, each = shallow_request()
    unknown = delimited(b"\xfa\x3f", b"from a newer version \xff")
    each.MergeFromString(unknown)
    each.name = b"\xff"
    assert unknown in mended(made).request.SerializeToString()


def test_a_value_that_is_present_but_empty_stays() -> None:
    batch = mended(request(span(attributes={"empty": None})))
    assert len(kept(batch)[0].attributes) == 1 and not batch.mends


def test_neighbours_of_a_mended_span_stay_byte_for_byte() -> None:
    made, each = shallow_request()
    each.attributes.append(NO_VALUE)
    neighbour = made.resource_spans[0].scope_spans[0].spans.add(trace_id=spans.TRACE_ID, span_id=b"neighbor", attributes=[GOOD])
    assert kept(mended(made))[1] == neighbour


def test_many_rejections_take_time_in_proportion() -> None:
    batch = mended(request(*(span(trace_id=b"" if index % 2 else spans.TRACE_ID) for index in range(2000))))
    assert (len(kept(batch)), batch.rejected) == (1000, {Rejection.TRACE_ID: 1000})


def test_mending_twice_changes_nothing_more() -> None:
    made, each = shallow_request()
    each.attributes.extend([NO_VALUE, NOT_UTF8])
    batch = mended(made)
    before = batch.request.SerializeToString(), batch.mends.copy()
    mend(batch)
    assert (batch.request.SerializeToString(), batch.mends) == before


def test_problems_never_hold_payload_values() -> None:
    batch = mended(request(span(trace_id=b"secret", name="secret", attributes={"secret": "secret"})))
    assert "secret" not in " ".join(batch.problems)

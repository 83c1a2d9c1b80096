"""OTLP/JSON in: the same messages as from protobuf, and faults that cost as little as possible."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.errors import MalformedPayload
from sidecar.wire.batch import SpanBatch, decode_protobuf
from sidecar.wire.mend import Mend, Rejection, mend
from sidecar.wire.otlp_json import decode_json
from tests import corpus
from tests.fakes import otlp_json
from tests.wire.strategies import damaged, valid_requests

Tree = dict[str, Any]

SPAN: Tree = {
    "traceId": "0102030405060708090A0B0C0D0E0F10",
    "spanId": "0102030405060708",
    "name": "chat",
    "kind": 3,
    "startTimeUnixNano": "1795000000000000000",
    "endTimeUnixNano": 1795000001500000000,
    "attributes": [{"key": "tokens", "value": {"intValue": "42"}}],
    "status": {"code": 2, "message": "rate limited"},
}

json_trees: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceSpans",
                    "scopeSpans",
                    "spans",
                    "resource",
                    "scope",
                    "attributes",
                    "key",
                    "value",
                    "stringValue",
                    "intValue",
                    "doubleValue",
                    "boolValue",
                    "arrayValue",
                    "kvlistValue",
                    "bytesValue",
                    "values",
                    "traceId",
                    "spanId",
                    "name",
                    "kind",
                    "events",
                    "links",
                    "status",
                    "code",
                    "flags",
                    "startTimeUnixNano",
                    "schemaUrl",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


def body_of(*spans: object, **resource_spans: object) -> bytes:
    return json.dumps({"resourceSpans": [{**resource_spans, "scopeSpans": [{"scope": {"name": "tests"}, "spans": spans}]}]}).encode()


def with_value(value: object) -> bytes:
    return body_of({**SPAN, "attributes": [{"key": "a", "value": value}]})


def kept(batch: SpanBatch) -> list[str]:
    return [span.name.decode() for resource in batch.request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def attributes_of(batch: SpanBatch) -> list[tuple[str, object]]:
    official = ExportTraceServiceRequest.FromString(batch.request.SerializeToString())
    result = []
    for pair in official.resource_spans[0].scope_spans[0].spans[0].attributes:
        kind = pair.value.WhichOneof("value")
        result.append((pair.key, getattr(pair.value, kind) if kind else None))
    return result


def value_of(value: object) -> object:
    ((_, decoded),) = attributes_of(decode_json(with_value(value)))
    return decoded


@given(valid_requests())
@settings(max_examples=40, deadline=None)
def test_json_and_protobuf_of_the_same_request_give_equal_messages(request: ExportTraceServiceRequest) -> None:
    from_json, from_protobuf = decode_json(otlp_json.to_json(request)), decode_protobuf(request.SerializeToString())
    assert ExportTraceServiceRequest.FromString(from_json.request.SerializeToString()) == request
    assert (from_json.span_count, from_json.clean, from_json.mends) == (from_protobuf.span_count, True, {})


def test_every_json_request_of_the_corpus_is_what_the_official_classes_read() -> None:
    requests = [request for request in corpus.trace_requests() if request.is_json]
    assert requests
    for request in requests:
        batch = decode_json(request.body)
        assert ExportTraceServiceRequest.FromString(batch.request.SerializeToString()) == otlp_json.from_json(request.body), request.name


@given(st.binary(max_size=100) | damaged(valid_requests().map(otlp_json.to_json)) | json_trees.map(lambda tree: json.dumps(tree).encode()))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_a_batch_that_passes_the_strict_schema_or_malformed_payload(body: bytes) -> None:
    try:
        batch = decode_json(body)
    except MalformedPayload:
        return
    assert decode_protobuf(batch.request.SerializeToString()).clean
    mend(batch)


@given(json_trees)
@settings(max_examples=100, deadline=None)
def test_whatever_an_attribute_holds_its_span_survives(value: object) -> None:
    batch = decode_json(body_of({**SPAN, "attributes": [{"key": "a", "value": value}]}, {**SPAN, "name": "neighbour"}))
    assert kept(batch) == ["chat", "neighbour"]


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"\x0a\x00", b'{"resourceSpans": [}', b'{"a": "\x00"}', b"\xff\xfe{\x00}\x00"], ids=repr)
def test_what_is_no_json_is_malformed_and_says_where(body: bytes) -> None:
    with pytest.raises(MalformedPayload, match="not JSON: .* line ., column"):
        decode_json(body)


@pytest.mark.parametrize("depth", [900, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_of_any_depth_is_malformed_and_no_crash(opening: bytes, depth: int) -> None:
    with pytest.raises(MalformedPayload):
        decode_json(opening * depth)


@pytest.mark.parametrize("depth", [46, 47, 60, 200, 1000])
def test_an_attribute_that_nests_too_deeply_is_dropped_alone(depth: int) -> None:
    value = '{"arrayValue":{"values":[' * depth + '{"stringValue":"deep"}' + "]}}" * depth
    try:
        batch = decode_json(with_value("@").replace(b'"@"', value.encode()))
    except MalformedPayload:
        assert depth > 100, "only what the JSON parser itself refuses"
        return
    assert kept(batch) == ["chat"]
    assert batch.mends == ({Mend.UNREADABLE: 1} if depth > 46 else {})
    assert decode_protobuf(batch.request.SerializeToString()).clean


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1"])
def test_a_body_that_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedPayload, match="not an object"):
        decode_json(body)


@pytest.mark.parametrize(
    ("tree", "violation"),
    [
        ({"resourceSpans": {}}, ("resourceSpans", "is not a list")),
        ({"resourceSpans": [None]}, ("resourceSpans[0]", "is not an object")),
        ({"resourceSpans": [{}, {"resource": []}]}, ("resourceSpans[1].resource", "is not an object")),
        ({"resourceSpans": [{"resource": {"attributes": {}}}]}, ("resourceSpans[0].resource.attributes", "is not a list")),
        ({"resourceSpans": [{"scopeSpans": "x"}]}, ("resourceSpans[0].scopeSpans", "is not a list")),
        ({"resourceSpans": [{"scopeSpans": [{"scope": 1}]}]}, ("resourceSpans[0].scopeSpans[0].scope", "is not an object")),
        ({"resourceSpans": [{"scopeSpans": [{"spans": {}}]}]}, ("resourceSpans[0].scopeSpans[0].spans", "is not a list")),
        ({"resourceSpans": [{"schemaUrl": 7}]}, ("resourceSpans[0].schemaUrl", "is not a string")),
    ],
)
def test_a_fault_above_the_spans_is_malformed_and_names_its_place(tree: Tree, violation: tuple[str, str]) -> None:
    with pytest.raises(MalformedPayload) as caught:
        decode_json(json.dumps(tree).encode())
    assert caught.value.violations == (violation,)
    assert violation[0] in caught.value.message


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "SPAN_KIND_CLIENT"}, "kind is a string; OTLP/JSON wants the enum's integer"),
        ({"kind": 2**31}, "kind is not an integer that fits its type"),
        ({"kind": True}, "kind is not an integer that fits its type"),
        ({"status": {"code": "STATUS_CODE_ERROR"}}, "status.code is a string; OTLP/JSON wants the enum's integer"),
        ({"status": []}, "status is not an object"),
        ({"traceId": "AQIDBAUGBwgJCgsMDQ4PEA=="}, "traceId is not a hex string; OTLP/JSON writes ids in hex, not in base64"),
        ({"spanId": "01 02 03"}, "spanId is not a hex string; OTLP/JSON writes ids in hex, not in base64"),
        ({"parentSpanId": 5}, "parentSpanId is not a hex string; OTLP/JSON writes ids in hex, not in base64"),
        ({"name": 5}, "name is not a string"),
        ({"startTimeUnixNano": "yesterday"}, "startTimeUnixNano is not an integer that fits its type"),
        ({"endTimeUnixNano": -1}, "endTimeUnixNano is not an integer that fits its type"),
        ({"endTimeUnixNano": 2**64}, "endTimeUnixNano is not an integer that fits its type"),
        ({"startTimeUnixNano": 1.5}, "startTimeUnixNano is not an integer that fits its type"),
        ({"flags": 2**32}, "flags is not an integer that fits its type"),
        ({"attributes": {}}, "attributes is not a list"),
        ({"events": [{"name": []}]}, "events[0].name is not a string"),
        ({"events": [1]}, "events[0] is not an object"),
        ({"links": [{"traceId": "zz"}]}, "links[0].traceId is not a hex string; OTLP/JSON writes ids in hex, not in base64"),
    ],
)
def test_a_fault_inside_a_span_costs_that_span_alone(change: Tree, problem: str) -> None:
    batch = decode_json(body_of({**SPAN, "name": "before"}, {**SPAN, **change}, {**SPAN, "name": "after"}))
    assert kept(batch) == ["before", "after"]
    assert (batch.span_count, batch.rejected) == (3, {Rejection.MALFORMED: 1})
    assert batch.problems == [f"resourceSpans[0].scopeSpans[0].spans[1].{problem}"]


def test_a_span_that_is_no_object_costs_itself_alone() -> None:
    batch = decode_json(body_of(SPAN, None, 5, SPAN))
    assert (kept(batch), batch.span_count, batch.rejected) == (["chat", "chat"], 4, {Rejection.MALFORMED: 2})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"stringValue": "text"}, "text"),
        ({"stringValue": ""}, ""),
        ({"boolValue": False}, False),
        ({"intValue": "-9223372036854775808"}, -(2**63)),
        ({"intValue": 9223372036854775807}, 2**63 - 1),
        ({"intValue": 5.0}, 5),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "1.5e3"}, 1500.0),
        ({"doubleValue": "Infinity"}, float("inf")),
        ({"doubleValue": "-Infinity"}, float("-inf")),
        ({"bytesValue": "+/8="}, b"\xfb\xff"),
        ({"bytesValue": "-_8"}, b"\xfb\xff"),
        ({"bytesValue": ""}, b""),
        ({}, None),
        ({"newValue": 1}, None),
        ({"stringValue": "text", "intValue": None}, "text"),
    ],
)
def test_values_are_read_as_protobuf_json_says(value: object, expected: object) -> None:
    assert value_of(value) == expected


def test_nan_is_read_from_its_string() -> None:
    number = value_of({"doubleValue": "NaN"})
    assert number != number  # noqa: PLR0124  (what NaN is)


@pytest.mark.parametrize(
    "value",
    [
        5,
        [],
        {"stringValue": 5},
        {"boolValue": "true"},
        {"intValue": "x"},
        {"intValue": "1_000"},
        {"intValue": 2**63},
        {"intValue": 1.5},
        {"intValue": True},
        {"doubleValue": "nan"},
        {"doubleValue": 10**400},
        {"doubleValue": True},
        {"bytesValue": "a"},
        {"bytesValue": "ä"},
        {"bytesValue": 5},
        {"arrayValue": []},
        {"arrayValue": {"values": {}}},
        {"arrayValue": {"values": [5]}},
        {"kvlistValue": {"values": [5]}},
        {"kvlistValue": {"values": [{"key": 5, "value": {}}]}},
        {"stringValue": "a", "intValue": 5},
    ],
    ids=repr,
)
def test_an_attribute_that_cannot_be_read_is_dropped_alone(value: object) -> None:
    good = {"key": "good", "value": {"stringValue": "value"}}
    batch = decode_json(body_of({**SPAN, "attributes": [good, {"key": "bad", "value": value}, good]}))
    assert attributes_of(batch) == [("good", "value")] * 2
    assert batch.mends == {Mend.UNREADABLE: 1}


@pytest.mark.parametrize("pair", [{"key": "a"}, {"key": "a", "value": None}, {}])
def test_an_attribute_without_a_value_is_dropped(pair: Tree) -> None:
    batch = decode_json(body_of({**SPAN, "attributes": [pair]}))
    assert attributes_of(batch) == [] and batch.mends == {Mend.NO_VALUE: 1}


def test_unreadable_attributes_of_a_resource_cost_no_span() -> None:
    batch = decode_json(body_of(SPAN, resource={"attributes": [5, {"key": "a"}]}))
    assert kept(batch) == ["chat"] and batch.mends == {Mend.UNREADABLE: 1, Mend.NO_VALUE: 1}


def test_ids_are_hex_of_either_case() -> None:
    batch = decode_json(body_of(SPAN, {**SPAN, "traceId": SPAN["traceId"].lower()}))
    ids = {span.trace_id for span in batch.request.resource_spans[0].scope_spans[0].spans}
    assert ids == {bytes(range(1, 17))}


def test_unknown_fields_are_ignored_and_null_is_absent() -> None:
    odd = {**SPAN, "newField": {"deep": [1]}, "parentSpanId": None, "events": None, "attributes": None, "kind": None}
    batch = decode_json(body_of(odd, resource=None, future=True))
    assert kept(batch) == ["chat"]
    assert not batch.mends and not batch.rejected


@pytest.mark.parametrize("body", [b"{}", b'{"resourceSpans": []}', b'{"resourceSpans": null}', b'{"other": 1}'])
def test_an_empty_request_is_an_empty_batch(body: bytes) -> None:
    batch = decode_json(body)
    assert batch.span_count == 0 and not batch.problems


def test_snake_case_keys_are_ignored_with_a_hint() -> None:
    batch = decode_json(b'{"resource_spans": [{}]}')
    assert batch.span_count == 0
    assert "lowerCamelCase" in batch.problems[0]


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"a\ud800b"', "a\ufffdb"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (b'"a\xffb"', "a\ufffdb"),
        (rb'"\u0000"', "\0"),
    ],
)
def test_strings_that_utf8_cannot_hold_are_mended(literal: bytes, expected: str) -> None:
    batch = decode_json(with_value({"stringValue": "@"}).replace(b'"@"', literal))
    assert attributes_of(batch) == [("a", expected)]
    assert batch.mends == ({Mend.INVALID_UTF8: 1} if "\ufffd" in expected else {})


def test_a_byte_order_mark_is_ignored() -> None:
    assert kept(decode_json(b"\xef\xbb\xbf" + body_of(SPAN))) == ["chat"]


@pytest.mark.parametrize("literal", [b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-" + b"9" * 350])
def test_numbers_that_json_does_not_have_cost_one_span_at_most(literal: bytes) -> None:
    body = body_of({**SPAN, "kind": "@"}, {**SPAN, "name": "neighbour"}).replace(b'"@"', literal)
    assert kept(decode_json(body)) == ["neighbour"]


def test_messages_never_hold_payload_values() -> None:
    secret = "s3cr3t"
    for key in SPAN:
        tree = deepcopy(SPAN)
        tree[key] = {secret: secret}
        batch = decode_json(body_of(tree))
        assert secret not in " ".join(batch.problems)

"""OTLP/JSON out, held against the official classes."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.wire import shallow_pb2 as shallow
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.otlp_json_out import to_json
from tests import corpus, spans
from tests.fakes import otlp_json
from tests.wire.strategies import valid_requests


def text_of(body: bytes) -> bytes:
    return json.dumps(to_json(body), allow_nan=False).encode()


@given(valid_requests())
@settings(max_examples=40, deadline=None)
def test_what_is_written_reads_back_as_the_same_request(request: ExportTraceServiceRequest) -> None:
    written = text_of(request.SerializeToString())
    assert ExportTraceServiceRequest.FromString(decode_json(written).request.SerializeToString()) == normal(request)
    assert normal(otlp_json.from_json(written)) == normal(request)


def normal(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """With every envelope message set, since presence of an empty resource or scope means nothing."""
    copy = ExportTraceServiceRequest()
    copy.CopyFrom(request)
    for resource in copy.resource_spans:
        resource.resource.SetInParent()
        for scope in resource.scope_spans:
            scope.scope.SetInParent()
            for span in scope.spans:
                if not span.status.ByteSize():
                    span.ClearField("status")
    return copy


def test_every_request_of_the_corpus_can_be_written() -> None:
    for request in corpus.trace_requests():
        if not request.is_json:
            tree = json.loads(text_of(request.body))
            assert len(tree["resourceSpans"]) == len(ExportTraceServiceRequest.FromString(request.body).resource_spans)


@given(st.binary(max_size=100))
@settings(max_examples=100, deadline=None)
def test_any_bytes_can_be_written(body: bytes) -> None:
    text_of(body)


def test_bytes_that_are_no_request_are_shown_in_base64() -> None:
    assert to_json(b"\xff\xff") == {"resourceSpans": [], "unreadable": "//8="}


def test_an_unreadable_attribute_is_shown_in_base64_among_its_neighbours() -> None:
    request = shallow.ExportTraceServiceRequest.FromString(spans.request(spans.span(attributes={"a": 1})).SerializeToString())
    request.resource_spans[0].scope_spans[0].spans[0].attributes.extend([b"\xff\xff", b"\x0a\x01k"])
    written = json.loads(text_of(request.SerializeToString()))
    assert written["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] == [
        {"key": "a", "value": {"intValue": "1"}},
        {"key": "", "value": {"bytesValue": "//8="}},
        {"key": "k"},
    ]


@pytest.mark.parametrize(("number", "expected"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (1.5, 1.5)])
def test_doubles_that_json_does_not_have_are_strings(number: float, expected: object) -> None:
    written = json.loads(text_of(spans.request(spans.span(attributes={"a": number})).SerializeToString()))
    assert written["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"][0]["value"] == {"doubleValue": expected}


def test_ids_are_lower_case_hex_and_times_are_strings() -> None:
    made = spans.span(trace_id=b"\xab" * 16, span_id=b"\xcd" * 8, parent=b"\xef" * 8)
    (written,) = json.loads(text_of(spans.request(made).SerializeToString()))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (written["traceId"], written["spanId"], written["parentSpanId"]) == ("ab" * 16, "cd" * 8, "ef" * 8)
    assert written["startTimeUnixNano"] == str(spans.START_NS)

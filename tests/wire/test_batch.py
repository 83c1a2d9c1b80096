"""Decoding protobuf bodies."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.errors import MalformedPayload
from sidecar.wire.batch import MAX_PROBLEMS, SpanBatch, decode_protobuf, require_upb
from sidecar.wire.mend import mend
from tests import corpus, spans
from tests.wire.strategies import damaged, valid_requests

bodies = valid_requests().map(lambda request: request.SerializeToString())


def as_official(batch: SpanBatch) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(batch.request.SerializeToString())


@given(valid_requests())
@settings(max_examples=50, deadline=None)
def test_a_valid_request_is_clean_and_passes_unchanged(request: ExportTraceServiceRequest) -> None:
    batch = decode_protobuf(request.SerializeToString())
    assert batch.clean
    assert batch.span_count == sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    mend(batch)
    assert as_official(batch) == request
    assert not batch.mends and not batch.rejected and not batch.problems


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_a_batch_or_malformed_payload(body: bytes) -> None:
    try:
        batch = decode_protobuf(body)
    except MalformedPayload:
        return
    mend(batch)


@given(damaged(bodies))
@settings(max_examples=100, deadline=None)
def test_whatever_a_damaged_request_becomes_passes_the_official_parser_after_mending(body: bytes) -> None:
    try:
        batch = decode_protobuf(body)
    except MalformedPayload:
        return
    mend(batch)
    assert decode_protobuf(batch.request.SerializeToString()).clean
    as_official(batch)


def test_a_body_that_is_no_protobuf_says_what_to_check() -> None:
    with pytest.raises(MalformedPayload, match="not a protobuf ExportTraceServiceRequest: check"):
        decode_protobuf(b'{"resourceSpans": []}')


def test_an_empty_body_is_an_empty_batch() -> None:
    batch = decode_protobuf(b"")
    assert batch.span_count == 0 and batch.clean


def test_problems_are_bounded_but_rejections_are_all_counted() -> None:
    batch = decode_protobuf(spans.request(*(spans.span(trace_id=b"short") for _ in range(50))).SerializeToString())
    mend(batch)
    assert batch.rejected.total() == 50
    assert len(batch.problems) == MAX_PROBLEMS


def test_every_request_of_the_corpus_survives() -> None:
    for request in corpus.trace_requests():
        if request.is_json:
            continue
        batch = decode_protobuf(request.body)
        mend(batch)
        assert not batch.rejected, request.name
        if not batch.mends:
            assert as_official(batch) == ExportTraceServiceRequest.FromString(request.body), request.name


def test_the_backend_of_the_tests_is_upb() -> None:
    require_upb()


def test_a_slow_protobuf_backend_is_refused_with_the_way_out() -> None:
    program = "from sidecar.wire.batch import require_upb; require_upb()"
    environment = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "StartError" in done.stderr and "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION" in done.stderr

"""Answers, held against the official classes."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from google.rpc.error_details_pb2 import BadRequest, RetryInfo  # type: ignore[import-untyped]  # googleapis ships no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # googleapis ships no stubs
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sidecar.errors import IntakeError, MalformedPayload, Overloaded, TooLarge
from sidecar.wire.answers import export_response, grpc_status_details, status_body
from sidecar.wire.encoding import Encoding

MALFORMED = MalformedPayload("not OTLP", [("resourceSpans[0]", "is not an object"), ("resourceSpans[1]", "is not an object")])


def test_full_success_leaves_partial_success_unset() -> None:
    assert export_response(Encoding.PROTOBUF) == b""
    assert export_response(Encoding.JSON) == b"{}"


@pytest.mark.parametrize(("rejected", "message"), [(3, "three spans have no trace id"), (0, "a warning"), (2, "")])
def test_both_encodings_tell_of_rejected_spans(rejected: int, message: str) -> None:
    from_protobuf = ExportTraceServiceResponse.FromString(export_response(Encoding.PROTOBUF, rejected, message))
    from_json = json_format.Parse(export_response(Encoding.JSON, rejected, message), ExportTraceServiceResponse())
    assert from_protobuf == from_json
    assert (from_protobuf.partial_success.rejected_spans, from_protobuf.partial_success.error_message) == (rejected, message)


def test_logs_and_metrics_name_their_own_items_in_json() -> None:
    logs = json_format.Parse(export_response(Encoding.JSON, 4, "", "logs"), ExportLogsServiceResponse())
    metrics = json_format.Parse(export_response(Encoding.JSON, 5, "", "metrics"), ExportMetricsServiceResponse())
    assert (logs.partial_success.rejected_log_records, metrics.partial_success.rejected_data_points) == (4, 5)


@pytest.mark.parametrize("error", [MALFORMED, Overloaded("busy", 1.25), Overloaded("busy", 0), TooLarge("64 MiB at most")])
def test_both_encodings_of_a_status_are_equal(error: IntakeError) -> None:
    from_protobuf = Status.FromString(status_body(Encoding.PROTOBUF, error))
    from_json = json_format.Parse(status_body(Encoding.JSON, error), Status())
    assert from_protobuf == from_json
    assert (from_protobuf.code, from_protobuf.message) == (error.grpc_code, error.message)


def test_violations_become_a_bad_request() -> None:
    status = Status.FromString(grpc_status_details(MALFORMED))
    details = BadRequest()
    assert len(status.details) == 1 and status.details[0].Unpack(details)
    assert [(each.field, each.description) for each in details.field_violations] == list(MALFORMED.violations)


@pytest.mark.parametrize(("delay_s", "seconds", "nanos"), [(1.25, 1, 250_000_000), (0.0, 0, 0), (2.9999999999, 3, 0), (-1.0, 0, 0)])
def test_a_retryable_error_says_when_to_come_back(delay_s: float, seconds: int, nanos: int) -> None:
    status = Status.FromString(grpc_status_details(Overloaded("busy", delay_s)))
    details = RetryInfo()
    assert len(status.details) == 1 and status.details[0].Unpack(details)
    assert (details.retry_delay.seconds, details.retry_delay.nanos) == (seconds, nanos)


def test_an_error_that_is_not_retryable_has_no_retry_info() -> None:
    assert not Status.FromString(grpc_status_details(TooLarge("too large"))).details
    assert "details" not in json.loads(status_body(Encoding.JSON, TooLarge("too large")))


@given(st.text(), st.integers(0, 2**62))
@settings(max_examples=60, deadline=None)
def test_any_text_fits_both_encodings(message: str, rejected: int) -> None:
    ExportTraceServiceResponse.FromString(export_response(Encoding.PROTOBUF, rejected, message))
    json.loads(export_response(Encoding.JSON, rejected, message))


@pytest.mark.parametrize("character", ["x", "\u20ac", "\U0001f600", "\ud800", "\x00"])
@pytest.mark.parametrize("encoding", Encoding)
def test_answers_stay_small_whatever_they_hold(encoding: Encoding, character: str) -> None:
    endless = character * 10_000_000
    error = MalformedPayload(endless, [(endless[:10_000], endless[:10_000])] * 1000)
    assert len(export_response(encoding, 1, endless)) < 64 * 1024
    assert len(status_body(encoding, error)) < 64 * 1024

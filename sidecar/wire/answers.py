"""What a receiver answers: export responses and google.rpc.Status, in the encoding of the request.

Owns the answers' bytes (OTLP specification 1.11, "OTLP/HTTP Response" and "OTLP/gRPC Response").
Every answer is bounded: at most 4 KiB of text and 10 violations of 2 x 256 bytes are written, so
even with each character escaped in JSON it stays far below the 4 MiB that OTLP allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sidecar.errors import IntakeError
from sidecar.wire import answer_pb2
from sidecar.wire.encoding import Encoding

MAX_TEXT_BYTES = 4096
MAX_VIOLATIONS = 10
MAX_VIOLATION_BYTES = 256

_TYPE = "type.googleapis.com/google.rpc."
_REJECTED = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}


def export_response(encoding: Encoding, rejected: int = 0, message: str = "", signal: str = "traces") -> bytes:
    """An ExportTraceServiceResponse. ``partial_success`` is unset when nothing was rejected and there is no warning.

    ``signal`` is traces, logs or metrics; the protobuf form is the same for all three.
    """
    text = _cut(message, MAX_TEXT_BYTES)
    if encoding is Encoding.JSON:
        partial: dict[str, object] = {}
        if rejected:
            partial[_REJECTED[signal]] = str(rejected)
        if text:
            partial["errorMessage"] = text
        return _json({"partialSuccess": partial} if partial else {})
    response = answer_pb2.ExportServiceResponse()
    if rejected or text:
        response.partial_success.rejected = rejected
        response.partial_success.error_message = text
    return response.SerializeToString()


def status_body(encoding: Encoding, error: IntakeError) -> bytes:
    """The google.rpc.Status that is the body of every 4xx and 5xx."""
    if encoding is Encoding.PROTOBUF:
        return grpc_status_details(error)
    status: dict[str, object] = {"code": error.grpc_code, "message": _cut(error.message, MAX_TEXT_BYTES)}
    details: list[dict[str, object]] = []
    violations = _violations(error)
    if violations:
        listed = [{"field": field, "description": description} for field, description in violations]
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": listed})
    if error.retry_after_s is not None:
        seconds, nanos = _duration(error.retry_after_s)
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{seconds}.{nanos:09}s"})
    if details:
        status["details"] = details
    return _json(status)


def grpc_status_details(error: IntakeError) -> bytes:
    """The serialized google.rpc.Status for gRPC's ``grpc-status-details-bin`` trailer, with BadRequest and RetryInfo where they apply."""
    status = answer_pb2.Status(code=error.grpc_code, message=_cut(error.message, MAX_TEXT_BYTES))
    violations = _violations(error)
    if violations:
        listed = [answer_pb2.FieldViolation(field=field, description=description) for field, description in violations]
        status.details.add(type_url=f"{_TYPE}BadRequest", value=answer_pb2.BadRequest(field_violations=listed).SerializeToString())
    if error.retry_after_s is not None:
        seconds, nanos = _duration(error.retry_after_s)
        info = answer_pb2.RetryInfo(retry_delay=answer_pb2.Duration(seconds=seconds, nanos=nanos))
        status.details.add(type_url=f"{_TYPE}RetryInfo", value=info.SerializeToString())
    return status.SerializeToString()


def _violations(error: IntakeError) -> list[tuple[str, str]]:
    return [(_cut(field, MAX_VIOLATION_BYTES), _cut(text, MAX_VIOLATION_BYTES)) for field, text in error.violations[:MAX_VIOLATIONS]]


def _duration(delay_s: float) -> tuple[int, int]:
    seconds, nanos = divmod(round(max(0.0, delay_s) * 1e9), 1_000_000_000)
    return seconds, nanos


def _cut(text: str, max_bytes: int) -> str:
    """The longest beginning that fits; what can't be encoded is replaced."""
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")


def _json(tree: Mapping[str, object]) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode("ascii")

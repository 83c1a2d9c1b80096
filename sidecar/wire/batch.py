"""The batch: the spans of one request, as they walk through the stages.

Owns the decoding of protobuf bodies. It must not judge spans; that is ``mend``'s part.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError

from sidecar.errors import MalformedPayload, StartError
from sidecar.wire import strict_pb2
from sidecar.wire.density import check_protobuf
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest

MAX_PROBLEMS = 10
"""A client developer needs the first few; 10 sentences of about 100 bytes stay far below the 4 MiB of an answer."""


@dataclass(slots=True)
class SpanBatch:
    """The spans of one request. Whoever holds it owns it and may change it; a stage takes one and returns one."""

    request: ExportTraceServiceRequest
    span_count: int
    """Spans that came, whether kept or rejected since: kept = span_count - rejected.total() - filtered."""
    clean: bool = False
    """Every string is UTF-8, every attribute is readable and has a value, so mending needs to look at ids and times only."""
    mends: Counter[str] = field(default_factory=Counter)
    """How often each mend (``mend.Mend``) was made."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Spans that can't be kept, by reason (``mend.Rejection``)."""
    filtered: int = 0
    """Spans that the span filter took out."""
    problems: list[str] = field(default_factory=list)
    """Sentences for the client about what was rejected, never with payload values; at most ``MAX_PROBLEMS``."""

    def reject(self, reason: str, problem: str) -> None:
        """Count one rejected span; ``problem`` says in a sentence where it was and what is wrong with it."""
        self.rejected[reason] += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def require_upb() -> None:
    """Raise StartError unless protobuf runs on upb; its pure Python backend is some 50 times slower."""
    backend = api_implementation.Type()
    if backend != "upb":
        raise StartError(
            f"protobuf runs on its {backend!r} backend, which is too slow here: unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION "
            "or install protobuf's binary wheel for this platform"
        )


def decode_protobuf(body: bytes) -> SpanBatch:
    """The batch in a serialized ExportTraceServiceRequest; raises MalformedPayload."""
    check_protobuf(body)
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise MalformedPayload(
            "the body is not a protobuf ExportTraceServiceRequest: check the exporter's protocol, and that a proxy did not change the body"
        ) from None
    return SpanBatch(request, count_spans(request), clean=is_clean(body))


def is_clean(body: bytes) -> bool:
    """Whether a whole serialized request is faultless but for ids and times. One parse in C answers it.

    The strict schema refuses invalid UTF-8 and nesting over protobuf's limit, and requires a value in every KeyValue.
    """
    try:
        return strict_pb2.ExportTraceServiceRequest.FromString(body).IsInitialized()
    except DecodeError:
        return False


def count_spans(request: ExportTraceServiceRequest) -> int:
    """Spans of a request."""
    return sum(len(scope_spans.spans) for resource_spans in request.resource_spans for scope_spans in resource_spans.scope_spans)

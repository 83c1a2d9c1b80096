"""What Langfuse's server makes of an export, as functions on bytes: decompression, parsing, validation, silent loss.

Follows the observable behaviour of server 4.16. Decodes with the official OpenTelemetry classes, never with sidecar.wire.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes import otlp_json

MAX_INGESTION_VERSION = 4
MAX_RAW_BYTES = 256 * 1024 * 1024
"""The server has no bound; the fake has one, so that a test that goes wrong can't eat the machine."""

Predicate = Callable[[Span], bool]

_GENAI_EVENTS = frozenset(
    {
        "gen_ai.client.inference.operation.details",
        "gen_ai.system.message",
        "gen_ai.user.message",
        "gen_ai.assistant.message",
        "gen_ai.tool.message",
        "gen_ai.choice",
        "gen_ai.content.prompt",
        "gen_ai.content.completion",
    }
)
"""The only events whose attributes the server reads."""


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span with what stood around it in its request."""

    span: Span
    resource: Resource
    scope: InstrumentationScope
    resource_schema_url: str
    scope_schema_url: str

    @property
    def id(self) -> tuple[bytes, bytes]:
        return (self.span.trace_id, self.span.span_id)


class Refusal(Exception):
    """An answer that is not 200. ``body`` is the JSON that the server sends."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = dict(body)


def public_key(header: str | None) -> str:
    """The user name of a basic Authorization header; empty if there is none."""
    return _credentials(header)[0]


def authenticate(header: str | None, keys: Mapping[str, str]) -> None:
    """Raise Refusal unless the Authorization header lets in; ``keys`` maps public keys to secret keys.

    Only the secret decides: a wrong public key beside a right secret is let in.
    """
    if header is None:
        raise Refusal(401, {"message": "No authorization header"})
    scheme = header.partition(" ")[0]
    if scheme == "Bearer":
        raise Refusal(403, {"message": "Access denied - insufficient permissions for this endpoint"})
    if scheme != "Basic":
        raise Refusal(401, {"message": "Invalid authorization header"})
    if _credentials(header)[1] not in keys.values():
        raise Refusal(401, {"message": "Invalid credentials. Confirm that you've configured the correct host."})


def _credentials(header: str | None) -> tuple[str, str]:
    scheme, _, encoded = (header or "").partition(" ")
    try:
        text = base64.b64decode(encoded, validate=True).decode() if scheme == "Basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    public, _, secret = text.partition(":")
    return public, secret.split(":")[0]


def gunzip(body: bytes, limit: int = MAX_RAW_BYTES) -> bytes:
    """Every member of a gzip stream (RFC 1952, section 2.2), decompressed; raises Refusal for anything else."""
    parts: list[bytes] = []
    room = limit
    while body:
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(body, room + 1)
        except zlib.error as error:
            raise Refusal(400, {"error": "Failed to decompress request body"}) from error
        room -= len(part)
        if not member.eof or room < 0:
            raise Refusal(400, {"error": "Failed to decompress request body"})
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def decode(body: bytes, content_encoding: str, content_type: str) -> tuple[ExportTraceServiceRequest, int]:
    """The request in a body and its size after decompression; raises Refusal. Only gzip is understood."""
    raw = gunzip(body) if "gzip" in content_encoding else body
    kind = content_type.lower()
    if "application/x-protobuf" in kind:
        try:
            return ExportTraceServiceRequest.FromString(raw), len(raw)
        except DecodeError as error:
            raise Refusal(400, {"error": "Failed to parse OTel Protobuf Trace"}) from error
    if "application/json" in kind:
        try:
            return otlp_json.from_json(raw), len(raw)
        except ValueError as error:
            raise Refusal(400, {"error": "Failed to parse OTel JSON Trace"}) from error
    raise Refusal(400, {"error": "Invalid content type"})


def validate(request: ExportTraceServiceRequest, poisons: Iterable[Predicate]) -> None:
    """Refuse the whole export for one span without ids, or one that a test's predicate calls bad."""
    predicates = tuple(poisons)
    reasons: Counter[str] = Counter()
    bad = total = 0
    scopes: set[str] = set()
    for received in flatten(request):
        total += 1
        span = received.span
        found = [name for name, value in (("traceId:absent", span.trace_id), ("spanId:absent", span.span_id)) if not value]
        found += ["attributes:invalid"] if any(predicate(span) for predicate in predicates) else []
        if found:
            bad += 1
            reasons.update(found)
            scopes.add(received.scope.name)
    if bad:
        raise Refusal(
            400,
            {
                "error": f"Invalid OTLP trace export: {bad} of {total} span(s) cannot be processed ({', '.join(sorted(reasons))}). "
                f"The entire export was rejected and no spans were ingested. Instrumentation scopes: {', '.join(sorted(scopes))}"
            },
        )


def check_version(header: str | None) -> None:
    """Refuse an ingestion version that is no number or newer than the server."""
    if header is None:
        return
    if not header.isdigit() or int(header) > MAX_INGESTION_VERSION:
        raise Refusal(400, {"error": f'Unsupported x-langfuse-ingestion-version: "{header}". Maximum supported: "{MAX_INGESTION_VERSION}".'})


def loss(request: ExportTraceServiceRequest) -> str:
    """Why the worker would lose the whole export after the 200; empty if it would not."""
    for received in flatten(request):
        places: list[tuple[str, Iterable[KeyValue]]] = [
            ("resource", received.resource.attributes),
            ("scope", received.scope.attributes),
            ("span", received.span.attributes),
        ]
        places += [("event", event.attributes) for event in received.span.events if event.name in _GENAI_EVENTS]
        for place, attributes in places:
            for attribute in attributes:
                if not attribute.HasField("value"):
                    return f"{place} attribute {attribute.key!r} has no value"
    return ""


def oddities(request: ExportTraceServiceRequest) -> list[str]:
    """What the server would take and show wrongly: nothing of this should reach it."""
    found = []
    for received in flatten(request):
        span = received.span
        name = span.span_id.hex()
        if len(span.trace_id) != 16 or len(span.span_id) != 8:
            found.append(f"{name}: ids of {len(span.trace_id)} and {len(span.span_id)} bytes")
        if span.parent_span_id and (len(span.parent_span_id) != 8 or not any(span.parent_span_id)):
            found.append(f"{name}: parent id {span.parent_span_id.hex()}")
        if span.end_time_unix_nano < span.start_time_unix_nano:
            found.append(f"{name}: ends before it starts")
    return found


def flatten(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    """Every span of a request with its resource and scope."""
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield ReceivedSpan(span, resource_spans.resource, scope_spans.scope, resource_spans.schema_url, scope_spans.schema_url)


def job(number: int, owner: str) -> bytes:
    """The body of a 200: a queue job, never an OTLP response."""
    key = f"events/otel/project-1/{number:08d}.json"
    body = {
        "name": "otel-ingestion-job",
        "data": {
            "id": f"job-{number}",
            "payload": {"data": {"fileKey": key, "publicKey": owner}, "authCheck": {"scope": {"projectId": "project-1"}}},
        },
        "opts": {"attempts": 6, "backoff": {"type": "exponential", "delay": 5000}, "removeOnFail": 100_000},
        "id": str(number),
        "progress": 0,
        "returnvalue": None,
        "stacktrace": [],
        "attemptsMade": 0,
        "queueQualifiedName": "bull:otel-ingestion-queue",
    }
    return json.dumps(body).encode()

"""OTLP/JSON to and from the official protobuf classes: ids in hex, enums as integers, 64-bit integers as strings.

For tests only, independent of sidecar.wire, so that one can be held against the other.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def to_json(request: ExportTraceServiceRequest) -> bytes:
    """The request as an OTLP/JSON body (OTLP specification, "JSON Protobuf Encoding")."""
    tree = json_format.MessageToDict(request, use_integers_for_enums=True)
    return json.dumps(_with_ids(tree, lambda text: base64.b64decode(text).hex())).encode()


def from_json(body: bytes) -> ExportTraceServiceRequest:
    """The request in an OTLP/JSON body; raises ValueError for anything that is not one."""
    tree = _with_ids(json.loads(body), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    if not isinstance(tree, dict):
        raise ValueError("an OTLP/JSON body is an object")  # noqa: TRY004  (one error for every malformed body)
    try:
        return json_format.ParseDict(tree, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error


def _with_ids(tree: object, convert: Callable[[str], str]) -> object:
    """Convert every id of a tree. Attribute keys are values in OTLP, so only ids carry these names."""
    if isinstance(tree, dict):
        return {key: convert(value) if key in _IDS and isinstance(value, str) else _with_ids(value, convert) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_ids(item, convert) for item in tree]
    return tree

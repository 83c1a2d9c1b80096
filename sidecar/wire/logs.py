"""Log requests, protobuf and OTLP/JSON, decoded as far as they are read: nothing of them is passed on.

Owns the decoding of a request down to its records, and of a single record and its values. It must not know what a record
means. A request is refused only when it is no log request; a malformed record costs itself, invalid UTF-8 a few characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from google.protobuf.message import DecodeError

from sidecar.errors import MalformedPayload
from sidecar.wire.attributes import KEY, VALUE, Value, decode, delimited
from sidecar.wire.batch import MAX_PROBLEMS
from sidecar.wire.density import SMALL_BODY_BYTES, check_json, check_protobuf
from sidecar.wire.encoding import Encoding
from sidecar.wire.json_values import Fault, Object, Values, as_object, id_at, integer_at, list_at, object_at
from sidecar.wire.mend import Mend
from sidecar.wire.otlp_json import parse_json
from sidecar.wire.repair import Repair, Unreadable, fields
from sidecar.wire.shallow_logs_pb2 import ExportLogsServiceRequest, LogRecord, ResourceLogs, ScopeLogs
from sidecar.wire.shallow_pb2 import InstrumentationScope, Resource

_UINT64_MAX = (1 << 64) - 1
MAX_RECORD_FIELDS = 4096
"""Fields of a record, which mostly are attributes. SDKs keep 128; an empty one takes 2 bytes encoded and up to 48 decoded."""


class Skip(StrEnum):
    """Why a record gives nothing."""

    MALFORMED = "malformed"
    """It is no log record, or a field has a value that its type does not allow."""
    NO_SPAN = "no_span"
    """It names no span: trace id or span id are missing or malformed."""
    NOT_CONTENT = "not_content"
    """It is something else, or says nothing."""
    TOO_MANY = "too_many"
    """The request holds more content records than are read."""


@dataclass(slots=True)
class LogsBatch:
    """The records of one log request. Whoever holds it owns it."""

    request: ExportLogsServiceRequest
    """Records are serialized LogRecords; ``decode_record`` opens one."""
    record_count: int = 0
    """Records that came, whether malformed or not."""
    mends: Counter[str] = field(default_factory=Counter)
    """How often each mend (``mend.Mend``) was made, in what was opened."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Records that gave nothing, by reason (``Skip``)."""
    problems: list[str] = field(default_factory=list)
    """Sentences for the client about malformed records, never with payload values; at most ``MAX_PROBLEMS``."""


def decode_logs(body: bytes, encoding: Encoding) -> LogsBatch:
    """The batch in an ExportLogsServiceRequest; raises MalformedPayload."""
    return _decode_json(body) if encoding is Encoding.JSON else _decode_protobuf(body)


def decode_record(raw: bytes) -> LogRecord | None:
    """A serialized record, opened; None when it is none, or has so many fields that it would fill the memory."""
    try:
        if len(raw) > SMALL_BODY_BYTES and next(islice(fields(raw), MAX_RECORD_FIELDS, None), None) is not None:
            return None
        record = LogRecord.FromString(raw)
    except (Unreadable, DecodeError):
        return None
    return record if len(record.attributes) <= MAX_RECORD_FIELDS else None


def body_value(record: LogRecord, mends: Counter[str]) -> Value:
    """The body of a record, read as ``attribute_value`` reads; None when there is none."""
    return _value(delimited(KEY, b"") + delimited(VALUE, record.body), mends) if record.body else None


def attribute_value(attributes: Iterable[bytes], key: bytes, mends: Counter[str]) -> Value:
    """The value of the first attribute with this key (UTF-8); None when there is none, or it is empty or can't be read.

    Invalid UTF-8 is replaced; what had to be mended is counted. Raises nothing, whatever the bytes are.
    """
    prefix = delimited(KEY, key)
    for raw in attributes:
        if raw.startswith(prefix):
            return _value(raw, mends)
    return None


def _value(pair: bytes, mends: Counter[str]) -> Value:
    if len(pair) > SMALL_BODY_BYTES and _is_dense(pair):
        mends[Mend.UNREADABLE] += 1
        return None
    try:
        return decode(pair)[1]
    except ValueError:
        return _repaired(pair, mends)


def _repaired(pair: bytes, mends: Counter[str]) -> Value:
    repairing = Repair()
    try:
        value = decode(repairing.key_value(pair))[1]
    except ValueError:  # with Unreadable and WithoutValue
        mends[Mend.UNREADABLE] += 1
        return None
    mends[Mend.INVALID_UTF8] += repairing.invalid_utf8
    mends[Mend.NO_VALUE] += repairing.without_value
    return value


def _is_dense(pair: bytes) -> bool:
    """Whether a KeyValue would take too much memory decoded; judged where a request has one, on its resource."""
    try:
        check_protobuf(delimited(b"\x0a", delimited(b"\x0a", delimited(b"\x0a", pair))))
    except MalformedPayload:
        return True
    return False


def _decode_protobuf(body: bytes) -> LogsBatch:
    check_protobuf(body)  # requests, resources and scopes have the numbers of traces; a record is estimated as a span
    try:
        request = ExportLogsServiceRequest.FromString(body)
    except DecodeError:
        raise MalformedPayload(
            "the body is not a protobuf ExportLogsServiceRequest: check the exporter's protocol, and that a proxy did not change the body"
        ) from None
    records = sum(len(scope_logs.log_records) for resource_logs in request.resource_logs for scope_logs in resource_logs.scope_logs)
    return LogsBatch(request, records)


def _decode_json(body: bytes) -> LogsBatch:
    check_json(body)
    batch = LogsBatch(ExportLogsServiceRequest())
    tree = parse_json(body, batch.mends)
    if not isinstance(tree, dict):
        raise MalformedPayload("the body is JSON, but not an object: an OTLP/JSON log request is an object with the key resourceLogs")
    try:
        _JsonReader(batch).request(tree)
    except Fault as fault:
        raise MalformedPayload(f"the body is not an OTLP/JSON log request: {fault}", [(fault.path, fault.text)]) from None
    return batch


class _JsonReader:
    """Fills a batch from the tree."""

    def __init__(self, batch: LogsBatch) -> None:
        self._batch = batch
        self._values = Values(batch.mends)

    def request(self, tree: Object) -> None:
        for index, item in enumerate(list_at(tree, "resourceLogs", "")):
            path = f"resourceLogs[{index}]"
            self._resource_logs(as_object(item, path), self._batch.request.resource_logs.add(), path)

    def _resource_logs(self, tree: Object, out: ResourceLogs, path: str) -> None:
        attributes = self._values.attributes_at(object_at(tree, "resource", path), f"{path}.resource")
        out.resource = Resource(attributes=attributes).SerializeToString()
        for index, item in enumerate(list_at(tree, "scopeLogs", path)):
            where = f"{path}.scopeLogs[{index}]"
            self._scope_logs(as_object(item, where), out.scope_logs.add(), where)

    def _scope_logs(self, tree: Object, out: ScopeLogs, path: str) -> None:
        values, where = self._values, f"{path}.scope"
        scope = object_at(tree, "scope", path)
        out.scope = InstrumentationScope(
            name=values.text_at(scope, "name", where),
            version=values.text_at(scope, "version", where),
            attributes=values.attributes_at(scope, where),
        ).SerializeToString()
        for index, item in enumerate(list_at(tree, "logRecords", path)):
            where = f"{path}.logRecords[{index}]"
            self._batch.record_count += 1
            try:
                out.log_records.append(self._record(as_object(item, where), where).SerializeToString())
            except Fault as fault:
                self._batch.skipped[Skip.MALFORMED] += 1
                if len(self._batch.problems) < MAX_PROBLEMS:
                    self._batch.problems.append(str(fault))

    def _record(self, tree: Object, path: str) -> LogRecord:
        values = self._values
        return LogRecord(
            time_unix_nano=integer_at(tree, "timeUnixNano", 0, _UINT64_MAX, path),
            observed_time_unix_nano=integer_at(tree, "observedTimeUnixNano", 0, _UINT64_MAX, path),
            trace_id=id_at(tree, "traceId", path),
            span_id=id_at(tree, "spanId", path),
            event_name=values.text_at(tree, "eventName", path),
            attributes=values.attributes_at(tree, path),
            body=self._body(tree, path),
        )

    def _body(self, tree: Object, path: str) -> bytes:
        """The body as a serialized AnyValue, taken out of a KeyValue, whose reader keeps the rules of values."""
        if tree.get("body") is None:
            return b""
        pairs = self._values.attributes_at({"attributes": [{"key": "", "value": tree["body"]}]}, path)
        return b"".join(payload for pair in pairs for number, _, payload, _ in fields(pair) if number == 2)

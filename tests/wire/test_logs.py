"""Decoding log requests: protobuf and JSON give the same, and a fault costs one record."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidecar.errors import MalformedPayload
from sidecar.wire.batch import MAX_PROBLEMS
from sidecar.wire.density import SMALL_BODY_BYTES
from sidecar.wire.encoding import Encoding
from sidecar.wire.logs import MAX_RECORD_FIELDS, LogsBatch, Skip, attribute_value, body_value, decode_logs, decode_record
from sidecar.wire.mend import Mend
from sidecar.wire.shallow_logs_pb2 import LogRecord
from tests import corpus, spans
from tests.wire.strategies import attributes, damaged, span_ids, texts, times, trace_ids, values

RECORD: dict[str, Any] = {
    "timeUnixNano": "1795000000000000000",
    "observedTimeUnixNano": 1795000000000000001,
    "traceId": "0102030405060708090A0B0C0D0E0F10",
    "spanId": "0102030405060708",
    "eventName": "gen_ai.user.message",
    "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "Hello"}}]}},
    "attributes": [{"key": "gen_ai.system", "value": {"stringValue": "openai"}}],
}


@st.composite
def valid_requests(draw: st.DrawFn) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        resource_logs = request.resource_logs.add(resource=Resource(attributes=spans.key_values(draw(attributes))))
        for _ in range(draw(st.integers(0, 2))):
            scope_logs = resource_logs.scope_logs.add(scope=InstrumentationScope(name=draw(texts), attributes=spans.key_values(draw(attributes))))
            for _ in range(draw(st.integers(0, 3))):
                scope_logs.log_records.add(
                    time_unix_nano=draw(times),
                    observed_time_unix_nano=draw(times),
                    trace_id=draw(trace_ids),
                    span_id=draw(span_ids),
                    event_name=draw(texts),
                    body=spans.any_value(draw(values)),
                    attributes=spans.key_values(draw(attributes)),
                )
    return request


bodies = valid_requests().map(lambda request: request.SerializeToString())


def raw_records(batch: LogsBatch) -> list[bytes]:
    return [raw for resource in batch.request.resource_logs for scope in resource.scope_logs for raw in scope.log_records]


def opened(batch: LogsBatch) -> list[LogRecord]:
    records = [decode_record(raw) for raw in raw_records(batch)]
    return [record for record in records if record is not None]


def as_json(request: ExportLogsServiceRequest) -> bytes:
    """OTLP/JSON of the official classes: ids in hex, the rest as protobuf's JSON mapping."""
    tree = json_format.MessageToDict(request, use_integers_for_enums=True)
    for resource in tree.get("resourceLogs", []):
        for scope in resource.get("scopeLogs", []):
            for record in scope.get("logRecords", []):
                record.update({key: base64.b64decode(record[key]).hex() for key in ("traceId", "spanId")})
    return json.dumps(tree).encode()


def json_body(*records: object, **resource_logs: object) -> bytes:
    return json.dumps({"resourceLogs": [{**resource_logs, "scopeLogs": [{"scope": {"name": "tests"}, "logRecords": records}]}]}).encode()


def protobuf_body(*records: bytes) -> bytes:
    """A request of records as they are; the official classes would refuse malformed ones."""
    scope_logs = b"".join(field(0x12, record) for record in records)
    return field(0x0A, field(0x12, scope_logs))


def field(tag: int, payload: bytes) -> bytes:
    length, number = bytearray(), len(payload)
    while number >= 128:
        length.append(number & 127 | 128)
        number >>= 7
    return bytes([tag, *length, number]) + payload


def record(**fields: Any) -> bytes:
    return logs_pb2.LogRecord(**fields).SerializeToString()


@given(valid_requests())
@settings(max_examples=50, deadline=None)
def test_every_record_of_a_valid_request_is_read_as_the_official_classes_read_it(request: ExportLogsServiceRequest) -> None:
    batch = decode_logs(request.SerializeToString(), Encoding.PROTOBUF)
    expected = [item for resource in request.resource_logs for scope in resource.scope_logs for item in scope.log_records]

    assert batch.record_count == len(expected)
    for raw, official in zip(opened(batch), expected, strict=True):
        assert (raw.time_unix_nano, raw.observed_time_unix_nano) == (official.time_unix_nano, official.observed_time_unix_nano)
        assert (raw.trace_id, raw.span_id, raw.event_name) == (official.trace_id, official.span_id, official.event_name.encode())
        assert AnyValue.FromString(raw.body) == official.body
        assert list(raw.attributes) == [pair.SerializeToString() for pair in official.attributes]
    assert [resource.resource for resource in batch.request.resource_logs] == [r.resource.SerializeToString() for r in request.resource_logs]
    assert not batch.mends and not batch.skipped and not batch.problems


@given(valid_requests())
@settings(max_examples=50, deadline=None)
def test_json_gives_the_same_as_protobuf(request: ExportLogsServiceRequest) -> None:
    from_json = decode_logs(as_json(request), Encoding.JSON)
    from_protobuf = decode_logs(request.SerializeToString(), Encoding.PROTOBUF)

    assert from_json.record_count == from_protobuf.record_count
    for ours, theirs in zip(opened(from_json), opened(from_protobuf), strict=True):
        assert (ours.time_unix_nano, ours.trace_id, ours.span_id, ours.event_name) == (
            theirs.time_unix_nano,
            theirs.trace_id,
            theirs.span_id,
            theirs.event_name,
        )
        assert body_value(ours, Counter()) == body_value(theirs, Counter())


@given(st.binary(max_size=200) | damaged(bodies), st.sampled_from(Encoding))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_batch_or_malformed_payload(body: bytes, encoding: Encoding) -> None:
    try:
        batch = decode_logs(body, encoding)
    except MalformedPayload:
        return
    for item in opened(batch):
        body_value(item, batch.mends)
        attribute_value(item.attributes, b"event.name", batch.mends)


@given(damaged(valid_requests().map(as_json)))
@settings(max_examples=100, deadline=None)
def test_damaged_json_gives_a_batch_or_malformed_payload(body: bytes) -> None:
    try:
        batch = decode_logs(body, Encoding.JSON)
    except MalformedPayload:
        return
    assert batch.record_count == len(raw_records(batch)) + batch.skipped[Skip.MALFORMED]


def test_a_body_that_is_no_protobuf_says_what_to_check() -> None:
    with pytest.raises(MalformedPayload, match="not a protobuf ExportLogsServiceRequest: check"):
        decode_logs(b'{"resourceLogs": []}', Encoding.PROTOBUF)


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"resourceLogs": 1}', b'{"resourceLogs": [1]}', json_body(RECORD, resource=[])])
def test_json_that_is_no_log_request_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedPayload):
        decode_logs(body, Encoding.JSON)


def test_a_fault_above_the_records_names_its_place() -> None:
    with pytest.raises(MalformedPayload) as raised:
        decode_logs(json_body(RECORD, resource=[]), Encoding.JSON)
    assert raised.value.violations == (("resourceLogs[0].resource", "is not an object"),)


def test_an_empty_body_is_an_empty_batch() -> None:
    assert decode_logs(b"", Encoding.PROTOBUF).record_count == 0
    assert decode_logs(b"{}", Encoding.JSON).record_count == 0


def test_json_ids_are_hex_and_times_strings_or_numbers() -> None:
    (read,) = opened(decode_logs(json_body(RECORD), Encoding.JSON))
    assert (read.trace_id, read.span_id) == (spans.TRACE_ID, spans.SPAN_ID)
    assert (read.time_unix_nano, read.observed_time_unix_nano) == (spans.START_NS, spans.START_NS + 1)
    assert body_value(read, Counter()) == {"content": "Hello"}
    assert attribute_value(read.attributes, b"gen_ai.system", Counter()) == "openai"


def test_a_malformed_json_record_costs_itself_and_is_told_to_the_client() -> None:
    batch = decode_logs(json_body({**RECORD, "traceId": "no hex"}, 1, RECORD), Encoding.JSON)
    assert batch.record_count == 3
    assert batch.skipped == {Skip.MALFORMED: 2}
    assert batch.problems[1] == "resourceLogs[0].scopeLogs[0].logRecords[1] is not an object"
    assert [read.trace_id for read in opened(batch)] == [spans.TRACE_ID]


def test_problems_are_bounded_but_malformed_records_are_all_counted() -> None:
    batch = decode_logs(json_body(*[1] * 50), Encoding.JSON)
    assert batch.skipped[Skip.MALFORMED] == 50
    assert len(batch.problems) == MAX_PROBLEMS


@pytest.mark.parametrize("body", [{"stringValue": 1}, {"stringValue": "a", "intValue": 1}, 7])
def test_a_json_body_that_is_no_value_leaves_a_record_without_body(body: object) -> None:
    batch = decode_logs(json_body({**RECORD, "body": body}), Encoding.JSON)
    (read,) = opened(batch)
    assert body_value(read, batch.mends) is None
    assert batch.mends[Mend.UNREADABLE] == 1


def test_a_malformed_protobuf_record_costs_itself_alone() -> None:
    batch = decode_logs(protobuf_body(b"\x32\xff", record(trace_id=spans.TRACE_ID)), Encoding.PROTOBUF)
    assert batch.record_count == 2
    assert [decode_record(raw) is None for raw in raw_records(batch)] == [True, False]


def test_invalid_utf8_is_replaced_in_the_value_that_holds_it() -> None:
    body = spans.any_value({"content": "caf@", "other": "fine"}).SerializeToString().replace(b"@", b"\xff")
    read, mends = LogRecord(body=body), Counter[str]()
    assert body_value(read, mends) == {"content": "caf�", "other": "fine"}
    assert mends[Mend.INVALID_UTF8] == 1


def test_an_unreadable_value_is_none_and_counted() -> None:
    mends = Counter[str]()
    assert body_value(LogRecord(body=b"\x32\xff"), mends) is None
    assert attribute_value([b"\x0a\x01k\x12\x02\x0a\xff"], b"k", mends) is None
    assert mends[Mend.UNREADABLE] == 2


def test_a_body_nested_beyond_protobufs_limit_is_unreadable() -> None:
    body = b""
    for _ in range(200):
        body = field(0x2A, field(0x0A, body))
    mends = Counter[str]()
    assert body_value(LogRecord(body=body), mends) is None
    assert mends[Mend.UNREADABLE] == 1


def test_an_absent_attribute_is_none() -> None:
    pairs = [pair.SerializeToString() for pair in spans.key_values({"event.names": "a", "empty": None})]
    mends = Counter[str]()
    assert attribute_value(pairs, b"event.name", mends) is None
    assert attribute_value(pairs, b"empty", mends) is None
    assert not mends


def test_a_request_of_millions_of_empty_records_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(MalformedPayload, match="too much memory"):
        decode_logs(field(0x0A, field(0x12, b"\x12\x00" * 3_000_000)), Encoding.PROTOBUF)
    with pytest.raises(MalformedPayload, match="too much memory"):
        decode_logs(b'{"resourceLogs":[' + b"{}," * 3_000_000 + b"{}]}", Encoding.JSON)


@pytest.mark.parametrize("attributes", [MAX_RECORD_FIELDS + 1, SMALL_BODY_BYTES])
def test_a_record_of_too_many_attributes_is_not_opened(attributes: int) -> None:
    assert decode_record(b"\x32\x00" * attributes) is None
    assert decode_record(b"\x32\x00" * MAX_RECORD_FIELDS) is not None


def test_a_value_that_would_fill_the_memory_is_not_opened() -> None:
    mends = Counter[str]()
    assert body_value(LogRecord(body=field(0x2A, b"\x0a\x00" * 2_500_000)), mends) is None
    assert mends[Mend.UNREADABLE] == 1


def test_a_large_record_is_opened() -> None:
    content = "a long document " * 100_000
    read = decode_record(record(body=spans.any_value({"content": content}), attributes=spans.key_values({"event.name": "gen_ai.user.message"})))
    assert read is not None
    assert body_value(read, Counter()) == {"content": content}


def test_every_request_of_the_corpus_is_decoded() -> None:
    records = 0
    for request in corpus.log_requests():
        batch = decode_logs(request.body, Encoding.PROTOBUF)
        assert len(opened(batch)) == batch.record_count, request.name
        records += batch.record_count
    assert records > 200

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sidecar.errors import BufferFull, Overloaded
from sidecar.receive.intake import Intake
from sidecar.wire.batch import SpanBatch
from tests.receive.rig import (
    AS_JSON,
    AS_PROTOBUF,
    BODIES,
    BOTH,
    JSON,
    MIB,
    PACK,
    PATHS,
    PROTOBUF,
    SPANS,
    HttpRig,
    assert_refused,
    loopback,
    make_rig,
    on_http,
)
from tests.spans import many, request, span


@BOTH
@pytest.mark.parametrize("encoding", PACK)
@pytest.mark.parametrize("path", ["/v1/traces", "/api/public/otel/v1/traces", "//api/public/otel/v1/traces", "/v1/traces/", "/v1/traces?source=test"])
def test_spans_are_taken_in_every_encoding_at_every_path(content_type: str, encoding: str, path: str) -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.post(path, PACK[encoding](BODIES[content_type]), content_type, Content_Encoding=encoding)
        assert (answer.status, answer.content_type) == (200, content_type)
        assert answer.body == (b"" if content_type == PROTOBUF else b"{}")
        assert http.buffer.names == {"chat": 1}

    on_http(scene)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json; charset=utf-8", JSON),
        ("APPLICATION/JSON", JSON),
        (" application/json ;charset=UTF-8", JSON),
        ("Application/X-Protobuf", PROTOBUF),
        ("application/x-protobuf; proto=opentelemetry", PROTOBUF),
    ],
)
def test_content_types_may_have_capitals_and_parameters(content_type: str, expected: str) -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.post(body=BODIES[expected], content_type=content_type)
        assert (answer.status, answer.content_type) == (200, expected)
        assert http.buffer.names == {"chat": 1}

    on_http(scene)


@BOTH
@pytest.mark.parametrize("path", PATHS)
def test_an_empty_request_succeeds(content_type: str, path: str) -> None:
    async def scene(http: HttpRig) -> None:
        for body in (b"", b"{}" if content_type == JSON else b""):
            answer = await http.post(path, body, content_type)
            assert (answer.status, answer.content_type, answer.body) == (200, content_type, b"" if content_type == PROTOBUF else b"{}")
        assert (await http.post(path, b"", content_type, Content_Encoding="gzip")).status == 200
        assert http.buffer.appends == []

    on_http(scene)


@BOTH
def test_spans_rejected_one_by_one_are_told_as_partial_success(content_type: str) -> None:
    async def scene(http: HttpRig) -> None:
        sent = request(span(name="good"), span(name="bad", span_id=b""))
        body = sent.SerializeToString() if content_type == PROTOBUF else AS_JSON.replace(b'0102030405060708"', b'"')
        answer = await http.post(body=body, content_type=content_type)
        assert (answer.status, answer.content_type) == (200, content_type)
        if content_type == PROTOBUF:
            partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
            assert partial.rejected_spans == 1
            assert partial.error_message
            assert http.buffer.names == {"good": 1}
        else:
            partial_success = json.loads(answer.body)["partialSuccess"]
            assert partial_success["rejectedSpans"] == "1"
            assert partial_success["errorMessage"]

    on_http(scene)


def test_a_chunked_body_is_taken() -> None:
    async def scene(http: HttpRig) -> None:
        half = len(AS_PROTOBUF) // 2
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (AS_PROTOBUF[:half], AS_PROTOBUF[half:], b""))
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Type: {PROTOBUF}\r\n\r\n"
        assert (await http.raw(head.encode() + chunks)).startswith(b"HTTP/1.1 200 ")
        assert http.buffer.names == {"chat": 1}

    on_http(scene)


def test_expect_100_continue_is_answered_before_the_body() -> None:
    async def scene(http: HttpRig) -> None:
        reader, writer = await http.connect()
        writer.write(f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(AS_PROTOBUF)}\r\n".encode())
        writer.write(f"Content-Type: {PROTOBUF}\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(AS_PROTOBUF)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()

    on_http(scene)


def test_expect_100_continue_is_refused_at_once_when_the_body_would_be_too_large() -> None:
    async def scene(http: HttpRig) -> None:
        reader, writer = await http.connect()
        writer.write(f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {MIB + 1}\r\n".encode())
        writer.write(f"Content-Type: {PROTOBUF}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
        writer.close()

    on_http(scene, loopback(max_body_mib=1))


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scene(http: HttpRig) -> None:
        requests = b""
        for number in range(10):
            body = request(span(name=f"span {number}")).SerializeToString()
            close = "Connection: close\r\n" if number == 9 else ""
            path = "/nowhere" if number == 5 else "/v1/traces"
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{close}Content-Type: {PROTOBUF}\r\nContent-Length: {len(body)}\r\n\r\n"
            requests += head.encode() + body
        answers = await http.raw(requests)
        assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200"] * 5 + [b"404"] + [b"200"] * 4
        assert http.buffer.names == {f"span {number}": 1 for number in range(10) if number != 5}

    on_http(scene)


def test_a_connection_is_kept_alive_between_requests() -> None:
    async def scene(http: HttpRig) -> None:
        reader, writer = await http.connect()
        for _ in range(3):
            writer.write(f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 0\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()

    on_http(scene)


@BOTH
@pytest.mark.parametrize("signal", ["logs", "metrics"])
@pytest.mark.parametrize("prefix", ["", "/api/public/otel"])
def test_logs_and_metrics_are_accepted_whatever_they_hold(content_type: str, signal: str, prefix: str) -> None:
    async def scene(http: HttpRig) -> None:
        for body in (b"anything", b"{not json", b"\x0a\xff"):
            answer = await http.post(f"{prefix}/v1/{signal}", body, content_type)
            assert (answer.status, answer.content_type, answer.body) == (200, content_type, b"" if content_type == PROTOBUF else b"{}")
        assert http.count("sidecar_receiver_discarded_items_total", transport="http", signal=signal) == 3
        assert http.buffer.appends == []

    on_http(scene)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/octet-stream", "application/protobuf", "json"])
def test_a_missing_or_unknown_content_type_is_415_with_a_status(path: str, content_type: str | None) -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.post(path, AS_PROTOBUF, content_type)
        assert "application/x-protobuf" in assert_refused(answer, 415, 3, JSON).message

    on_http(scene)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_405_with_allow_and_a_status(path: str, method: str) -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.post(path, method=method, content_type=JSON)
        assert_refused(answer, 405, 12, JSON)
        assert answer.headers["Allow"] == "POST"
        assert_refused(await http.post(path, method=method, content_type=None), 405, 12, JSON)

    on_http(scene)


def test_a_head_request_has_no_body() -> None:
    async def scene(http: HttpRig) -> None:
        assert (await http.post("/v1/traces", method="HEAD", content_type=None)).status == 405

    on_http(scene)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/spans", "/v1/traces/more", "/api/public", "/v2/traces", "/%2e%2e/v1/traces", "/v1/traces%00"])
def test_an_unknown_path_is_404_with_a_status(path: str) -> None:
    async def scene(http: HttpRig) -> None:
        assert_refused(await http.post(path, AS_JSON, JSON), 404, 12, JSON)
        assert_refused(await http.post(path, AS_PROTOBUF), 404, 12)

    on_http(scene)


@pytest.mark.parametrize(
    "path", ["/api/public/scores", "/api/public/ingestion", "//api/public/v2/prompts/x?version=1", "/api/public/otel", "/api/public/health"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_rest_of_langfuses_api_is_501_with_a_reason(path: str, method: str) -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.post(path, b"{}" if method == "POST" else b"", JSON, method)
        assert "not served" in assert_refused(answer, 501, 12, JSON).message

    on_http(scene)


@BOTH
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_plain_body_that_claims_an_encoding_is_400_in_the_requests_encoding(content_type: str, encoding: str) -> None:
    async def scene(http: HttpRig) -> None:
        assert_refused(await http.post(body=BODIES[content_type], content_type=content_type, Content_Encoding=encoding), 400, 3, content_type)

    on_http(scene)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_wrong_encoding_without_a_content_type_is_answered_in_json(encoding: str) -> None:
    async def scene(http: HttpRig) -> None:
        assert_refused(await http.post(body=AS_PROTOBUF, content_type=None, Content_Encoding=encoding), 415, 3, JSON)

    on_http(scene)


@pytest.mark.parametrize("encoding", ["br", "snappy", "gzip, gzip", "lz4"])
def test_an_unsupported_content_encoding_is_415_and_says_which_ones_are(encoding: str) -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.post(body=AS_PROTOBUF, Content_Encoding=encoding)
        assert_refused(answer, 415, 3)
        assert answer.headers["Accept-Encoding"] == "gzip, deflate, zstd, identity"

    on_http(scene)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff", b"{}{}", b'{"resourceSpans": 1}'])
def test_invalid_json_is_400_with_a_json_status(body: bytes) -> None:
    async def scene(http: HttpRig) -> None:
        assert_refused(await http.post(body=body, content_type=JSON), 400, 3, JSON)

    on_http(scene)


@pytest.mark.parametrize("body", [AS_JSON, b"\x0a\xff", AS_PROTOBUF[:-1]])
def test_invalid_protobuf_is_400_with_a_protobuf_status(body: bytes) -> None:
    async def scene(http: HttpRig) -> None:
        assert_refused(await http.post(body=body), 400, 3)
        assert http.outcomes("http") == {("traces", "malformed"): 1}

    on_http(scene)


@BOTH
@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (BufferFull("the buffer is full", 7.2), 503, 14, "8"),
        (Overloaded("too much at once"), 503, 14, "1"),
        (RuntimeError("a bug"), 503, 14, "5"),
    ],
)
def test_a_commit_that_fails_is_503_with_retry_after(content_type: str, error: Exception, status: int, code: int, retry_after: str) -> None:
    async def scene(http: HttpRig) -> None:
        http.buffer.error = error
        answer = await http.post(body=BODIES[content_type], content_type=content_type)
        body = assert_refused(answer, status, code, content_type)
        assert answer.headers["Retry-After"] == retry_after
        if content_type == PROTOBUF:
            assert [detail.type_url for detail in body.details] == ["type.googleapis.com/google.rpc.RetryInfo"]
        http.buffer.error = None
        assert (await http.post(body=BODIES[content_type], content_type=content_type)).status == 200

    on_http(scene)


@BOTH
def test_our_own_failure_is_500_and_not_to_be_retried(content_type: str) -> None:
    def crash(_: SpanBatch) -> None:
        raise KeyError("secret")

    async def scene(http: HttpRig) -> None:
        answer = await http.post(body=BODIES[content_type], content_type=content_type)
        assert_refused(answer, 500, 13, content_type)
        assert "Retry-After" not in answer.headers
        assert b"secret" not in answer.body
        assert http.outcomes("http") == {("traces", "unexpected"): 1}

    on_http(scene, rig=lambda: make_rig((crash,)))


def test_an_outage_of_the_buffer_is_counted_request_by_request() -> None:
    async def scene(http: HttpRig) -> None:
        for number, error in enumerate([None, BufferFull("full"), None, BufferFull("full")]):
            http.buffer.error = error
            answer = await http.post(body=request(span(name=f"span {number}")).SerializeToString())
            assert answer.status == (503 if error else 200)
        assert http.outcomes("http") == {("traces", "ok"): 2, ("traces", "buffer_full"): 2}
        assert http.count("sidecar_receiver_accepted_spans_total", transport="http") == 2
        assert http.buffer.names == {"span 0": 1, "span 2": 1}

    on_http(scene)


@pytest.mark.parametrize("path", PATHS)
@BOTH
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(st.one_of(st.binary(max_size=200), st.builds(lambda cut: AS_PROTOBUF[:cut], st.integers(0, 200))), min_size=1, max_size=8))
def test_no_body_makes_the_receiver_fail(path: str, content_type: str, bodies: list[bytes]) -> None:
    async def scene(http: HttpRig) -> None:
        for body in bodies:
            answer = await http.post(path, body, content_type)
            assert answer.status in (200, 400)
            assert answer.content_type == content_type

    on_http(scene)


def test_the_json_of_the_official_classes_is_taken() -> None:
    async def scene(http: HttpRig) -> None:
        tree = json.loads(MessageToJson(SPANS))
        for each in tree["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            for key in ("traceId", "spanId"):
                each[key] = base64.b64decode(each[key]).hex()
            each["kind"] = 1
        answer = await http.post(body=json.dumps(tree).encode(), content_type=JSON)
        assert (answer.status, json.loads(answer.body)) == (200, {})
        assert http.buffer.names == {"chat": 1}

    on_http(scene)


def test_a_repeated_request_is_200_and_kept_once() -> None:
    async def scene(http: HttpRig) -> None:
        for body, encoding in ((AS_PROTOBUF, "identity"), (gzip.compress(AS_PROTOBUF), "gzip"), (gzip.compress(AS_PROTOBUF, 1), "gzip")):
            assert (await http.post(body=body, Content_Encoding=encoding)).status == 200
        assert http.buffer.ledger == {"received": 3, "stored": 1, "duplicate": 2}

    on_http(scene)


def test_the_intake_is_the_only_way_in() -> None:
    """Counters of a request agree with what the intake saw."""

    async def scene(http: HttpRig) -> None:
        assert isinstance(http.intake, Intake)
        await http.post(body=many(3, 4, 500).SerializeToString())
        assert http.count("sidecar_receiver_accepted_spans_total", transport="http") == 12
        assert http.count("sidecar_receiver_request_seconds_count", transport="http") == 1
        assert http.outcomes("http") == {("traces", "ok"): 1}

    on_http(scene)

"""The verdict table: every row of it, and that it has an answer for everything."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.forward.verdict import (
    ANSWER_CHARS_MAX,
    RETRY_AFTER_MAX_S,
    Ambiguous,
    Answer,
    Delivered,
    Failure,
    FailureKind,
    Pause,
    PauseReason,
    Refused,
    Retry,
    Split,
    Verdict,
    classify,
    message_of,
    parse_retry_after,
)

NOW_S = 1_795_000_000.0
JSON = "application/json; charset=utf-8"


def said(status: int, text: str, key: str = "error") -> Answer:
    return Answer(status, JSON, None, json.dumps({key: text}).encode())


INVALID_SPANS = (
    "Invalid OTLP trace export: 1 of 3 span(s) cannot be processed (traceId:absent). The entire export was rejected. "
    "Instrumentation scopes: content type checker"
)

TABLE: list[tuple[str, Answer | Failure, Verdict]] = [
    ("a queue job as JSON", Answer(200, JSON, None, b'{"name":"otel"}'), Delivered()),
    ("an empty protobuf response", Answer(200, "application/x-protobuf", None, b""), Delivered()),
    ("no content", Answer(204), Delivered()),
    ("several statuses", Answer(207, JSON, None, b"{}"), Delivered()),
    ("JSON without a content type", Answer(200, "", None, b'{"ok":true}'), Delivered()),
    ("a login page", Answer(200, "text/html; charset=utf-8", None, b"<!doctype html>"), Pause(PauseReason.WRONG_ADDRESS)),
    ("an empty page", Answer(200, "text/html"), Pause(PauseReason.WRONG_ADDRESS)),
    ("a greeting of another server", Answer(200, "text/plain", None, b"It works!"), Pause(PauseReason.WRONG_ADDRESS)),
    ("a permanent redirect", Answer(301), Pause(PauseReason.WRONG_ADDRESS)),
    ("a redirect that keeps the method", Answer(307), Pause(PauseReason.WRONG_ADDRESS)),
    ("a bad payload", said(400, INVALID_SPANS), Refused(INVALID_SPANS)),
    ("unparsable protobuf", said(400, "Failed to parse OTel Protobuf Trace"), Refused("Failed to parse OTel Protobuf Trace")),
    ("a bad request without words", Answer(400), Refused("status 400 without a message")),
    ("an unprocessable payload", said(422, "no"), Refused("no")),
    ("a wrong content type", said(400, "Invalid content type"), Pause(PauseReason.PROTOCOL)),
    ("gzip that is not understood", said(400, "Failed to decompress request body"), Pause(PauseReason.PROTOCOL)),
    (
        "an ingestion version from the future",
        said(400, 'Unsupported x-langfuse-ingestion-version: "4". Maximum supported: "3".'),
        Pause(PauseReason.PROTOCOL),
    ),
    ("a body that did not come through", said(400, "Failed to read request body"), Retry(None, "unread")),
    (
        "plain HTTP to a TLS port",
        Answer(400, "text/html", None, b"<h1>The plain HTTP request was sent to HTTPS port</h1>"),
        Pause(PauseReason.WRONG_ADDRESS),
    ),
    ("wrong keys", said(401, "Invalid credentials.", "message"), Pause(PauseReason.UNAUTHORIZED)),
    ("an organisation key", said(403, "Access denied - insufficient permissions", "message"), Pause(PauseReason.FORBIDDEN)),
    (
        "suspended ingestion",
        said(403, "Ingestion suspended: Usage threshold exceeded. Please upgrade your plan.", "message"),
        Pause(PauseReason.SUSPENDED),
    ),
    ("no such path", Answer(404, "text/html"), Pause(PauseReason.WRONG_ADDRESS)),
    ("a path for GET", Answer(405), Pause(PauseReason.WRONG_ADDRESS)),
    ("a proxy that wants credentials", Answer(407), Pause(PauseReason.PROXY_AUTH)),
    ("a request that was too slow", Answer(408), Retry(None, "status_408")),
    ("too large", Answer(413, "text/html"), Split()),
    ("a media type that is not served", Answer(415), Pause(PauseReason.PROTOCOL)),
    ("another client error", Answer(451), Pause(PauseReason.UNEXPECTED_STATUS)),
    ("a rate limit", Answer(429, JSON, "7", b"{}"), Retry(7.0, "status_429")),
    ("a failing store", said(500, "S3"), Retry(None, "status_500")),
    ("a failing upstream", Answer(502), Retry(None, "status_502")),
    ("maintenance", Answer(503, retry_after="120"), Retry(120.0, "status_503")),
    ("a gateway that gave up waiting", Answer(504), Ambiguous("gateway_timeout")),
    ("a status that does not exist", Answer(999), Pause(PauseReason.UNEXPECTED_STATUS)),
    ("an unknown name", Failure(FailureKind.DNS), Retry(None, "dns")),
    ("a refused connection", Failure(FailureKind.REFUSED), Retry(None, "connection_refused")),
    ("a failed handshake", Failure(FailureKind.TLS), Retry(None, "tls")),
    ("a connection that took too long", Failure(FailureKind.CONNECT_TIMEOUT), Retry(None, "connect_timeout")),
    ("a reset within the body", Failure(FailureKind.RESET, body_was_out=False, mid_body=True), Retry(None, "reset")),
    ("a reset after the body", Failure(FailureKind.RESET, body_was_out=True), Ambiguous("reset")),
    ("silence after the body", Failure(FailureKind.TIMEOUT, body_was_out=True), Ambiguous("timeout")),
]


@pytest.mark.parametrize(("answer", "verdict"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_each_answer_has_its_verdict(answer: Answer | Failure, verdict: Verdict) -> None:
    assert classify(answer, NOW_S) == verdict


headers = st.one_of(st.none(), st.text(max_size=40))
replies = st.one_of(
    st.builds(Answer, st.integers(0, 1000), st.text(max_size=40), headers, st.binary(max_size=300)),
    st.builds(Failure, st.sampled_from(FailureKind), st.booleans(), st.booleans()),
)


@given(replies)
def test_every_answer_has_a_verdict(reply: Answer | Failure) -> None:
    verdict = classify(reply, NOW_S)

    assert isinstance(verdict, Verdict)
    if isinstance(verdict, Delivered):
        assert isinstance(reply, Answer)
        assert 200 <= reply.status < 300


@given(st.binary(max_size=6000))
def test_what_is_kept_of_an_answer_is_one_bounded_printable_line(body: bytes) -> None:
    line = message_of(body)

    assert len(line) <= ANSWER_CHARS_MAX
    assert line.isprintable()


def test_message_and_error_of_a_json_answer_are_kept() -> None:
    assert message_of(b'{"message":"Internal Server Error","error":"bucket\\nfull"}') == "Internal Server Error: bucket full"


def test_deeply_nested_json_is_kept_as_text() -> None:
    assert message_of(b"[" * 4000).startswith("[[[[")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("30", 30.0),
        (" 1.5 ", 1.5),
        ("-4", 0.0),
        ("86400", RETRY_AFTER_MAX_S),
        ("inf", RETRY_AFTER_MAX_S),
        ("nan", None),
        ("soon", None),
        ("", None),
        (formatdate(NOW_S + 90, usegmt=True), 90.0),
        (formatdate(NOW_S - 90, usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_MAX_S),
        ("Fri, 99 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_within_bounds(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW_S) == seconds


@given(st.text(max_size=60))
def test_any_retry_after_gives_bounded_seconds_or_nothing(text: str) -> None:
    seconds = parse_retry_after(text, NOW_S)

    assert seconds is None or 0.0 <= seconds <= RETRY_AFTER_MAX_S

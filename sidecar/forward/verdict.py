"""What an answer of the destination, or its absence, means for the batch that was sent. Pure and total.

    2xx, JSON, protobuf or no body                  Delivered
    2xx with anything else, 3xx                     Pause       not Langfuse's ingestion at this address
    408, 429, 5xx but 504                           Retry
    no connection, or lost before the body was out  Retry
    504, lost after the body was out                Ambiguous   it may have been taken
    413                                             Split
    400 and 422 about the payload                   Refused     one span of it is to blame
    other 4xx, 400 about how we send                Pause       nothing gets through until somebody acts

The texts of 400 and 403 are those of Langfuse's trace route (server 4.16). Nothing here waits, sends or logs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

ANSWER_BYTES_MAX = 4 * 1024
"""What is kept of an answer's body: Langfuse's messages are one sentence to a few hundred characters."""
ANSWER_CHARS_MAX = 512
"""What a dead letter keeps of it."""
RETRY_AFTER_MAX_S = 3600.0
"""A server that asks for more is asked again after an hour."""


class FailureKind(StrEnum):
    """Why there was no answer."""

    DNS = "dns"
    REFUSED = "connection_refused"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect_timeout"
    TIMEOUT = "timeout"
    RESET = "reset"
    NOT_HTTP = "not_http"
    UNEXPECTED = "unexpected"


class PauseReason(StrEnum):
    """Why a destination takes nothing until somebody acts. A metric label."""

    WRONG_ADDRESS = "wrong_address"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    SUSPENDED = "suspended"
    PROXY_AUTH = "proxy_auth"
    PROTOCOL = "protocol"
    REFUSED = "refused"
    UNEXPECTED_STATUS = "unexpected_status"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. ``body`` is at most ``ANSWER_BYTES_MAX``."""

    status: int
    content_type: str = ""
    retry_after: str | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. ``body_was_out``: the last byte of the request had left."""

    kind: FailureKind
    body_was_out: bool = False
    mid_body: bool = False
    """The connection was lost, or time was up, while the body was being written."""
    detail: str = ""
    """The system's words, for operators; no payload, no secret."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Taken."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not taken, for a reason that passes. ``after_s``: what the server asked for."""

    after_s: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Taken or not, nobody knows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing will be taken until somebody acts."""

    reason: PauseReason


@dataclass(frozen=True, slots=True)
class Split:
    """Too large: send it in parts."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something in the batch will never be taken. ``answer``: what the server said, one line."""

    answer: str


Verdict = Delivered | Retry | Ambiguous | Pause | Split | Refused

_PAUSES = {
    401: PauseReason.UNAUTHORIZED,
    403: PauseReason.FORBIDDEN,
    404: PauseReason.WRONG_ADDRESS,
    405: PauseReason.WRONG_ADDRESS,
    407: PauseReason.PROXY_AUTH,
    415: PauseReason.PROTOCOL,
}
_ABOUT_HOW_WE_SEND = ("content type", "content-type", "decompress", "content-encoding", "content encoding", "ingestion-version")
_UNREAD = "failed to read request body"
_TLS_PORT = "plain http request was sent to https port"
_OUR_MEDIA = ("application/json", "application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf", "application/octet-stream")


def classify(answer: Answer | Failure, now_s: float) -> Verdict:
    """The verdict for any answer or failure; ``now_s`` is wall time, for Retry-After as a date."""
    if isinstance(answer, Failure):
        return Ambiguous(answer.kind) if answer.body_was_out else Retry(None, answer.kind)
    status = answer.status
    if 200 <= status < 300:
        return Delivered() if _is_ingestion(answer) else Pause(PauseReason.WRONG_ADDRESS)
    if 300 <= status < 400:
        return Pause(PauseReason.WRONG_ADDRESS)
    if status == 504:
        return Ambiguous("gateway_timeout")
    if status in (408, 429) or 500 <= status < 600:
        return Retry(parse_retry_after(answer.retry_after, now_s), f"status_{status}")
    if status == 413:
        return Split()
    if status in (400, 422):
        return _bad_request(answer)
    if status == 403 and "suspended" in message_of(answer.body).lower():
        return Pause(PauseReason.SUSPENDED)
    return Pause(_PAUSES.get(status, PauseReason.UNEXPECTED_STATUS))


def _bad_request(answer: Answer) -> Verdict:
    text = message_of(answer.body)
    lower = text.lower()
    if _UNREAD in lower:
        return Retry(parse_retry_after(answer.retry_after, 0.0), "unread")
    if _TLS_PORT in lower:
        return Pause(PauseReason.WRONG_ADDRESS)
    if not lower.startswith("invalid otlp") and any(each in lower for each in _ABOUT_HOW_WE_SEND):
        return Pause(PauseReason.PROTOCOL)
    return Refused(text or f"status {answer.status} without a message")


def _is_ingestion(answer: Answer) -> bool:
    """True for what an OTLP or Langfuse endpoint says; a login page or a greeting is neither."""
    media = answer.content_type.partition(";")[0].strip().lower()
    if "html" in media:
        return False
    return not answer.body.strip() or media in _OUR_MEDIA or media.endswith("+json") or answer.body.lstrip()[:1] == b"{"


def message_of(body: bytes) -> str:
    """What the body says as one bounded line: its ``message`` and ``error`` when it is JSON, else its text."""
    text = body[:ANSWER_BYTES_MAX].decode("utf-8", "replace")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict):
        parts = [each for key in ("message", "error") if isinstance(each := tree.get(key), str)]
        text = ": ".join(parts) or text
    return "".join(char if char.isprintable() else " " for char in text).strip()[:ANSWER_CHARS_MAX]


def parse_retry_after(text: str | None, now_s: float) -> float | None:
    """Seconds of a ``Retry-After`` header (RFC 9110, 10.2.3: seconds or a date), within 0 and an hour; None if it has no meaning."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if seconds == seconds else None  # noqa: PLR0124  (NaN is no time)

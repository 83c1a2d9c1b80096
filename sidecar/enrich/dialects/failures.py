"""Why a span failed. Pure.

Owns the reading of errors from the status, exception events and error attributes, and their sorting into few kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sidecar.enrich.dialects.labels import label
from sidecar.enrich.facts import Error, ErrorKind
from sidecar.enrich.view import EventView, SpanView

MAX_TYPE = 128
MAX_MESSAGE = 4096
ERROR, OK = 2, 1
EXCEPTION = b"exception"

_LOOK_AT = 1024
"""Characters of a message that are searched: what happened stands at the start, a traceback after it."""
_REPR = re.compile(r"<class '([^']+)'>")
_NAMED = re.compile(
    r"\s*\(?[\"']?(?:<class ')?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Timeout|Interrupt|Exceeded|Exhausted|Denied|Failure))\b"
)
_CODE = re.compile(r"(?:^|[Cc]ode:? |[Ss]tatus:? |HTTP )([45]\d\d)\b")
_GENERIC = frozenset(("Exception", "Error", "BaseException", "RuntimeError", "_OTHER", "error"))

_KINDS: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (ErrorKind.RATE_LIMIT, r"\b429\b|rate.?limit|resource_?.?exhausted|throttl|too.?many.?requests|quota|insufficient_quota"),
        (
            ErrorKind.CONTENT_FILTER,
            r"content.?filter|content.?policy|content_management|safety (?:system|settings|filter)|responsible.?ai|guardrail|moderation",
        ),
        (
            ErrorKind.AUTH,
            r"\b40[13]\b|authenticat|unauthori[sz]ed|permission.?denied|forbidden|invalid.{0,12}api.?key|incorrect api key|expired.?token",
        ),
        (ErrorKind.TIMEOUT, r"\b(?:408|504)\b|time.?out|timed out|deadline.?exceeded|did not answer within"),
        (ErrorKind.CANCELLED, r"cancel|\b499\b|keyboardinterrupt|\baborted?\b|aborterror"),
        (
            ErrorKind.BAD_REQUEST,
            (
                r"\b4(?:00|04|05|09|13|15|22)\b|bad.?request|invalid|not.?found|validation|context.?(?:window|length)|unprocessable|maximum context|"
                r"valueerror|typeerror|keyerror|no.?object.?generated|did not match schema|unsupported"
            ),
        ),
        (
            ErrorKind.SERVER,
            r"\b5\d\d\b|internal.?server|server.?error|server had an error|overloaded|unavailable|bad.?gateway|connection|connect.?error|apierror|remote.?protocol",
        ),
    )
)
_BY_CODE = {
    401: ErrorKind.AUTH,
    403: ErrorKind.AUTH,
    408: ErrorKind.TIMEOUT,
    429: ErrorKind.RATE_LIMIT,
    499: ErrorKind.CANCELLED,
    504: ErrorKind.TIMEOUT,
}


def read_error(
    view: SpanView, fields: Mapping[str, tuple[str, ...]], exceptions: Iterable[EventView], *, trust_ok: bool = True, flagged: bool = False
) -> Error | None:
    """The failure of a span; None when it did not fail.

    A span fails by its status, by an exception event (unless its status says OK and ``trust_ok``), by ``error.type`` or because
    the dialect knows (``flagged``). The last exception is the one that ended the span.
    """
    kinds, messages = [], []
    for event in exceptions:
        kinds.append(event.attributes.text("exception.type") or "")
        messages.append(event.attributes.text("exception.message") or "")
    status = view.status_code
    declared = label(view, fields.get("error_type", ()), MAX_TYPE)
    if status != ERROR and not flagged and not (kinds and (status != OK or not trust_ok)) and not (declared and status != OK):
        return None
    message = (
        next((text for text in (view.status_message, *reversed(messages)) if text.strip()), "")
        or label(view, fields.get("error_message", ()), MAX_MESSAGE)
        or ""
    )
    code = next((code for key in fields.get("status_code", ()) if (code := view.int(key)) is not None and 400 <= code < 600), None)
    kind_of = _type([declared or "", *reversed(kinds), str(code or "")], [*reversed(messages), message])
    return Error(_kind(code, kind_of, message), kind_of, message[:MAX_MESSAGE])


def _type(names: list[str], messages: list[str]) -> str:
    """The most telling name: an exception's class before a number, a particular one before ``Exception``."""
    cleaned = [_clean(name) for name in names if name]
    for name in cleaned:
        if name not in _GENERIC and not name.isdecimal():
            return name
    for message in messages:
        found = _NAMED.match(message[:_LOOK_AT])
        if found is not None:
            return found[1][:MAX_TYPE]
    found = next((found for message in messages if (found := _CODE.search(message[:_LOOK_AT]))), None)
    return next(iter(cleaned), found[1] if found else "error")


def _clean(name: str) -> str:
    found = _REPR.search(name)
    return (found[1] if found else name).strip()[:MAX_TYPE]


def _kind(code: int | None, name: str, message: str) -> ErrorKind:
    if name.isdecimal() and code is None:
        code = int(name)
    if code in _BY_CODE:
        return _BY_CODE[code]
    for text in (name, message[:_LOOK_AT]):
        # CamelCase to words, so that one pattern reads class names and sentences.
        lowered = text.lower()
        for kind, pattern in _KINDS:
            if pattern.search(lowered):
                return kind
    if code is not None:
        return ErrorKind.SERVER if code >= 500 else ErrorKind.BAD_REQUEST
    return ErrorKind.OTHER

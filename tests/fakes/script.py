"""What a test tells a fake to do with its next requests."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

_MESSAGES = {
    401: {"message": "Invalid credentials. Confirm that you've configured the correct host."},
    403: {"message": "Ingestion suspended: Usage threshold exceeded. Please upgrade your plan.", "error": "ForbiddenError"},
    404: {"message": "Not Found", "error": "NotFoundError"},
    429: {"message": "Rate limit exceeded", "code": "rate_limited", "details": {"retryAfterSeconds": 1, "limit": 20_000, "remaining": 0}},
    500: {"message": "Internal Server Error", "error": "S3 upload failed"},
    503: {"message": "Service Unavailable"},
}


class Kind(Enum):
    ANSWER = "answer"
    HANG = "hang"
    """Read the request and never answer."""
    RESET_EARLY = "reset early"
    """Reset the connection before the body is read."""
    RESET_LATE = "reset late"
    """Reset the connection after the last byte of the body."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one request. ``keep``: its spans are taken nevertheless, as by a server that queued them and then failed."""

    kind: Kind
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep: bool = False


class Script:
    """Steps for the next trace exports, one each, in order of their arrival; then the standing answer, if any, until it is taken back."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque()
        self._standing: Step | None = None

    def next(self) -> Step | None:
        return self._steps.popleft() if self._steps else self._standing

    def unused(self) -> list[Step]:
        return list(self._steps)

    def fail_next(self, n: int, status: int, headers: Mapping[str, str] | None = None, body: bytes | None = None, *, keep: bool = False) -> None:
        """Answer the next ``n`` exports with ``status``. Without a body: what Langfuse says for that status."""
        self._steps.extend([answer(status, headers, body, keep=keep)] * n)

    def fail_always(self, status: int, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> None:
        """Answer every export with ``status``, after the steps, until ``recover``."""
        self._standing = answer(status, headers, body)

    def hang_always(self, *, keep: bool) -> None:
        """Answer no export, after the steps, until ``recover``."""
        self._standing = Step(Kind.HANG, keep=keep)

    def recover(self) -> None:
        self._standing = None

    def forget(self) -> None:
        """Take back the steps that no request used yet."""
        self._steps.clear()

    def hang_next(self, n: int, *, keep: bool = True) -> None:
        """Read the next ``n`` exports and never answer."""
        self._steps.extend([Step(Kind.HANG, keep=keep)] * n)

    def reset_next(self, n: int, *, after_body: bool, keep: bool = True) -> None:
        """Reset the connection of the next ``n`` exports; ``keep`` counts only after the body."""
        step = Step(Kind.RESET_LATE, keep=keep) if after_body else Step(Kind.RESET_EARLY)
        self._steps.extend([step] * n)

    def html_next(self, n: int) -> None:
        """Answer 200 with a page, as a login page or a wrong host does."""
        self.fail_next(n, 200, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in</title>")

    def redirect_next(self, n: int, location: str) -> None:
        """Answer 301."""
        self.fail_next(n, 301, {"Location": location}, b"")


def answer(status: int, headers: Mapping[str, str] | None, body: bytes | None, *, keep: bool = False) -> Step:
    """One answering step; the content type is JSON unless a header says otherwise."""
    if body is None:
        body = json.dumps(_MESSAGES.get(status, {"message": f"status {status}"})).encode()
    return Step(Kind.ANSWER, status, {"Content-Type": "application/json", **(headers or {})}, body, keep)

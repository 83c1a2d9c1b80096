"""Every error that crosses a room's door, as one tree.

    SidecarError
    |- ConfigError(problems)             exit 2: the configuration or the command line is wrong
    |- StartError(message)               exit 1: the program can't start here (port taken, path not writable)
    |- IntakeError                       an answer to the client
    |   |- MalformedPayload              400 INVALID_ARGUMENT     not OTLP
    |   |- Unauthenticated               401 UNAUTHENTICATED      no or wrong credentials
    |   |- UnknownPath                   404 UNIMPLEMENTED        no such endpoint
    |   |- MethodNotAllowed              405 UNIMPLEMENTED        only POST
    |   |- RequestTimeout                408 DEADLINE_EXCEEDED    the client was too slow with its body
    |   |- TooLarge                      413 RESOURCE_EXHAUSTED   before or after decompression
    |   |- Unsupported                   415 INVALID_ARGUMENT     content type or encoding
    |   |- Unexpected                    500 INTERNAL             our own defect, on this very request
    |   |- NotServed                     501 UNIMPLEMENTED        a Langfuse API that the sidecar doesn't serve
    |   |- ForwardingLoop                508 FAILED_PRECONDITION  our own request came back
    |   `- Overloaded(retry_after_s)     503 UNAVAILABLE          try again later; nothing was kept
    |       `- BufferFull                503 UNAVAILABLE          the buffer is at its bound or the disk is full
    `- BufferError
        |- BufferLocked(path, pid)       another process holds the file
        |- BufferUnwritable(path)        the path can't be written
        `- BufferBroken(path)            SQLite says that the file is damaged

A class carries its wire meaning as class attributes, so there is no mapping table elsewhere.
``reason`` is a bounded metric label. Messages are for operators: what happened, why, what to do;
they never hold payload values or secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class SidecarError(Exception):
    """The root of the tree."""


class ConfigError(SidecarError):
    """The configuration is wrong; ``problems`` names every one, each with its path."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StartError(SidecarError):
    """The program can't start here: a port is taken, a path can't be written."""


class IntakeError(SidecarError):
    """A request that is answered with an error. gRPC codes are those of google.rpc.Code.

    ``violations`` are (field, description) pairs for ``google.rpc.BadRequest``.
    """

    reason: ClassVar[str]
    http_status: ClassVar[int]
    grpc_code: ClassVar[int]
    retry_after_s: float | None = None

    def __init__(self, message: str, violations: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.violations = tuple(violations)


class MalformedPayload(IntakeError):
    """The body is not OTLP in the encoding that it claims."""

    reason, http_status, grpc_code = "malformed", 400, 3


class Unauthenticated(IntakeError):
    """Credentials are required and none or wrong ones came."""

    reason, http_status, grpc_code = "unauthenticated", 401, 16


class UnknownPath(IntakeError):
    """Nothing is served at this path."""

    reason, http_status, grpc_code = "unknown_path", 404, 12


class MethodNotAllowed(IntakeError):
    """The path is served, but only with POST."""

    reason, http_status, grpc_code = "method", 405, 12


class RequestTimeout(IntakeError):
    """The client was too slow in sending its body."""

    reason, http_status, grpc_code = "timeout", 408, 4


class TooLarge(IntakeError):
    """The body is over the limit, before or after decompression (OTLP 1.11: MUST be 413)."""

    reason, http_status, grpc_code = "too_large", 413, 8


class Unsupported(IntakeError):
    """A content type or content encoding that the receiver doesn't speak."""

    reason, http_status, grpc_code = "unsupported", 415, 3


class Unexpected(IntakeError):
    """Our own failure on this very request. Not retryable (OTLP 1.11), because the same body would fail again."""

    reason, http_status, grpc_code = "unexpected", 500, 13


class NotServed(IntakeError):
    """A Langfuse API path that the sidecar doesn't serve."""

    reason, http_status, grpc_code = "not_served", 501, 12


class ForwardingLoop(IntakeError):
    """A request of this very process came back to it."""

    reason, http_status, grpc_code = "loop", 508, 9


class Overloaded(IntakeError):
    """Nothing was kept; the client should send the same request again after ``retry_after_s``."""

    reason, http_status, grpc_code = "overloaded", 503, 14

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BufferFull(Overloaded):
    """The buffer is at its bound, or the disk is full."""

    reason = "buffer_full"


class BufferError(SidecarError):  # noqa: A001  (the builtin is about memoryview exports; the tree's name is the field's)
    """The buffer file can't be used."""


class BufferLocked(BufferError):
    """Another process holds the buffer."""


class BufferUnwritable(BufferError):
    """The buffer's path can't be written."""


class BufferBroken(BufferError):
    """SQLite says that the file is damaged."""

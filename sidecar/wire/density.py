"""Refuses bodies that would take far more memory decoded than encoded: two bytes can make a message of 350.

Owns the estimate, made before anything is parsed. It must cost nothing for bodies of usual size,
and it must not refuse what a real exporter sends: content is judged by an exact walk.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.errors import MalformedPayload
from sidecar.wire.repair import Unreadable, fields

SMALL_BODY_BYTES = 512 * 1024
"""Not looked at: times 175, the worst that was measured (empty spans), they take 88 MiB for a moment."""
BASE_BYTES = 64 * 1024 * 1024
PROTOBUF_FACTOR, JSON_FACTOR = 8, 16
"""A decoded body may take ``BASE_BYTES`` + factor x its size. The densest spans of real exporters (150 bytes, three attributes) take 5 times in protobuf."""

_SHORT = bytes(range(32))
_SHORT_MESSAGE_BYTES = 350
"""A message shorter than 32 bytes has a length byte below 32 and takes at most this much, as a span does."""
_JSON_NODE_BYTES = 300
"""An object or list of JSON and the message made of it."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A message type: what one takes in memory, in the shallow and the strict form together (measured), and its sub-messages by field number."""

    size_bytes: int
    children: dict[int, _Kind]


_ANY_VALUE = _Kind(45, {})
_KEY_VALUE = _Kind(84, {2: _ANY_VALUE})
_ANY_VALUE.children.update({5: _Kind(45, {1: _ANY_VALUE}), 6: _Kind(45, {1: _KEY_VALUE})})
_EVENT = _Kind(124, {3: _KEY_VALUE})
_LINK = _Kind(172, {4: _KEY_VALUE})
_SPAN = _Kind(350, {9: _KEY_VALUE, 11: _EVENT, 13: _LINK})
_SCOPE_SPANS = _Kind(128, {1: _Kind(100, {3: _KEY_VALUE}), 2: _SPAN})
_RESOURCE_SPANS = _Kind(128, {1: _Kind(100, {1: _KEY_VALUE}), 2: _SCOPE_SPANS})
_REQUEST = _Kind(0, {1: _RESOURCE_SPANS})


def check_protobuf(body: bytes) -> None:
    """Raise MalformedPayload when a serialized request would take too much memory decoded."""
    if len(body) <= SMALL_BODY_BYTES:
        return
    limit = BASE_BYTES + PROTOBUF_FACTOR * len(body)
    short = len(body) - len(body.translate(None, _SHORT))
    if short * _SHORT_MESSAGE_BYTES > limit and _decoded_bytes(body, limit) > limit:
        raise _too_dense()


def check_json(body: bytes) -> None:
    """The same for OTLP/JSON, by its braces and brackets."""
    if len(body) <= SMALL_BODY_BYTES:
        return
    if (body.count(b"{") + body.count(b"[")) * _JSON_NODE_BYTES > BASE_BYTES + JSON_FACTOR * len(body):
        raise _too_dense()


def _too_dense() -> MalformedPayload:
    return MalformedPayload("the body consists mostly of empty messages, which would take too much memory: send fewer items in a request")


def _decoded_bytes(body: bytes, limit: int) -> int:
    """What a request takes decoded; the count stops soon after ``limit``. What can't be read is left to the parser to refuse."""
    total = 0
    waiting = [(body, _REQUEST)]
    while waiting and total <= limit:
        raw, kind = waiting.pop()
        try:
            for number, wire_type, payload, _ in fields(raw):
                child = kind.children.get(number) if wire_type == 2 else None
                if child is not None:
                    total += child.size_bytes
                    if total > limit:
                        break
                    if len(payload) > 1 and child.children:
                        waiting.append((payload, child))
        except Unreadable:
            continue
    return total

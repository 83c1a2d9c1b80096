"""What a masked span says for others: its agent, and what holds for its whole trace. Pure.

Owns the reading of those attributes from their serialized form. It must not know traces nor change spans.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from sidecar.enrich import keys
from sidecar.enrich.agents import DRIFT
from sidecar.enrich.edit import encode_text
from sidecar.trace.live import Said
from sidecar.wire.attributes import decode
from sidecar.wire.shallow_pb2 import Span

USER, SESSION, NAME, RELEASE, ENVIRONMENT, TAGS = "user", "session", "name", "release", "environment", "tags"
AGENT_PREFIX = f"{keys.METADATA}.agent_".encode()
_TRACE_METADATA = f"{keys.TRACE_METADATA}.".encode()
_CONVERSATION = b"gen_ai.conversation.id"
_DRIFT = DRIFT.encode()
"""Said of one call, not of its agent."""
MAX_COPIED_BYTES = 4096
"""An attribute longer than this stays where it is: metadata that every span of a trace carries is short."""
MAX_METADATA_BYTES = 8 * 1024
"""Of one span's trace metadata and agent, the first: each span below would carry them all."""


class Subject(NamedTuple):
    """What a key is about, and how early the server reads it: of several keys on one span the lowest rank counts."""

    name: str
    rank: int


SUBJECTS = {
    b"langfuse.user.id": Subject(USER, 0),
    b"user.id": Subject(USER, 1),
    b"langfuse.session.id": Subject(SESSION, 0),
    b"session.id": Subject(SESSION, 1),
    b"langfuse.trace.name": Subject(NAME, 0),
    b"langfuse.release": Subject(RELEASE, 0),
    b"langfuse.environment": Subject(ENVIRONMENT, 0),
    b"deployment.environment.name": Subject(ENVIRONMENT, 1),
    b"deployment.environment": Subject(ENVIRONMENT, 2),
    b"langfuse.trace.tags": Subject(TAGS, 0),
    b"langfuse.tags": Subject(TAGS, 1),
}
_BEGINNINGS = (
    b"langfuse.trace.",
    b"langfuse.user.id",
    b"langfuse.session.id",
    b"langfuse.release",
    b"langfuse.environment",
    b"langfuse.tags",
    AGENT_PREFIX,
    b"user.id",
    b"session.id",
    b"deployment.environment",
    _CONVERSATION,
)
"""Of every key that matters here. In a serialized KeyValue the key stands behind its tag and one byte of length."""
_EMPTY = (b"\x12\x00", b"\x12\x02\x0a\x00")
"""A value without content, and an empty string."""
NOTHING_SAID = Said((), {})


def read_said(span: Span) -> Said:
    """What the span's attributes say; raises nothing on a mended span. Costs 3 us and half a microsecond for each that says something."""
    agent: list[bytes] = []
    context: dict[str, bytes] = {}
    ranks: dict[str, int] = {}
    weak_session: bytes | None = None
    room = MAX_METADATA_BYTES
    tags: tuple[str, ...] = ()
    for raw in [raw for raw in span.attributes if raw.startswith(_BEGINNINGS, 2)]:
        if len(raw) > MAX_COPIED_BYTES:
            continue
        key = key_of(raw)
        if key.startswith((AGENT_PREFIX, _TRACE_METADATA)):
            if key == _DRIFT or len(raw) > room:
                continue
            room -= len(raw)
            if key.startswith(AGENT_PREFIX):
                agent.append(raw)
            else:
                context[key.decode()] = raw
        elif (subject := SUBJECTS.get(key)) is not None:
            name, rank = subject
            if rank < ranks.get(name, len(SUBJECTS)) and not raw.endswith(_EMPTY, len(key) + 2):
                ranks[name] = rank
                if name == TAGS:
                    tags = tags_of(decode(raw)[1])
                else:
                    context[name] = raw
        elif key == _CONVERSATION:
            value = decode(raw)[1]
            weak_session = encode_text(keys.SESSION_ID, value) if isinstance(value, str) and value else None
    return Said(tuple(agent), context, weak_session, tags) if agent or context or weak_session or tags else NOTHING_SAID


def key_of(raw: bytes) -> bytes:
    """The key of a serialized KeyValue, which every known encoder writes first."""
    if raw[0] == 0x0A and (size := raw[1]) < 0x80:
        return raw[2 : 2 + size]
    return decode(raw)[0].encode()


def tags_of(value: object) -> tuple[str, ...]:
    """Tags as the server reads them: a list, a JSON list, or names between commas."""
    if isinstance(value, list):
        return tuple(str(each) for each in value)
    if not isinstance(value, str):
        return ()
    if value.lstrip().startswith("["):
        try:
            return tuple(str(each) for each in msgspec.json.decode(value, type=list[object]))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return (value,)
    return tuple(stripped for each in value.split(",") if (stripped := each.strip()))


def encode_tags(tags: tuple[str, ...]) -> bytes:
    """The attribute that holds tags; a JSON list, because a single tag with a comma would be split."""
    return encode_text(keys.TRACE_TAGS, msgspec.json.encode(tags).decode(errors="replace"))

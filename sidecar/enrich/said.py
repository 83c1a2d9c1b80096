"""What a masked span says for others: its agent, and what holds for its whole trace. Pure.

Owns the reading of those attributes from their serialized form. It must not know traces nor change spans.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.enrich import keys
from sidecar.enrich.agents import DRIFT
from sidecar.enrich.edit import encode_text
from sidecar.trace.live import Said
from sidecar.wire.attributes import KEY, decode, delimited
from sidecar.wire.shallow_pb2 import Span

USER, SESSION, NAME, RELEASE, ENVIRONMENT, TAGS = "user", "session", "name", "release", "environment", "tags"
AGENT_PREFIX = keys.AGENT_METADATA.encode()
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
_BY_HEAD = {delimited(KEY, key): subject for key, subject in SUBJECTS.items()}
"""By the serialized key."""
BEGINNINGS = (
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
Places: TypeAlias = "tuple[tuple[int, bytes], ...]"
"""Positions of attributes, from the end where negative, and how each begins behind its tag and one byte of length."""


def read_said(span: Span, beginnings: tuple[bytes, ...] = BEGINNINGS, places: Places = ()) -> Said:
    """What the span's attributes say, of keys that begin so; raises nothing on a mended span.

    ``places`` tells where those attributes stood. Where each still stands there, the others are not looked at: that would take 3 to 6 us.
    """
    attributes = span.attributes
    count = len(attributes)
    raws = [raw for at, head in places if -count <= at < count and (raw := attributes[at]).startswith(head, 2)]
    if not places or len(raws) < len(places):
        raws = [raw for raw in attributes if raw.startswith(beginnings, 2)]
    return _read(raws) if raws else NOTHING_SAID


def _read(raws: Iterable[bytes]) -> Said:
    agent: list[bytes] = []
    context: dict[str, bytes] = {}
    ranks: dict[str, int] = {}
    conversation: bytes | None = None
    room = MAX_METADATA_BYTES
    tags: tuple[str, ...] = ()
    for raw in raws:
        if len(raw) > MAX_COPIED_BYTES:
            continue
        subject = _BY_HEAD.get(raw[: raw[1] + 2])
        if subject is not None:
            name, rank = subject
            if rank < ranks.get(name, len(SUBJECTS)) and not raw.endswith(_EMPTY, raw[1] + 2):
                ranks[name] = rank
                if name == TAGS:
                    tags = tags_of(decode(raw)[1])
                else:
                    context[name] = raw
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
        elif key == _CONVERSATION:
            conversation = raw
    # Where a session is said on purpose, nobody asks for one that is only implied.
    weak_session = _implied_session(conversation) if conversation is not None and SESSION not in context else None
    return Said(tuple(agent), context, weak_session, tags) if agent or context or weak_session or tags else NOTHING_SAID


def _implied_session(conversation: bytes) -> bytes | None:
    value = decode(conversation)[1]
    return encode_text(keys.SESSION_ID, value) if isinstance(value, str) and value else None


@lru_cache(maxsize=16)
def agent_places(count: int) -> Places:
    """Where ``count`` attributes of an agent stand that were added last."""
    return tuple((position, AGENT_PREFIX) for position in range(-count, 0))


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

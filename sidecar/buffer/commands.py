"""What operators can ask of an open buffer, wherever they ask from: the running process or the command itself.

Requests and answers are JSON objects; bodies travel as base64 of what lies on disk (gzip), so that the running process
decodes nothing for an operator.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.buffer.buffer import Buffer
from sidecar.buffer.records import Filter, Kind, Listed

MAX_IDS = 10_000
"""Ids of one request; who means more says so with a destination or a trace."""


class Command(StrEnum):
    """All commands but `repair`, which needs the file to itself."""

    INSPECT = "inspect"
    EXPORT = "export"
    REPLAY = "replay"
    PURGE = "purge"


@dataclass(frozen=True, slots=True)
class Request:
    """A command with its options."""

    command: Command
    kind: Kind | None = None
    wanted: Filter = field(default_factory=Filter)
    limit: int | None = None
    """Rows of an export."""


def parse(tree: Mapping[str, object]) -> Request:
    """A request from JSON: command, kind, destination, trace_id (hex), ids, limit. Raises ValueError, in the operator's terms."""
    unknown = tree.keys() - {"command", "kind", "destination", "trace_id", "ids", "limit"}
    if unknown:
        raise ValueError(f"unknown option: {', '.join(sorted(unknown))}")
    try:
        command = Command(str(tree.get("command")))
        kind = None if tree.get("kind") is None else Kind(str(tree["kind"]))
    except ValueError as error:
        raise ValueError(f"{error}: the commands are {', '.join(Command)}, the kinds {', '.join(Kind)}") from error
    if command in {Command.EXPORT, Command.PURGE} and kind is None:
        raise ValueError(f"say what to {command}: {', '.join(Kind)}")
    limit = tree.get("limit")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise ValueError("limit is a number of rows, at least 1")
    return Request(command, kind, Filter(_text(tree.get("destination")), _trace(tree.get("trace_id")), _ids(tree.get("ids"))), limit)


async def answer(buffer: Buffer, request: Request) -> AsyncIterator[dict[str, object]]:
    """Carry a request out; one object a row or one in all. Raises BufferError, BufferFull."""
    if request.command is Command.INSPECT:
        yield await buffer.inspect()
    elif request.command is Command.REPLAY:
        yield {"replayed_spans": await buffer.replay(request.wanted)}
    elif request.kind is None:
        raise ValueError("the kind of rows is missing")
    elif request.command is Command.PURGE:
        yield {"purged_spans": await buffer.purge(request.kind, request.wanted)}
    else:
        left = request.limit
        after_id: int | None = 0
        while after_id is not None and left != 0:
            page = await buffer.page(request.kind, request.wanted, after_id)
            after_id = page.next_after
            for listed in page.rows[:left]:
                yield _exported(listed)
            left = None if left is None else left - min(left, len(page.rows))


def _exported(listed: Listed) -> dict[str, object]:
    row = listed.row
    tree: dict[str, object] = {
        "id": row.id,
        "destination": row.destination,
        "trace_id": row.trace_id.hex(),
        "spans": row.spans,
        "raw_bytes": row.raw_bytes,
        "received_ms": row.received_ms,
        "intact": listed.intact,
    }
    optional = {"state": listed.state, "reason": listed.reason, "answer": listed.answer, "settled_ms": listed.settled_ms}
    tree.update((name, value) for name, value in optional.items() if value not in {"", None})
    tree["body"] = base64.b64encode(row.body).decode("ascii")
    return tree


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError("destination is a name")


def _trace(value: object) -> bytes | None:
    if value is None:
        return None
    try:
        trace_id = bytes.fromhex(str(value))
    except ValueError:
        trace_id = b""
    if len(trace_id) != 16:
        raise ValueError("trace_id is 32 hexadecimal digits")
    return trace_id


def _ids(value: object) -> frozenset[int] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(type(item) is int for item in value) or len(value) > MAX_IDS:
        raise ValueError(f"ids are at most {MAX_IDS} numbers")
    return frozenset(value)

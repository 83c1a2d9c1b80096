"""Reading rows back: the backlog for senders, pages for operators. Nothing is trusted without its checksum.

Queries are bounded by rows and bytes, so that one read never holds the connection long.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from sidecar.buffer.core import BufferCore, Draft, checksum
from sidecar.buffer.leases import LeaseLimit
from sidecar.buffer.ledger import Move, Transition
from sidecar.buffer.records import Backlog, Choice, Filter, Gone, Kind, Listed, Page
from sidecar.buffer.statements import AMBIGUOUS, IDS, READ_ROW, SETTLING, STATE_NAMES, id_list
from sidecar.wire.rows import Row

SCAN_ROWS = 1024
"""Rows whose sizes one scan looks at; bodies are read for those that are taken only."""
_SIZES = (
    "SELECT json_group_array(json_array(id, spans, raw_bytes, body_bytes)) FROM (SELECT id, spans, raw_bytes, body_bytes FROM rows"  # noqa: S608  (constants only)
    f" WHERE id > ? AND destination = ? AND state <> {SETTLING} ORDER BY id LIMIT ?)"
)
PAGE_ROWS = 64
PAGE_BYTES = 1024 * 1024
"""An operator's page: 64 rows or 1 MiB, some milliseconds."""


def choose(core: BufferCore, destination: str, after_id: int, skip: Collection[int], limit: LeaseLimit, max_rows: int) -> Choice:
    """The oldest rows after ``after_id`` within ``limit``, but always at least one if there is one.

    Settling rows and those in ``skip`` (leased, or waiting in memory) are passed over. One SCAN_ROWS stretch a call: an
    empty choice that is not ``exhausted`` asks to come again. This is the part that waits for a cold disk: it brings the
    bodies into the kernel's cache too, and takes two steps of SQLite, however many rows there are. Raises BufferBroken.
    """
    sizes: list[list[int]] = json.loads(core.read(lambda db: db.execute(_SIZES, (after_id, destination, SCAN_ROWS)).fetchone()[0]))
    taken: list[int] = []
    spans = raw_bytes = body_bytes = 0
    last_id = after_id
    complete = True
    for row_id, row_spans, row_raw, row_body in sizes:
        if row_id in skip:
            last_id = row_id
            continue
        spans, raw_bytes, body_bytes = spans + row_spans, raw_bytes + row_raw, body_bytes + row_body
        over = spans > limit.max_spans or raw_bytes > limit.max_raw_bytes or body_bytes > limit.max_bytes
        if taken and (over or len(taken) >= max_rows):
            complete = False
            break
        taken.append(row_id)
        last_id = row_id
    if taken:
        core.read(lambda db: db.execute(f"SELECT MAX(substr(body, -1)) FROM rows WHERE id IN {IDS}", (id_list(taken),)).fetchone())  # noqa: S608  (constants only)
    return Choice(tuple(taken), last_id, complete and len(sizes) < SCAN_ROWS)


def fetch(core: BufferCore, choice: Choice) -> Backlog:
    """The chosen rows. Those whose bytes don't match their checksum are deleted and counted `quarantined`.

    Raises BufferBroken, DiskRefused.
    """
    rows: list[Row] = []
    bad: list[Gone] = []
    if choice.ids:
        query = f"{READ_ROW} WHERE id IN {IDS} ORDER BY id"
        found = core.read(lambda db: db.execute(query, (id_list(choice.ids),)).fetchall())
        for row_id, destination, trace_id, spans, raw_bytes, received_ms, state, expected, body_bytes, body in found:
            if checksum(body) == expected:
                rows.append(Row(row_id, destination, trace_id, spans, raw_bytes, body, received_ms, state == AMBIGUOUS))
            else:
                bad.append(Gone(row_id, destination, spans, body_bytes, settling=False))
    if bad:
        core.write(lambda draft: remove(core, draft, bad, Transition.QUARANTINE))
    return Backlog(tuple(rows), tuple(bad), choice.last_id, choice.exhausted)


def remove(core: BufferCore, draft: Draft, gone: Collection[Gone], transition: Transition, reason: str = "") -> None:
    """Delete rows inside a transaction and count them; ``reason`` for a transition that has one."""
    core.db.execute(f"DELETE FROM rows WHERE id IN {IDS}", (id_list([row.id for row in gone]),))  # noqa: S608  (constants only)
    for row in gone:
        draft.count(row.destination, rows=-1, spans=-row.spans, body_bytes=-row.body_bytes, settling=-int(row.settling))
        draft.moves.append(Move(transition, row.spans, reason))


def page(core: BufferCore, kind: Kind, wanted: Filter, after_id: int) -> Page:
    """The next rows that an operator asked for; at most SCAN_ROWS are looked at, PAGE_ROWS and PAGE_BYTES are read."""
    table = _table(kind)
    heads = core.read(
        lambda db: db.execute(
            f"SELECT id, destination, trace_id, body_bytes FROM {table} WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608  (a constant of Kind)
            (after_id, SCAN_ROWS),
        ).fetchall()
    )
    taken: list[int] = []
    size = 0
    next_after = heads[-1][0] if len(heads) == SCAN_ROWS else None
    last_id = after_id
    for row_id, destination, trace_id, body_bytes in heads:
        if wanted.takes(row_id, destination, trace_id):
            if taken and (len(taken) == PAGE_ROWS or size + body_bytes > PAGE_BYTES):
                next_after = last_id
                break
            taken.append(row_id)
            size += body_bytes
        last_id = row_id
    return Page(tuple(core.read(lambda db: _listed(db, kind, taken))), next_after)


def dead_letters(core: BufferCore) -> list[dict[str, object]]:
    """Dead letters by destination and reason: rows, spans, bytes."""
    query = "SELECT destination, reason, COUNT(*), SUM(spans), SUM(body_bytes) FROM dead GROUP BY destination, reason ORDER BY 1, 2"
    names = ("destination", "reason", "rows", "spans", "bytes")
    return core.read(lambda db: [dict(zip(names, found, strict=True)) for found in db.execute(query)])


def _table(kind: Kind) -> str:
    return "rows" if kind is Kind.PENDING else kind.value


def _listed(db: sqlite3.Connection, kind: Kind, ids: Collection[int]) -> list[Listed]:
    if kind is Kind.PENDING:
        extra = "state, '', '', NULL"
    elif kind is Kind.DEAD:
        extra = "NULL, reason, answer, buried_ms"
    else:
        extra = "NULL, '', '', delivered_ms"
    query = (
        f"SELECT id, destination, trace_id, spans, raw_bytes, received_ms, checksum, body, {extra} FROM {_table(kind)} WHERE id IN {IDS} ORDER BY id"  # noqa: S608  (constants only)
    )
    listed = []
    for row_id, destination, trace_id, spans, raw_bytes, received_ms, expected, body, state, reason, answer, settled_ms in db.execute(
        query, (id_list(ids),)
    ):
        row = Row(row_id, destination, trace_id, spans, raw_bytes, body, received_ms, state == AMBIGUOUS)
        listed.append(Listed(row, checksum(body) == expected, STATE_NAMES.get(state, ""), reason, answer, settled_ms))
    return listed

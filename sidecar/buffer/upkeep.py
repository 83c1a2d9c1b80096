"""What happens to rows beside sending: sealing, splitting, expiry, and what operators do. Synchronous, on the core.

Each call is one bounded transaction; whoever wants more calls again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace as changed
from functools import partial

from sidecar.buffer.core import DRAIN_BYTES, DRAIN_ROWS, BufferCore, Draft, checksum, row_values
from sidecar.buffer.ledger import Move, Transition
from sidecar.buffer.reading import SCAN_ROWS, remove
from sidecar.buffer.records import Filter, Gone, Kind, SettlingRow
from sidecar.buffer.statements import AMBIGUOUS, IDS, SEALED, SETTLING, id_list, insert_rows
from sidecar.wire.rows import NewRow, Row

STEP_ROWS = 256
"""Rows that one transaction expires, purges or replays, within DRAIN_BYTES: with bodies of 4 KiB some milliseconds."""

NOTE = "note."
"""Before the keys of whoever uses the buffer, in the table of the buffer's own values."""

_NEW_ROW = "destination, trace_id, randomness, priority, threshold, spans, raw_bytes, body, received_ms"


def next_seal_ms(core: BufferCore) -> int | None:
    """When the next settling row is due; None: none waits."""
    found = core.read(lambda db: db.execute(f"SELECT MIN(seal_at_ms) FROM rows INDEXED BY settling WHERE state = {SETTLING}").fetchone()[0])  # noqa: S608  (constants only)
    return None if found is None else int(found)


def oldest_ms(core: BufferCore) -> int | None:
    """Receipt of the oldest row."""
    found = core.read(lambda db: db.execute("SELECT received_ms FROM rows ORDER BY id LIMIT 1").fetchone())
    return None if found is None else int(found[0])


def due_to_seal(core: BufferCore, now_ms: int, limit: int) -> list[SettlingRow]:
    """Settling rows whose time has come, the longest due first. One with a bad checksum is deleted and counted."""
    found = core.read(
        lambda db: db.execute(
            f"SELECT id, checksum, body_bytes, {_NEW_ROW}, seal_at_ms FROM rows INDEXED BY settling"  # noqa: S608  (constants only)
            f" WHERE state = {SETTLING} AND seal_at_ms <= ? ORDER BY seal_at_ms LIMIT ?",
            (now_ms, limit),
        ).fetchall()
    )
    rows: list[SettlingRow] = []
    bad: list[Gone] = []
    for row_id, expected, body_bytes, *values in found:
        row = NewRow(*values)
        if checksum(row.body) == expected:
            rows.append(SettlingRow(row_id, row))
        else:
            bad.append(Gone(row_id, row.destination, row.spans, body_bytes, settling=True))
    if bad:
        core.write(lambda draft: remove(core, draft, bad, Transition.QUARANTINE))
    return rows


def seal(core: BufferCore, rows: Sequence[tuple[SettlingRow, NewRow | None]]) -> list[Row]:
    """Seal rows, as they are (None) or rewritten; a rewritten row keeps its id, destination and spans.

    Rows that are gone or sealed already are passed over, so that none is rewritten twice. Returns the sealed ones.
    Raises ValueError if a rewritten row has other spans or another destination.
    """
    for old, new in rows:
        if new is not None and (new.spans, new.destination) != (old.row.spans, old.row.destination):
            raise ValueError("a sealed row keeps its spans and its destination")

    def work(draft: Draft) -> list[Row]:
        ids = id_list([old.id for old, _ in rows])
        open_ids = {row[0] for row in core.db.execute(f"SELECT id FROM rows WHERE state = {SETTLING} AND id IN {IDS}", (ids,))}  # noqa: S608  (constants only)
        as_is: list[int] = []
        rewritten: list[tuple[object, ...]] = []
        sealed: list[Row] = []
        for old, new in rows:
            if old.id not in open_ids:
                continue
            row = new or old.row
            if new is None:
                as_is.append(old.id)
            else:
                rewritten.append(row_values(old.id, new, SEALED))
            draft.count(row.destination, rows=0, spans=0, body_bytes=len(row.body) - len(old.row.body), settling=-1)
            sealed.append(Row(old.id, row.destination, row.trace_id, row.spans, row.raw_bytes, row.body, row.received_ms))
        if as_is:
            core.db.execute(f"UPDATE rows SET state = {SEALED}, seal_at_ms = NULL WHERE id IN {IDS}", (id_list(as_is),))  # noqa: S608  (constants only)
        insert_rows(core.db, rewritten, "INSERT OR REPLACE")
        return sealed

    return core.write(work) if rows else []


def omit(core: BufferCore, rows: Sequence[SettlingRow]) -> list[Gone]:
    """Delete settling rows that the span filter leaves out; those that are gone or sealed already are passed over. Returns the deleted ones."""

    def work(draft: Draft) -> list[Gone]:
        ids = id_list([row.id for row in rows])
        open_ids = {row[0] for row in core.db.execute(f"SELECT id FROM rows WHERE state = {SETTLING} AND id IN {IDS}", (ids,))}  # noqa: S608  (constants only)
        gone = [Gone(row.id, row.row.destination, row.row.spans, len(row.row.body), settling=True) for row in rows if row.id in open_ids]
        remove(core, draft, gone, Transition.OMIT)
        return gone

    return core.write(work)


def replace(core: BufferCore, lease_id: int, row: Row, parts: Sequence[NewRow]) -> list[Row]:
    """Put a row's parts in its place, in flight like the row itself. Raises ValueError if spans would be gained or lost."""
    if sum(part.spans for part in parts) != row.spans:
        raise ValueError("the parts of a row hold its spans, no more and no less")

    def work(draft: Draft) -> list[Row]:
        first_id = core.next_id
        state = AMBIGUOUS if row.ambiguous else SEALED
        core.db.execute("DELETE FROM rows WHERE id = ?", (row.id,))
        draft.count(row.destination, rows=-1, spans=-row.spans, body_bytes=-len(row.body))
        insert_rows(core.db, [row_values(first_id + index, part, state) for index, part in enumerate(parts)])
        added = [
            Row(first_id + index, part.destination, part.trace_id, part.spans, part.raw_bytes, part.body, part.received_ms, row.ambiguous)
            for index, part in enumerate(parts)
        ]
        for part in added:
            draft.count(part.destination, rows=1, spans=part.spans, body_bytes=len(part.body))
        draft.next_id = first_id + len(parts)
        core.db.execute("INSERT INTO in_flight VALUES (?, ?, ?, ?)", (lease_id, row.destination, first_id, first_id + len(parts) - 1))
        return added

    return core.write(work)


def expire(core: BufferCore, before_ms: int, spare: Collection[int]) -> list[Gone]:
    """Give up rows received before ``before_ms``, but those in ``spare``; at most STEP_ROWS, call again while it returns any.

    Ids grow with time, so the scan begins at the oldest and ends at the first stretch of STEP_ROWS rows that holds none:
    after a jump of the clock rows may expire late, and the cost stays flat in the size of the buffer.
    """
    after_id = 0
    while True:
        heads = _heads(core, after_id, STEP_ROWS)
        old = [head for head in heads if head[5] < before_ms]
        gone = [_gone(head) for head in _step(core, [head for head in old if head[0] not in spare])]
        if gone:
            core.write(partial(_expire, core, gone))
            return gone
        if not old:
            return []
        after_id = heads[-1][0]


def purge(core: BufferCore, kind: Kind, wanted: Filter, after_id: int, spare: Collection[int]) -> tuple[list[Gone], int | None]:
    """Delete what an operator wants gone, one stretch of the table; returns it and where to go on (None: done).

    Pending rows in ``spare`` (leased) stay. Only pending rows change the ledger: the others have left already.
    """
    table = "rows" if kind is Kind.PENDING else kind.value
    state = "state" if kind is Kind.PENDING else "NULL"
    heads = core.read(
        lambda db: db.execute(
            f"SELECT id, destination, trace_id, spans, body_bytes, 0, {state} FROM {table} WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608  (constants only)
            (after_id, SCAN_ROWS),
        ).fetchall()
    )
    matching = [head for head in heads if wanted.takes(*head[:3]) and not (kind is Kind.PENDING and head[0] in spare)]
    taken = _step(core, matching)
    gone = [_gone(head) for head in taken]
    if gone:
        core.write(lambda draft: _purge(core, draft, kind, gone))
    return gone, _following(heads, matching, taken, SCAN_ROWS)


def replay(core: BufferCore, wanted: Filter, after_id: int) -> tuple[list[Row], int | None]:
    """Put dead letters back as fresh rows, received now; one stretch. Returns them and where to go on (None: done).

    They stop at the buffer's bound: those that don't fit stay dead letters.
    """
    heads = core.read(
        lambda db: db.execute(
            "SELECT id, destination, trace_id, spans, body_bytes, 0, NULL FROM dead WHERE id > ? ORDER BY id LIMIT ?", (after_id, STEP_ROWS)
        ).fetchall()
    )
    matching = [head for head in heads if wanted.takes(*head[:3])]
    taken = _step(core, matching)
    ids = [head[0] for head in taken]
    next_after = _following(heads, matching, taken, STEP_ROWS)
    if not ids:
        return [], next_after

    def work(draft: Draft) -> list[Row]:
        now_ms = core.wall_ms()
        raised: list[Row] = []
        values: list[tuple[object, ...]] = []
        used = core.pending_bytes
        done: list[int] = []
        for dead_id, *columns in core.db.execute(f"SELECT id, {_NEW_ROW} FROM dead WHERE id IN {IDS} ORDER BY id", (id_list(ids),)):  # noqa: S608  (constants only)
            new = changed(NewRow(*columns), received_ms=now_ms)
            if used + len(new.body) > core.bounds.max_bytes:
                break
            used += len(new.body)
            row_id = core.next_id + len(raised)
            values.append(row_values(row_id, new, SEALED))
            raised.append(Row(row_id, new.destination, new.trace_id, new.spans, new.raw_bytes, new.body, now_ms))
            done.append(dead_id)
            draft.count(new.destination, rows=1, spans=new.spans, body_bytes=len(new.body))
            draft.dead_bytes -= len(new.body)
            draft.dead_rows -= 1
            draft.moves.append(Move(Transition.REPLAY, new.spans))
        insert_rows(core.db, values)
        core.db.execute(f"DELETE FROM dead WHERE id IN {IDS}", (id_list(done),))  # noqa: S608  (constants only)
        draft.next_id = core.next_id + len(raised)
        return raised

    raised = core.write(work)
    return raised, next_after if len(raised) == len(ids) else None


def restore(core: BufferCore, rows: Sequence[NewRow]) -> int:
    """Take in rows salvaged from a damaged file, counted `replayed`. Returns their spans."""

    def work(draft: Draft) -> int:
        insert_rows(core.db, [row_values(core.next_id + index, row, SEALED) for index, row in enumerate(rows)])
        for row in rows:
            draft.count(row.destination, rows=1, spans=row.spans, body_bytes=len(row.body))
            draft.moves.append(Move(Transition.REPLAY, row.spans))
        draft.next_id = core.next_id + len(rows)
        return sum(row.spans for row in rows)

    return core.write(work)


def remember(core: BufferCore, key: str, text: str) -> None:
    """Keep a text of whoever uses the buffer; what was under ``key`` before is gone."""
    core.write(lambda _: core.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (NOTE + key, text)))


def recall(core: BufferCore, key: str) -> str | None:
    """The text that was kept under ``key``; None: none was."""
    found = core.read(lambda db: db.execute("SELECT value FROM meta WHERE key = ?", (NOTE + key,)).fetchone())
    return None if found is None else str(found[0])


def _expire(core: BufferCore, gone: Sequence[Gone], draft: Draft) -> None:
    remove(core, draft, gone, Transition.EXPIRE)


Head = tuple[int, str, bytes, int, int, int, int | None]
"""id, destination, trace_id, spans, body_bytes, received_ms, state."""


def _heads(core: BufferCore, after_id: int, limit: int) -> list[Head]:
    query = "SELECT id, destination, trace_id, spans, body_bytes, received_ms, state FROM rows WHERE id > ? ORDER BY id LIMIT ?"
    return core.read(lambda db: db.execute(query, (after_id, limit)).fetchall())


def _step(core: BufferCore, heads: Sequence[Head]) -> Sequence[Head]:
    """Those at the front that one transaction may move, at least one; fewer on a full disk."""
    size = 0
    for count, head in enumerate(heads):
        size += head[4]
        if count and (size > DRAIN_BYTES or (core.disk_full and count == DRAIN_ROWS)):
            return heads[:count]
    return heads


def _following(heads: Sequence[Head], matching: Sequence[Head], taken: Sequence[Head], limit: int) -> int | None:
    """Where the next call goes on; None: nothing is left."""
    if len(taken) < len(matching):
        return taken[-1][0]
    return heads[-1][0] if len(heads) == limit else None


def _gone(head: Head) -> Gone:
    return Gone(head[0], head[1], head[3], head[4], settling=head[6] == SETTLING)


def _purge(core: BufferCore, draft: Draft, kind: Kind, gone: Sequence[Gone]) -> None:
    if kind is Kind.PENDING:
        remove(core, draft, gone, Transition.PURGE)
        return
    core.db.execute(f"DELETE FROM {kind.value} WHERE id IN {IDS}", (id_list([row.id for row in gone]),))  # noqa: S608  (a constant of Kind)
    for row in gone:
        if kind is Kind.DEAD:
            draft.dead_bytes -= row.body_bytes
            draft.dead_rows -= 1
        else:
            draft.kept_spans[row.destination] = draft.kept_spans.get(row.destination, 0) - row.spans

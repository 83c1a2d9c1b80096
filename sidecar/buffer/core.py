"""The buffer's core: one SQLite connection, one transaction a group. Synchronous.

Owns the rows, the dead letters and the ledger, and every write to them. The connection, the wall clock and the
disk are handed in, so that all of it runs under simulation and with faults. It must not know asyncio, lanes or
leases' owners; one caller at a time.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from isal import isal_zlib

from sidecar.buffer.disk import Disk
from sidecar.buffer.leases import Append, Buried
from sidecar.buffer.ledger import Key, Ledger, Move, Transition
from sidecar.buffer.records import Group, Settlement, Stored, Totals
from sidecar.buffer.statements import AMBIGUOUS, IDS, SEALED, SETTLING, id_list, insert_rows
from sidecar.errors import BufferBroken, BufferError, BufferFull  # noqa: A004  (the tree's name is the field's)
from sidecar.wire.rows import NewRow, Row

MAX_ANSWER_CHARS = 512
"""Of a destination's answer to a dead letter: enough for its error message, never a payload."""
DISK_CHECK_MS = 1000
"""Free room is looked at this often, while spans come in."""
PAGE_SIZE = 16384
"""Bytes; halves the cost of rows of 20 to 200 KB against SQLite's 4096."""
LOG_BYTES = 4 * 1024 * 1024
"""The write-ahead log is moved into the file once it is longer: 4 MiB stalls one commit for about 20 ms, 16 MiB for 80.

Room on a full disk: what was committed and is not in the file yet is at most LOG_BYTES, so the file may have to grow by
that much before the log can begin anew. The reserve is therefore LOG_BYTES + reserve_mib. Whatever the file did grow
by then lies in the log's own room, so that the log has LOG_BYTES + reserve_mib = 6 MiB for what drains, again after each
checkpoint. One transaction then deletes at most DRAIN_BYTES and DRAIN_ROWS: at most 4.1 MiB of log, or 4.7 with a copy to
another table, as measured with rows of 0.2 KB to 2 MB, in sequence and scattered, since a page of 16 KiB is written for
each row that has one of its own and ``auto_vacuum`` moves others. A single row of more than 5 MiB waits for other room. An
append needs twice its size, in the log and in the file, and is refused unless that is free beside min_free_mib and
what the log holds.
"""
DRAIN_BYTES = 2 * 1024 * 1024
DRAIN_ROWS = 64
FULL_CODES = frozenset({sqlite3.SQLITE_FULL})
BROKEN_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

T = TypeVar("T")


class DiskRefused(BufferFull):
    """The disk took no more; the transaction is gone."""

    def __init__(self) -> None:
        super().__init__("the disk under the buffer is full or refuses writes: free some room; spans are taken again by themselves", 5.0)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes; see ``BufferSettings``."""

    max_bytes: int
    min_free_bytes: int
    dead_letter_bytes: int


@dataclass(slots=True)
class Draft:
    """What a transaction will have changed in memory, once it is committed."""

    moves: list[Move] = field(default_factory=list)
    totals: dict[str, Totals] = field(default_factory=dict)
    dead_bytes: int = 0
    dead_rows: int = 0
    kept_spans: dict[str, int] = field(default_factory=dict)
    next_id: int | None = None

    def count(self, destination: str, *, rows: int, spans: int, body_bytes: int, settling: int = 0) -> None:
        """Rows that come (positive) or go (negative)."""
        totals = self.totals.setdefault(destination, Totals())
        totals.rows += rows
        totals.spans += spans
        totals.body_bytes += body_bytes
        totals.settling += settling


@dataclass(slots=True)
class CoreState:
    """What the core knows without asking SQLite; read once at open."""

    ledger: Ledger = field(default_factory=Ledger)
    totals: dict[str, Totals] = field(default_factory=dict)
    next_id: int = 1
    dead_bytes: int = 0
    dead_rows: int = 0
    kept_spans: dict[str, int] = field(default_factory=dict)
    """Spans in ``delivered``, by destination."""


class BufferCore:
    """Every method is one transaction or none; after an error nothing of it is left."""

    def __init__(self, db: sqlite3.Connection, *, wall_ms: Callable[[], int], disk: Disk, bounds: Bounds, state: CoreState) -> None:
        self.db = db
        self.wall_ms = wall_ms
        self.bounds = bounds
        self.ledger = state.ledger
        self.totals = state.totals
        self.kept_spans = state.kept_spans
        self.dead_bytes = state.dead_bytes
        self.dead_rows = state.dead_rows
        self.next_id = state.next_id
        self.disk_full = False
        self.broken = False
        self._disk = disk
        self._owed: Callable[[Draft], None] | None = None
        self._logged = True
        self._checked_ms: int | None = None

    @property
    def pending_spans(self) -> int:
        return sum(totals.spans for totals in self.totals.values())

    @property
    def pending_bytes(self) -> int:
        return sum(totals.body_bytes for totals in self.totals.values())

    def commit(self, group: Group) -> list[Stored]:
        """Commit a group; the answers are in the order of ``group.appends``.

        An append over the bound is refused alone. When the disk is full all appends are refused and the rest is
        committed without them, so that the buffer drains. Raises DiskRefused if not even that was possible.
        """
        answers = self._admit(group.appends)
        admitted = [append for append, refusal in zip(group.appends, answers, strict=True) if refusal is None]
        try:
            first_ids = self._commit(group, admitted)
        except DiskRefused as refusal:
            self._make_room()
            if Group(in_flight=group.in_flight, settlements=group.settlements, hastened=group.hastened):
                self._commit(group, [])
            return [refusal] * len(answers)
        ids = iter(first_ids)
        return [next(ids) if refusal is None else refusal for refusal in answers]

    def write(self, work: Callable[[Draft], T]) -> T:
        """Run ``work`` in one transaction; if the disk is full, once more with the reserve given up.

        Raises DiskRefused, BufferBroken or BufferError; then nothing of it is left.
        """
        try:
            return self._transact(work)
        except DiskRefused:
            self._make_room()
            return self._transact(work)

    def owe(self, work: Callable[[Draft], None]) -> None:
        """Do ``work`` now, or, while the disk refuses it, at the head of the first transaction that it takes."""
        self._owed = work
        with contextlib.suppress(DiskRefused):
            self.pay()

    def pay(self) -> None:
        """See that nothing is owed any more. Raises DiskRefused."""
        if self._owed is not None:
            self.write(lambda _: None)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query. Raises BufferBroken or BufferError."""
        try:
            return work(self.db)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    @property
    def checkpoint_due(self) -> bool:
        """The log should be moved into the file: it is long, or the disk is full and what drains needs the log's room."""
        return (self._logged and self.disk_full) or self._disk.log_bytes() > LOG_BYTES

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file, on the reserve if need be. Where even that fails the next one tries again."""
        try:
            self._checkpoint()
        except DiskRefused:
            if self._fill():
                with contextlib.suppress(DiskRefused):
                    self._checkpoint()

    def _checkpoint(self) -> None:
        self.read(lambda db: db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall())
        # the first commit after a checkpoint syncs the log's new header and cuts its file to LOG_BYTES (journal_size_limit),
        # so that the file's size tells when there is more in it: pay for that here, not in an append
        self._transact(lambda _: self.db.execute("INSERT OR REPLACE INTO meta VALUES ('checkpoint_ms', ?)", (str(self.wall_ms()),)))
        self._logged = False

    def watch_disk(self) -> None:
        """``look_at_disk``, at most once a second."""
        if self._checked_ms is None or not 0 <= self.wall_ms() - self._checked_ms < DISK_CHECK_MS:
            self.look_at_disk()

    def look_at_disk(self) -> None:
        """Take spans only while there is room, and again only when there is room for the reserve and some more."""
        self._checked_ms = self.wall_ms()
        needed = self._disk.missing_bytes() + (LOG_BYTES if self.disk_full else 0)
        self.disk_full = not (self._room() >= needed and self._disk.make_reserve())

    def _room(self) -> int:
        """Free bytes that spans may take: what lies in the log has yet to find room in the file."""
        return self._disk.free_bytes() - self.bounds.min_free_bytes - self._disk.log_bytes()

    def _make_room(self) -> None:
        """After a refusal: give up the reserve and let the log begin anew."""
        self._fill()
        self.checkpoint()

    def _fill(self) -> bool:
        self.disk_full = True
        self._checked_ms = self.wall_ms()
        return self._disk.free_reserve()

    def _admit(self, appends: Sequence[Append]) -> list[BufferFull | None]:
        if not appends:
            return []
        self.watch_disk()
        answers: list[BufferFull | None] = []
        used = self.pending_bytes
        room = self._room()
        for append in appends:
            size = sum(len(row.body) for row in append.rows)
            if self.disk_full or 2 * size > room:
                self.disk_full |= room < LOG_BYTES
                answers.append(DiskRefused())
                continue
            if size and used + size > self.bounds.max_bytes:
                bound_mib = self.bounds.max_bytes / (1024 * 1024)
                answers.append(BufferFull(f"the buffer holds its {bound_mib:g} MiB (buffer.max_mib): deliver, purge or raise the bound", 5.0))
                continue
            used += size
            room -= 2 * size
            answers.append(None)
        return answers

    def _commit(self, group: Group, appends: Sequence[Append]) -> list[int]:
        if not (appends or group.in_flight or group.settlements or group.hastened):
            return []
        return self._transact(lambda draft: self._work(draft, group, appends))

    def _work(self, draft: Draft, group: Group, appends: Sequence[Append]) -> list[int]:
        first_ids = self._append(draft, appends)
        if group.in_flight:
            values = [value for lease in group.in_flight for value in (lease.lease_id, lease.destination, lease.first_row, lease.last_row)]
            self.db.execute("INSERT INTO in_flight VALUES " + ",".join(["(?,?,?,?)"] * len(group.in_flight)), values)  # noqa: S608  (constants only)
        if group.settlements:
            self._settle(draft, group.settlements)
        if group.hastened:
            traces = [trace.hex() for trace in group.hastened]
            self.db.execute(
                f"UPDATE rows SET seal_at_ms = 0 WHERE state = {SETTLING} AND seal_at_ms > 0 AND lower(hex(trace_id)) IN {IDS}",  # noqa: S608  (constants only)
                (_json_texts(traces),),
            )
        return first_ids

    def _append(self, draft: Draft, appends: Sequence[Append]) -> list[int]:
        rows: list[tuple[object, ...]] = []
        first_ids: list[int] = []
        row_id = self.next_id
        for append in appends:
            first_ids.append(row_id)
            for row in append.rows:
                rows.append(row_values(row_id, row, SEALED if row.seal_at_ms is None else SETTLING))
                draft.count(row.destination, rows=1, spans=row.spans, body_bytes=len(row.body), settling=int(row.seal_at_ms is not None))
                row_id += 1
            draft.moves.append(Move(Transition.STORE, sum(row.spans for row in append.rows) - append.rescued))
            draft.moves.extend(Move(Transition.REJECT, spans, reason) for reason, spans in append.rejected.items())
            draft.moves.extend(Move(Transition.SAMPLE, spans, reason) for reason, spans in append.sampled.items())
            if append.rescued:
                draft.moves.append(Move(Transition.RESCUE, append.rescued))
            if append.filtered:
                draft.moves.append(Move(Transition.FILTER, append.filtered))
        insert_rows(self.db, rows)
        draft.next_id = row_id
        return first_ids

    def _settle(self, draft: Draft, settlements: Sequence[Settlement]) -> None:
        gone: list[int] = []
        for settlement in settlements:
            if settlement.keep_spans is not None:
                self._keep(draft, settlement.delivered, settlement.keep_spans)
            for row in settlement.delivered:
                gone.append(row.id)
                _count_gone(draft, row)
                draft.moves.append(Move(Transition.DELIVER, row.spans))
            for row, verdict in settlement.buried:
                gone.append(row.id)
                self._bury(draft, row, verdict)
        ambiguous = [row_id for settlement in settlements for row_id in settlement.ambiguous]
        if ambiguous:
            self.db.execute(f"UPDATE rows SET state = {AMBIGUOUS} WHERE id IN {IDS}", (id_list(ambiguous),))  # noqa: S608  (constants only)
        if gone:
            self.db.execute(f"DELETE FROM rows WHERE id IN {IDS}", (id_list(gone),))  # noqa: S608  (constants only)
        closed = [settlement.lease_id for settlement in settlements if settlement.closes]
        if closed:
            self.db.execute(f"DELETE FROM in_flight WHERE lease_id IN {IDS}", (id_list(closed),))  # noqa: S608  (constants only)

    def _bury(self, draft: Draft, row: Row, verdict: Buried) -> None:
        answer = "".join(char if char.isprintable() else " " for char in verdict.answer[:MAX_ANSWER_CHARS])
        self.db.execute(
            "INSERT INTO dead (destination, trace_id, randomness, priority, threshold, spans, raw_bytes, body_bytes, received_ms, buried_ms,"
            " reason, answer, checksum, body) SELECT destination, trace_id, randomness, priority, threshold, spans, raw_bytes, body_bytes,"
            " received_ms, ?, ?, ?, checksum, body FROM rows WHERE id = ?",
            (self.wall_ms(), verdict.reason, answer, row.id),
        )
        _count_gone(draft, row)
        draft.moves.append(Move(Transition.BURY, row.spans, verdict.reason))
        draft.dead_bytes += len(row.body)
        draft.dead_rows += 1
        while self.dead_bytes + draft.dead_bytes > self.bounds.dead_letter_bytes:
            oldest = self.db.execute("SELECT id, body_bytes FROM dead ORDER BY id LIMIT 1").fetchone()
            if oldest is None:
                break
            self.db.execute("DELETE FROM dead WHERE id = ?", (oldest[0],))
            draft.dead_bytes -= oldest[1]
            draft.dead_rows -= 1

    def _keep(self, draft: Draft, rows: Sequence[Row], keep_spans: int) -> None:
        if not rows:
            return
        destination = rows[0].destination
        self.db.execute(
            "INSERT INTO delivered (destination, trace_id, spans, raw_bytes, body_bytes, received_ms, delivered_ms, checksum, body)"  # noqa: S608  (constants only)
            " SELECT destination, trace_id, spans, raw_bytes, body_bytes, received_ms, ?, checksum, body FROM rows"
            f" WHERE id IN {IDS} ORDER BY id",
            (self.wall_ms(), id_list([row.id for row in rows])),
        )
        kept = self.kept_spans.get(destination, 0) + draft.kept_spans.get(destination, 0)
        added = sum(row.spans for row in rows)
        draft.kept_spans[destination] = draft.kept_spans.get(destination, 0) + added
        surplus = kept + added - keep_spans
        if surplus <= 0:
            return
        given: list[int] = []
        for row_id, spans in self.db.execute("SELECT id, spans FROM delivered WHERE destination = ? ORDER BY id", (destination,)):
            if surplus <= 0:
                break
            given.append(row_id)
            surplus -= spans
            draft.kept_spans[destination] -= spans
        self.db.execute(f"DELETE FROM delivered WHERE id IN {IDS}", (id_list(given),))  # noqa: S608  (constants only)

    def _transact(self, work: Callable[[Draft], T]) -> T:
        draft = Draft()
        try:
            self.db.execute("BEGIN IMMEDIATE")
            if self._owed is not None:
                self._owed(draft)
            result = work(draft)
            changed = self.ledger.after(draft.moves)
            if changed:
                _write_ledger(self.db, changed)
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise self._translated(error) from error
        except BaseException:
            self._rollback()
            raise
        self._owed = None
        self._logged = True
        self._take_over(draft, changed)
        return result

    def _rollback(self) -> None:
        # SQLITE_FULL and IOERR have already rolled back; a ROLLBACK would then raise
        if self.db.in_transaction:
            try:
                self.db.execute("ROLLBACK")
            except sqlite3.Error:
                self.broken = True

    def _translated(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in FULL_CODES or primary == sqlite3.SQLITE_IOERR:
            return DiskRefused()
        if primary in BROKEN_CODES:
            self.broken = True
            return BufferBroken("SQLite says that the buffer file is damaged: it is set aside at the next start; `sidecar buffer repair` salvages it")
        return BufferError(f"SQLite refused a statement: {getattr(error, 'sqlite_errorname', type(error).__name__)}")

    def _take_over(self, draft: Draft, changed: Mapping[Key, int]) -> None:
        self.ledger.apply(changed)
        for destination, delta in draft.totals.items():
            totals = self.totals.setdefault(destination, Totals())
            totals.rows += delta.rows
            totals.spans += delta.spans
            totals.body_bytes += delta.body_bytes
            totals.settling += delta.settling
        for destination, spans in draft.kept_spans.items():
            self.kept_spans[destination] = self.kept_spans.get(destination, 0) + spans
        self.dead_bytes += draft.dead_bytes
        self.dead_rows += draft.dead_rows
        if draft.next_id is not None:
            self.next_id = draft.next_id


def row_values(row_id: int, row: NewRow, state: int) -> tuple[object, ...]:
    """A row as ``ROW_COLUMNS`` wants it."""
    return (
        row_id,
        state,
        row.destination,
        row.trace_id,
        row.randomness,
        row.priority,
        row.threshold,
        row.spans,
        row.raw_bytes,
        len(row.body),
        row.received_ms,
        row.seal_at_ms if state == SETTLING else None,
        checksum(row.body),
        row.body,
    )


def checksum(body: bytes) -> int:
    """CRC-32."""
    return isal_zlib.crc32(body)


def _count_gone(draft: Draft, row: Row) -> None:
    draft.count(row.destination, rows=-1, spans=-row.spans, body_bytes=-len(row.body))


def _write_ledger(db: sqlite3.Connection, changed: Mapping[Key, int]) -> None:
    values = [value for (state, reason), spans in changed.items() for value in (state, reason, spans)]
    rows = ",".join(["(?,?,?)"] * len(changed))
    db.execute(f"INSERT INTO ledger VALUES {rows} ON CONFLICT DO UPDATE SET spans = excluded.spans", values)  # noqa: S608  (constants only)


def _json_texts(texts: Sequence[str]) -> str:
    return "[" + ",".join(f'"{text}"' for text in texts) + "]"

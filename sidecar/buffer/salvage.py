"""Reading what is readable of a damaged buffer file, and putting it back into the line.

Rows are taken one by one and only if their checksum holds. It needs the buffer to itself.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sidecar.buffer.core import checksum
from sidecar.buffer.opening import connect, opened, set_aside_files
from sidecar.buffer.upkeep import restore
from sidecar.config import BufferSettings
from sidecar.wire.rows import NewRow

STEP_ROWS = 128
STEP_BYTES = 1024 * 1024
"""Rows of one transaction."""
LAST_ID = 1 << 62

_COLUMNS = "id, destination, trace_id, randomness, priority, threshold, spans, raw_bytes, received_ms, checksum, body"


def repair(settings: BufferSettings, wall_ms: Callable[[], int], log: logging.Logger) -> Iterator[dict[str, object]]:
    """Check the buffer as a whole, set it aside if it is damaged, and take in every file that was set aside.

    Yields what was salvaged of each; such a file is then renamed, so that nothing is taken twice. Salvaged spans are
    counted `replayed`; they may go over the buffer's bound, appends then wait until it is below again. Raises BufferError.
    """
    with opened(settings, wall_ms, log, verify=True) as buffer:
        for source in set_aside_files(buffer.path):
            rows = spans = 0
            step: list[NewRow] = []
            for row in salvaged(source):
                step.append(row)
                rows += 1
                if len(step) == STEP_ROWS or sum(len(row.body) for row in step) > STEP_BYTES:
                    spans += restore(buffer.core, step)
                    step = []
            spans += restore(buffer.core, step)
            target = source.with_name(source.name.replace(".corrupt-", ".salvaged-"))
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{source}{suffix}").rename(f"{target}{suffix}")
            yield {"file": str(target), "salvaged_rows": rows, "salvaged_spans": spans}


def salvaged(source: Path) -> Iterator[NewRow]:
    """Every intact row of a damaged file that can be reached, from both sides of each damaged stretch."""
    db = connect(str(source))
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    except sqlite3.Error:
        db.close()
        return
    try:
        yield from _walk(db)
    finally:
        with contextlib.suppress(sqlite3.Error):
            db.close()


def _walk(db: sqlite3.Connection) -> Iterator[NewRow]:
    after = -1
    while True:
        try:
            found = _next(db, after, LAST_ID, "ASC")
        except sqlite3.Error:
            beyond = _beyond(db, after)
            if beyond is None:
                return
            yield from _backwards(db, after, beyond)
            after = beyond - 1
            continue
        if found is None or not isinstance(found[0], int) or found[0] <= after:
            return
        after = found[0]
        yield from _intact(found)


def _beyond(db: sqlite3.Connection, after: int) -> int | None:
    """The id of a readable row behind a damaged stretch; the jumps double, so that a long stretch costs little."""
    jump = 1
    while after + jump < LAST_ID:
        try:
            found = _next(db, after + jump, LAST_ID, "ASC")
        except sqlite3.Error:
            jump *= 2
            continue
        return found[0] if found is not None and isinstance(found[0], int) and found[0] > after else None
    return None


def _backwards(db: sqlite3.Connection, after: int, before: int) -> Iterator[NewRow]:
    """Rows that the jump went over, from behind, as far as the damage allows."""
    while True:
        try:
            found = _next(db, after, before, "DESC")
        except sqlite3.Error:
            return
        if found is None or not isinstance(found[0], int) or not after < found[0] < before:
            return
        before = found[0]
        yield from _intact(found)


def _next(db: sqlite3.Connection, after: int, before: int, order: str) -> tuple[object, ...] | None:
    query = f"SELECT {_COLUMNS} FROM rows WHERE id > ? AND id < ? ORDER BY id {order} LIMIT 1"  # noqa: S608  (constants only)
    found: tuple[object, ...] | None = db.execute(query, (after, before)).fetchone()
    return found


def _intact(found: tuple[object, ...]) -> Iterator[NewRow]:
    _, destination, trace_id, *numbers, body = found
    if not (isinstance(destination, str) and isinstance(trace_id, bytes) and isinstance(body, bytes)):
        return
    values = [number for number in numbers if isinstance(number, int)]
    if len(values) == len(numbers) and checksum(body) == values[6] and values[3] >= 0:
        yield NewRow(destination, trace_id, values[0], values[1], values[2], values[3], values[4], body, values[5])

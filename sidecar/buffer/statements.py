"""SQL text, and how many rows go into few statements.

A statement of many rows is one step of SQLite and so one release of the interpreter lock: commits made of
many small steps on a thread starve beside a busy event loop.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from functools import lru_cache

SETTLING, SEALED, AMBIGUOUS = 0, 1, 2
STATE_NAMES = {SETTLING: "settling", SEALED: "sealed", AMBIGUOUS: "ambiguous"}

ROW_COLUMNS = (
    "id, state, destination, trace_id, randomness, priority, threshold, spans, raw_bytes, body_bytes, received_ms, seal_at_ms, checksum, body"
)
ROW_WIDTH = ROW_COLUMNS.count(",") + 1

CHUNKS = (128, 64, 32, 16, 8, 4, 2, 1)
"""Rows of one INSERT: any number is a sum of these, so that eight prepared statements serve all. 128 x 14 = 1792 variables, of 32766."""

READ_ROW = "SELECT id, destination, trace_id, spans, raw_bytes, received_ms, state, checksum, body_bytes, body FROM rows"

IDS = "(SELECT value FROM json_each(?))"
"""A list of ids as one parameter."""


@lru_cache(maxsize=2 * len(CHUNKS))
def _insert(verb: str, count: int) -> str:
    return f"{verb} INTO rows ({ROW_COLUMNS}) VALUES " + ",".join(["(" + ",".join("?" * ROW_WIDTH) + ")"] * count)


def insert_rows(db: sqlite3.Connection, rows: Sequence[tuple[object, ...]], verb: str = "INSERT") -> None:
    """Insert rows of ``ROW_COLUMNS``; ``verb`` may be INSERT OR REPLACE."""
    start = 0
    for chunk in CHUNKS:
        while len(rows) - start >= chunk:
            parameters: list[object] = []
            for row in rows[start : start + chunk]:
                parameters += row
            db.execute(_insert(verb, chunk), parameters)
            start += chunk


def id_list(ids: Collection[int]) -> str:
    """The parameter for ``IDS``."""
    return json.dumps(list(ids))

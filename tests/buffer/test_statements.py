from __future__ import annotations

import sqlite3

import pytest

from sidecar.buffer.statements import CHUNKS, ROW_COLUMNS, ROW_WIDTH, id_list, insert_rows


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 300])
def test_any_number_of_rows_goes_in_with_few_statements(count: int) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(f"CREATE TABLE rows ({ROW_COLUMNS})")
    seen: list[str] = []
    db.set_trace_callback(seen.append)

    insert_rows(db, [tuple(range(index, index + ROW_WIDTH)) for index in range(count)])

    db.set_trace_callback(None)
    assert len(seen) <= count // CHUNKS[0] + len(CHUNKS) - 1
    assert [row[0] for row in db.execute("SELECT id FROM rows ORDER BY id")] == list(range(count))
    db.close()


def test_ids_are_one_parameter() -> None:
    assert id_list([3, 1]) == "[3, 1]"

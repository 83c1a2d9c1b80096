from __future__ import annotations

from pathlib import Path

from sidecar.buffer.core import BufferCore
from sidecar.buffer.opening import set_aside_files
from sidecar.buffer.records import Group
from sidecar.buffer.salvage import repair, salvaged
from tests.buffer.builders import LOG, NOW_MS, append, assert_balanced, file, row, settings
from tests.buffer.test_opening import filled, garbage_header, zeroed_page


def repaired(path: Path) -> list[dict[str, object]]:
    return list(repair(settings(path), lambda: NOW_MS, LOG))


def damage_row(path: Path, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    while (at := data.find(content)) >= 0:
        data[at : at + 10] = b"\0" * 10
    path.write_bytes(data)


def written(path: Path, count: int) -> BufferCore:
    with file(path) as found:
        found.core.commit(Group([append(*(row(b"%06d" % index + b"x" * 3000, spans=2, trace=index) for index in range(count)))]))
        return found.core


def test_a_sound_buffer_is_left_as_it_is(tmp_path: Path) -> None:
    written(tmp_path / "b.db", 5)

    assert repaired(tmp_path / "b.db") == []
    with file(tmp_path / "b.db") as found:
        assert found.core.pending_spans == 10


def test_every_readable_row_comes_back_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    filled(path)
    zeroed_page(path)

    (result,) = repaired(path)

    rows = result["salvaged_rows"]
    assert isinstance(rows, int) and 5 <= rows < 20
    assert result["salvaged_spans"] == 3 * rows
    assert set_aside_files(str(path)) == []
    with file(path) as found:
        assert found.core.pending_spans == 3 * rows
        assert found.core.ledger.totals["quarantined", ""] == 60
        assert found.core.ledger.totals["replayed", ""] == 3 * rows
        assert_balanced(found.core)


def test_rows_on_both_sides_of_the_damage_are_found(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    written(path, 400)
    data = bytearray(path.read_bytes())
    middle = data.index(b"000200x") // 16384 * 16384
    data[middle : middle + 16384] = bytes(16384)
    path.write_bytes(data)

    found = {int(row.body[:6]) for row in salvaged(path)}

    assert {0, 399} <= found and 200 not in found
    assert len(found) >= 400 - 5  # a page of 16 KiB holds five of these rows


def test_a_row_whose_bytes_changed_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    written(path, 10)
    damage_row(path, b"000004xxxx")

    assert {int(row.body[:6]) for row in salvaged(path)} == set(range(10)) - {4}


def test_a_file_without_any_header_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    filled(path)
    garbage_header(path)

    assert [(result["salvaged_rows"], result["salvaged_spans"]) for result in repaired(path)] == [(0, 0)]


def test_a_repair_after_the_next_start_takes_what_was_set_aside_and_only_once(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    filled(path)
    zeroed_page(path)
    with file(path) as found:
        found.core.commit(Group([append(row(b"new"))]))

    assert len(repaired(path)) == 1
    assert repaired(path) == []
    with file(path) as found:
        assert_balanced(found.core)

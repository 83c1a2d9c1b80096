from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.buffer.core import LOG_BYTES, BufferCore
from sidecar.buffer.disk import MIB
from sidecar.buffer.opening import CORRUPT_KEPT, reserve_bytes, set_aside, set_aside_files
from sidecar.buffer.records import Group, InFlight, Settlement
from sidecar.errors import BufferError, BufferLocked, BufferUnwritable  # noqa: A004  (the tree's name is the field's)
from tests.buffer.builders import ANY, NOW_MS, append, assert_balanced, crashing, file, read_backlog, row, settings
from tests.buffer.test_core import FaultyConnection, faulty


def bodies(core: BufferCore) -> list[bytes]:
    return [found.body for found in read_backlog(core, "default", 0, frozenset(), ANY, 1000).rows]


def test_rows_and_ledger_are_there_after_a_clean_stop(tmp_path: Path) -> None:
    path = tmp_path / "data" / "b.db"
    with file(path) as found:
        found.core.commit(Group([append(row(b"a", spans=2), row(b"b", destination="other", seal_at_ms=1))]))
        identity = found.buffer_id
    with file(path) as found:
        assert (found.clean, found.set_aside, found.buffer_id) == (True, None, identity)
        assert bodies(found.core) == [b"a"]
        assert found.core.next_id == 3
        assert_balanced(found.core)


def test_ids_are_never_used_twice(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(), row())]))
        found.core.db.execute("DELETE FROM rows")
        found.core.totals.clear()
        found.core.ledger.totals.clear()
        found.core.db.execute("DELETE FROM ledger")
    with file(tmp_path / "b.db") as found:
        assert found.core.next_id == 3


def test_an_unclean_stop_loses_nothing_and_is_counted_by_a_scan(tmp_path: Path) -> None:
    with crashing(tmp_path / "b.db") as core:
        core.commit(Group([append(row(b"a", spans=2), row(b"b", seal_at_ms=5))]))
    with file(tmp_path / "b.db") as found:
        assert not found.clean
        assert_balanced(found.core)
        assert found.core.pending_spans == 3


def test_rows_in_flight_at_an_unclean_stop_are_ambiguous_and_no_others(tmp_path: Path) -> None:
    with crashing(tmp_path / "b.db") as core:
        core.commit(Group([append(row(), row(), row(destination="other"), row(seal_at_ms=5), row(), row())]))
        core.commit(Group(in_flight=[InFlight(1, "default", 2, 5)]))
    with file(tmp_path / "b.db") as found:
        states = [state[0] for state in found.core.db.execute("SELECT state FROM rows ORDER BY id")]
        assert states == [1, 2, 1, 0, 2, 1]
        assert found.core.db.execute("SELECT COUNT(*) FROM in_flight").fetchone()[0] == 0


def test_what_was_being_sent_is_counted_by_destination_but_once(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    with crashing(path) as core:
        core.commit(Group([append(row(spans=2), row(spans=3), row(spans=4, destination="b"), row(spans=5), row(spans=6))]))
        core.commit(Group(settlements=[Settlement(9, ambiguous=(2,))]))
        core.commit(Group(in_flight=[InFlight(1, "default", 1, 4), InFlight(2, "default", 4, 4), InFlight(3, "b", 3, 3)]))
    with file(path) as found:
        assert found.ambiguous_spans == {"default": 7, "b": 4}
    with file(path) as found:
        assert found.ambiguous_spans == {}


def refusing(path: str) -> sqlite3.Connection:
    db = faulty(path)
    assert isinstance(db, FaultyConnection)
    db.refuses_begin, db.code = True, sqlite3.SQLITE_FULL
    return db


def test_a_buffer_opens_on_a_disk_that_takes_nothing_and_marks_what_was_sent_later(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    with crashing(path) as core:
        core.commit(Group([append(row(spans=2), row())]))
        core.commit(Group(in_flight=[InFlight(1, "default", 1, 1)]))
    with file(path, connector=refusing) as found:
        db = found.core.db
        assert isinstance(db, FaultyConnection)
        assert found.core.disk_full
        assert found.ambiguous_spans == {"default": 2}
        assert [state[0] for state in db.execute("SELECT state FROM rows")] == [1, 1]
        db.refuses_begin = False
        found.core.pay()
        assert [state[0] for state in db.execute("SELECT state FROM rows")] == [2, 1]
        assert_balanced(found.core)


def test_a_file_that_could_never_be_written_is_not_called_clean(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    with crashing(path) as core:
        core.commit(Group([append(row(spans=2), row())]))
        core.commit(Group(in_flight=[InFlight(1, "default", 1, 1)]))
    with file(path, connector=refusing):
        pass
    with file(path) as found:
        assert not found.clean
        assert found.ambiguous_spans == {"default": 2}
        assert_balanced(found.core)


def test_opening_again_writes_one_transaction_only(tmp_path: Path) -> None:
    """A full disk has no room for more: settings that are as they should be are not written again."""
    with file(tmp_path / "b.db"):
        pass
    with file(tmp_path / "b.db") as found:
        frames = (tmp_path / "b.db-wal").stat().st_size // 16384
        assert frames <= 2
        assert found.core.db.execute("PRAGMA auto_vacuum").fetchone()[0] == 1


@pytest.mark.parametrize(("reserve_mib", "expected"), [(0, 0), (2, LOG_BYTES + 2 * MIB)])
def test_the_reserve_holds_the_log_and_what_drains(tmp_path: Path, reserve_mib: float, expected: int) -> None:
    assert reserve_bytes(settings(tmp_path / "b.db", reserve_mib=reserve_mib)) == expected


def test_every_file_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with file(tmp_path / "data" / "b.db", reserve_mib=0.1) as found:
            found.core.commit(Group([append(row())]))
            found.write_checkpoint()
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
            folder = stat.S_IMODE((tmp_path / "data").stat().st_mode)
    finally:
        os.umask(before)

    assert set(modes) == {"b.db", "b.db-wal", "b.db.lock", "b.db.reserve", "b.db.ledger.json"}
    assert set(modes.values()) == {0o600}
    assert folder == 0o700


@pytest.mark.parametrize(("durability", "synchronous"), [("normal", 1), ("full", 2)])
def test_the_connection_is_set_up_as_decided(tmp_path: Path, durability: str, synchronous: int) -> None:
    with file(tmp_path / "b.db", durability=durability) as found:
        wanted = {
            "page_size": 16384,
            "journal_mode": "wal",
            "synchronous": synchronous,
            "secure_delete": 0,
            "locking_mode": "exclusive",
            "auto_vacuum": 1,
            "wal_autocheckpoint": 0,
        }
        assert {name: found.core.db.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted


def test_a_second_process_is_told_who_holds_the_buffer(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    program = f"""
from tests.buffer.builders import file
with file({str(path)!r}):
    print("open", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(BufferLocked, match=f"process {other.pid}"), file(path):
            pass
        other.kill()
        other.wait()

    with file(path) as found:
        assert not found.clean


def test_a_directory_that_cannot_be_made_is_said_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(BufferUnwritable, match=r"SIDECAR_DATA_DIR"), file(tmp_path / "taken" / "b.db"):
        pass


def test_a_path_that_is_a_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "b.db").mkdir()

    with pytest.raises(BufferUnwritable, match="directory"), file(tmp_path / "b.db"):
        pass


def test_a_newer_schema_is_an_error_and_the_file_stays(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.db.execute("PRAGMA user_version = 99")

    with pytest.raises(BufferError, match="newer sidecar"), file(tmp_path / "b.db"):
        pass
    assert set_aside_files(str(tmp_path / "b.db")) == []


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "b.db")
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()

    with pytest.raises(BufferUnwritable, match="another program"), file(tmp_path / "b.db"):
        pass
    assert set_aside_files(str(tmp_path / "b.db")) == []


def filled(path: Path) -> None:
    """A buffer of 60 spans whose process died after the ledger's checkpoint was written."""
    with file(path) as found:
        found.core.commit(Group([append(*(row(b"x" * 3000, spans=3) for _ in range(20)))]))
        found.core.checkpoint()
        found.write_checkpoint()
        found.core.db.execute("UPDATE meta SET value = '0' WHERE key = 'clean'")
        found.core.broken = True
        keep = found.core
    keep.broken = False
    checkpoint = Path(f"{path}.ledger.json")
    checkpoint.write_text(checkpoint.read_text().replace("true", "false"))


def garbage_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"not a database at all".ljust(100, b"\0") + content[100:])


def truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 77])


def zeroed_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = content.rindex(b"x" * 3000) // 16384 * 16384
    content[start : start + 16384] = bytes(16384)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [garbage_header, truncated, zeroed_page])
def test_a_damaged_file_is_set_aside_and_its_spans_counted(tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "b.db"
    filled(path)
    assert callable(damage)
    damage(path)

    with caplog.at_level(logging.ERROR), file(path) as found:
        assert found.set_aside is not None and found.set_aside.exists()
        assert found.core.ledger.totals["quarantined", ""] == 60
        assert_balanced(found.core)
        found.core.commit(Group([append(row(b"new"))]))
        assert bodies(found.core) == [b"new"]
    assert "set aside" in caplog.text
    with file(path) as found:
        assert found.set_aside is None
        assert found.core.ledger.totals["quarantined", ""] == 60
        assert_balanced(found.core)


def test_a_file_that_the_last_run_called_broken_is_not_trusted_again(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(spans=4))]))
        found.core.broken = True

    with file(tmp_path / "b.db") as found:
        assert found.set_aside is not None
        assert found.core.ledger.totals["quarantined", ""] == 4
    with file(tmp_path / "b.db") as found:
        assert found.set_aside is None


def test_an_unreadable_checkpoint_is_no_reason_not_to_start(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row())]))
    (tmp_path / "b.db.ledger.json").write_text('{"version": 1, "totals": [1]}')

    with file(tmp_path / "b.db") as found:
        assert found.core.pending_spans == 1


def test_rows_that_the_ledger_does_not_know_are_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(spans=5))]))
        found.core.db.execute("UPDATE ledger SET spans = 7")
        found.core.ledger.totals.update({("stored", ""): 7, ("received", ""): 7})

    with file(tmp_path / "b.db") as found:
        assert found.core.ledger.totals["quarantined", ""] == 2
        assert_balanced(found.core)
    assert "disagree" in caplog.text


def test_few_damaged_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    for minute in range(CORRUPT_KEPT + 2):
        path.write_text("garbage")
        set_aside(str(path), NOW_MS + minute * 60_000)

    kept = set_aside_files(str(path))
    assert len(kept) == CORRUPT_KEPT
    assert kept[0].name.endswith("221520000Z")


def test_a_buffer_in_memory_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with file(":memory:") as found:
        found.core.commit(Group([append(row(b"a"))]))
        assert bodies(found.core) == [b"a"]

    assert list(tmp_path.iterdir()) == []


def test_a_file_size_limit_refuses_appends_and_loses_nothing(tmp_path: Path) -> None:
    """A real IOERR from the kernel: RLIMIT_FSIZE stops the log from growing."""
    program = f"""
import resource
from sidecar.buffer.records import Group
from tests.buffer.builders import append, assert_balanced, file, row
with file({str(tmp_path / "b.db")!r}) as found:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    kept = 0
    while isinstance(found.core.commit(Group([append(row(b"x" * 50_000))]))[0], int):
        kept += 1
    assert found.core.disk_full and kept > 3, kept
    assert_balanced(found.core)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found.core._checked_ms = None
    assert isinstance(found.core.commit(Group([append(row())]))[0], int)
    assert_balanced(found.core)
    assert found.core.db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.buffer.core import LOG_BYTES, MAX_ANSWER_CHARS, BufferCore, DiskRefused
from sidecar.buffer.disk import MIB, NoDisk
from sidecar.buffer.leases import Buried
from sidecar.buffer.records import Group, InFlight, Settlement
from sidecar.errors import BufferBroken, BufferError, BufferFull  # noqa: A004  (the tree's name is the field's)
from sidecar.wire.rows import NewRow, Row
from tests.buffer.builders import NOW_MS, append, assert_balanced, file, row


def stored(core: BufferCore, *rows: NewRow) -> list[Row]:
    (first_id,) = core.commit(Group([append(*rows)]))
    assert isinstance(first_id, int)
    return [
        Row(row_id, new.destination, new.trace_id, new.spans, new.raw_bytes, new.body, new.received_ms) for row_id, new in enumerate(rows, first_id)
    ]


def bodies(core: BufferCore) -> list[bytes]:
    return [found[0] for found in core.db.execute("SELECT body FROM rows ORDER BY id")]


class FaultyConnection(sqlite3.Connection):
    """Fails the n-th statement from now with the given SQLite code, or every BEGIN."""

    countdown = -1
    code = sqlite3.SQLITE_IOERR_WRITE
    rolls_back = False
    refuses_begin = False

    def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
        if self.countdown == 0 or (self.refuses_begin and sql.startswith("BEGIN")):
            self.countdown = -1
            if self.rolls_back and self.in_transaction:
                super().execute("ROLLBACK")
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = self.code
            error.sqlite_errorname = "INJECTED"
            raise error
        if self.countdown > 0:
            self.countdown -= 1
        return super().execute(sql, parameters)  # type: ignore[arg-type]  # (whatever sqlite3 takes)


def faulty(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=FaultyConnection)


class ScriptedDisk(NoDisk):
    def __init__(self, log: int = 0) -> None:
        self.free = 1 << 40
        self.log = log
        self.reserve = True
        self.reserve_fits = True
        self.freed = 0

    def free_bytes(self) -> int:
        return self.free

    def log_bytes(self) -> int:
        return self.log

    def missing_bytes(self) -> int:
        return 0 if self.reserve else MIB

    def make_reserve(self) -> bool:
        self.reserve = self.reserve or self.reserve_fits
        return self.reserve

    def free_reserve(self) -> bool:
        had, self.reserve = self.reserve, False
        self.freed += had
        return had


def test_a_group_is_one_transaction_and_its_rows_get_ids_without_gaps(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        answers = found.core.commit(Group([append(row(b"a"), row(b"b")), append(row(b"c"))]))

        assert answers == [1, 3]
        assert bodies(found.core) == [b"a", b"b", b"c"]
        assert_balanced(found.core)


def test_every_count_of_an_append_reaches_the_ledger(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        found.core.commit(Group([append(row(spans=3), rejected={"duplicate": 2, "no_id": 1}, filtered=4)]))

        totals = found.core.ledger.totals
        assert totals["received", ""] == 10
        assert totals["rejected", "duplicate"] == 2
        assert totals["filtered", ""] == 4
        assert_balanced(found.core)


def test_a_delivered_row_is_deleted_and_its_range_closed(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        rows = stored(found.core, row(spans=2), row(spans=3))
        found.core.commit(Group(in_flight=[InFlight(1, "default", 1, 2)]))
        found.core.commit(Group(settlements=[Settlement(1, delivered=tuple(rows), closes=True)]))

        assert bodies(found.core) == []
        assert found.core.db.execute("SELECT COUNT(*) FROM in_flight").fetchone()[0] == 0
        assert found.core.ledger.totals["delivered", ""] == 5
        assert_balanced(found.core)


def test_a_buried_row_keeps_its_reason_and_a_short_printable_answer(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        (buried,) = stored(found.core, row(b"poison", spans=2))
        verdict = Buried("refused", "bad\x1b[31m\n" + "x" * 1000)
        found.core.commit(Group(settlements=[Settlement(1, buried=((buried, verdict),), closes=True)]))

        reason, answer, body, buried_ms = found.core.db.execute("SELECT reason, answer, body, buried_ms FROM dead").fetchone()
        assert (reason, body, buried_ms, len(answer)) == ("refused", b"poison", NOW_MS, MAX_ANSWER_CHARS)
        assert answer.startswith("bad [31m x")
        assert_balanced(found.core)


def test_the_oldest_dead_letters_give_way(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", dead_letter_mib=2.5 / 1024) as found:
        for letter in (b"a", b"b", b"c", b"d"):
            (buried,) = stored(found.core, row(letter * 1024))
            found.core.commit(Group(settlements=[Settlement(1, buried=((buried, Buried("refused", "")),))]))

        assert [kept[0][:1] for kept in found.core.db.execute("SELECT body FROM dead ORDER BY id")] == [b"c", b"d"]
        assert found.core.ledger.totals["buried", "refused"] == 4
        assert_balanced(found.core)


def test_a_local_destination_keeps_its_last_spans(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        for letter in (b"a", b"b", b"c"):
            rows = stored(found.core, row(letter, spans=2), row(letter, destination="other", spans=2))
            found.core.commit(
                Group(settlements=[Settlement(1, delivered=(rows[0],), keep_spans=4), Settlement(2, delivered=(rows[1],), keep_spans=9)])
            )

        kept = found.core.db.execute("SELECT destination, body FROM delivered ORDER BY id").fetchall()
        assert [body for destination, body in kept if destination == "default"] == [b"b", b"c"]
        assert len(kept) == 5
        assert found.core.kept_spans == {"default": 4, "other": 6}
        assert_balanced(found.core)


def test_an_ambiguous_row_is_marked(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        stored(found.core, row(), row())
        found.core.commit(Group(settlements=[Settlement(1, ambiguous=(2,), closes=True)]))

        assert [state[0] for state in found.core.db.execute("SELECT state FROM rows ORDER BY id")] == [1, 2]


def test_only_the_append_over_the_bound_is_refused(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", max_mib=1) as found:
        big = row(b"x" * 700_000)
        first, second, third = found.core.commit(Group([append(big), append(big), append(row(b"small"))]))

        assert (first, third) == (1, 2)
        assert isinstance(second, BufferFull) and "max_mib" in str(second)
        assert_balanced(found.core)


def test_a_full_buffer_still_counts_what_was_rejected(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", max_mib=0.001) as found:
        found.core.commit(Group([append(row(b"x" * 1000))]))

        assert found.core.commit(Group([append(rejected={"no_id": 1})])) == [2]
        assert_balanced(found.core)


def test_hastened_traces_are_due_at_once_and_others_are_not(tmp_path: Path) -> None:
    with file(tmp_path / "b.db") as found:
        stored(found.core, row(trace=1, seal_at_ms=NOW_MS + 6000), row(trace=2, seal_at_ms=NOW_MS + 6000))
        found.core.commit(Group(hastened={(1).to_bytes(16, "big")}))

        assert [due[0] for due in found.core.db.execute("SELECT seal_at_ms FROM rows ORDER BY id")] == [0, NOW_MS + 6000]


def mixed(core: BufferCore) -> Callable[[], Group]:
    """A group with everything in it, on a core that has something of everything."""
    kept, gone, dead = stored(core, row(b"kept"), row(b"gone", spans=2), row(b"dead", spans=3))
    return lambda: Group(
        [append(row(b"new"), rejected={"no_id": 1})],
        [InFlight(9, "default", kept.id, kept.id)],
        [Settlement(1, (gone,), (kept.id,), ((dead, Buried("refused", "no")),), closes=True, keep_spans=1)],
        {b"t" * 16},
    )


@pytest.mark.parametrize("rolls_back", [False, True], ids=["transaction stays open", "SQLite rolled back"])
def test_a_failure_of_any_statement_leaves_nothing_of_the_group(tmp_path: Path, rolls_back: bool) -> None:
    with file(tmp_path / "b.db", connector=faulty) as found:
        core, db = found.core, found.core.db
        assert isinstance(db, FaultyConnection)
        make = mixed(core)
        before = (bodies(core), dict(core.ledger.totals), core.next_id, core.dead_bytes, dict(core.kept_spans))
        db.code, db.rolls_back = sqlite3.SQLITE_CONSTRAINT, rolls_back
        failures = 0
        while True:
            db.countdown = failures
            try:
                core.commit(make())
            except BufferError:
                failures += 1
                db.countdown = -1
                assert (bodies(core), dict(core.ledger.totals), core.next_id, core.dead_bytes, dict(core.kept_spans)) == before
                assert not db.in_transaction
                assert_balanced(core)
            else:
                break
        db.countdown = -1
        assert failures >= 9
        assert not core.broken
        assert bodies(core) == [b"kept", b"new"]
        assert_balanced(core)


def test_a_full_disk_refuses_appends_but_drains_on_the_reserve(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    with file(tmp_path / "b.db", connector=faulty, disk=disk) as found:
        db = found.core.db
        assert isinstance(db, FaultyConnection)
        rows = stored(found.core, row(b"old"))
        db.countdown, db.code = 1, sqlite3.SQLITE_FULL
        (answer,) = found.core.commit(Group([append(row(b"new"))], settlements=[Settlement(1, delivered=tuple(rows))]))

        assert isinstance(answer, DiskRefused)
        assert (disk.freed, bodies(found.core), found.core.disk_full, found.core.broken) == (1, [], True, False)
        assert_balanced(found.core)


def test_a_file_that_may_not_grow_refuses_appends_and_still_drains(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    with file(tmp_path / "b.db", disk=disk) as found:
        rows = stored(found.core, row(b"old" * 100_000))
        pages = found.core.db.execute("PRAGMA page_count").fetchone()[0]
        found.core.db.execute(f"PRAGMA max_page_count = {pages}")
        (answer,) = found.core.commit(Group([append(row(b"x" * 1_000_000))]))
        assert isinstance(answer, DiskRefused)
        (answer,) = found.core.commit(Group([append(row(b"small"))], settlements=[Settlement(1, delivered=tuple(rows))]))
        assert isinstance(answer, DiskRefused)
        assert bodies(found.core) == []
        assert_balanced(found.core)


def test_appends_are_taken_again_once_there_is_room_for_the_reserve_too(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    now = [NOW_MS]
    with file(tmp_path / "b.db", disk=disk, now=lambda: now[0], min_free_mib=64) as found:
        disk.free, disk.reserve, disk.reserve_fits = 1 << 20, False, False
        taken = []
        for free, fits in ((1 << 20, False), (1 << 30, False), (1 << 30, True)):
            now[0] += 1000
            disk.free, disk.reserve_fits = free, fits
            (answer,) = found.core.commit(Group([append(row())]))
            taken.append(isinstance(answer, int))

        assert taken == [False, False, True]


def test_the_reserve_is_not_taken_out_of_the_room_that_must_stay_free(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    with file(tmp_path / "b.db", disk=disk, min_free_mib=64) as found:
        found.core._fill()
        opened = []
        for free in (64 * MIB + LOG_BYTES, 65 * MIB + LOG_BYTES):
            disk.free = free
            found.core.look_at_disk()
            opened.append(not found.core.disk_full)

        assert opened == [False, True]


@pytest.mark.parametrize(("free", "taken"), [(3_099_999, False), (3_100_000, True)])
def test_an_append_needs_twice_its_size_beside_what_the_log_holds(tmp_path: Path, free: int, *, taken: bool) -> None:
    disk = ScriptedDisk(log=2_000_000)
    with file(tmp_path / "b.db", disk=disk) as found:
        disk.free = free + 2_000_000
        (answer,) = found.core.commit(Group([append(row(b"x" * 1_550_000))]))

        assert isinstance(answer, int) == taken
        assert found.core.disk_full == (not taken)


def test_an_append_that_is_too_large_for_the_room_is_refused_alone(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    with file(tmp_path / "b.db", disk=disk) as found:
        disk.free = 8 * MIB
        big, small = found.core.commit(Group([append(row(b"x" * (5 * MIB))), append(row())]))

        assert isinstance(big, DiskRefused)
        assert small == 1
        assert not found.core.disk_full


def test_damage_is_told_apart_from_a_full_disk(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", connector=faulty) as found:
        db = found.core.db
        assert isinstance(db, FaultyConnection)
        db.countdown, db.code = 1, sqlite3.SQLITE_CORRUPT
        with pytest.raises(BufferBroken, match="damaged"):
            found.core.commit(Group([append(row())]))

        assert found.core.broken


def test_a_checkpoint_on_a_full_disk_takes_the_reserve_and_empties_the_log(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    with file(tmp_path / "b.db", connector=faulty, disk=disk) as found:
        core, db = found.core, found.core.db
        assert isinstance(db, FaultyConnection)
        stored(core, row(b"x" * 100_000))
        assert not core.checkpoint_due
        db.countdown, db.code = 0, sqlite3.SQLITE_FULL
        core.checkpoint()

        assert disk.freed == 1
        assert core.disk_full
        assert not core.checkpoint_due
        assert db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1] < 10


def test_on_a_full_disk_every_write_asks_for_a_checkpoint(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", disk=ScriptedDisk()) as found:
        found.core.checkpoint()
        due = [found.core.checkpoint_due]
        found.core._fill()
        due.append(found.core.checkpoint_due)
        found.core.commit(Group(in_flight=[InFlight(1, "default", 1, 1)]))
        due.append(found.core.checkpoint_due)

        assert due == [False, False, True]


def test_a_checkpoint_is_due_by_what_was_really_written(tmp_path: Path) -> None:
    """A commit writes whole pages: a hundred bytes of body are two of 16 KiB."""
    log = tmp_path / "b.db-wal"
    page = 16384
    with file(tmp_path / "b.db") as found:
        for _ in range(2):
            commits = 0
            while not found.core.checkpoint_due:
                stored(found.core, row(b"x" * 100))
                commits += 1
            grown = log.stat().st_size
            found.core.checkpoint()

            assert 100 < commits < LOG_BYTES // (2 * page)
            assert LOG_BYTES < grown < LOG_BYTES + 10 * page
            assert log.stat().st_size == LOG_BYTES


def test_what_is_owed_comes_before_the_first_write_that_the_disk_takes(tmp_path: Path) -> None:
    with file(tmp_path / "b.db", connector=faulty, disk=ScriptedDisk()) as found:
        core, db = found.core, found.core.db
        assert isinstance(db, FaultyConnection)
        done: list[str] = []
        db.refuses_begin, db.code = True, sqlite3.SQLITE_FULL
        core.owe(lambda _: done.append("owed"))
        with pytest.raises(DiskRefused):
            core.pay()
        assert (done, core.disk_full) == ([], True)

        db.refuses_begin = False
        core.write(lambda _: done.append("new"))
        core.pay()
        assert done == ["owed", "new"]


def test_the_file_shrinks_when_it_drains(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    with file(path) as found:
        rows = stored(found.core, *(row(b"x" * 100_000) for _ in range(50)))
        found.core.checkpoint()
        full = path.stat().st_size
        found.core.commit(Group(settlements=[Settlement(1, delivered=tuple(rows))]))
        found.core.checkpoint()

        assert full > 5_000_000 and path.stat().st_size < 300_000

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace as changed
from pathlib import Path

import pytest

from sidecar.buffer.leases import Lane
from sidecar.buffer.records import Omit
from sidecar.buffer.runner import inline
from sidecar.buffer.tending import CHECKPOINT_S, DISK_S, EXPIRY_S, SEAL_LOOK_S, SEAL_PAUSE_S
from sidecar.errors import BufferFull
from sidecar.wire.rows import NewRow
from tests.buffer.builders import ANY, append, buffer, lease_all, row, run
from tests.buffer.test_core import FaultyConnection, ScriptedDisk, faulty
from tests.fakes.clock import FakeClock
from tests.waiting import until


def test_a_settling_row_cannot_be_leased_before_its_time_and_is_sealed_then(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, seal=lambda old: changed(old, body=old.body + b"+context")) as found:
            await found.append(append(row(b"a", seal_at_ms=clock.wall_ms() + 6000)))
            assert await lease_all(found) == []
            await clock.advance(5.9)
            assert await lease_all(found) == []
            await clock.advance(0.1)
            (lease,) = await lease_all(found)
            assert (lease.lane, lease.rows[0].body) == (Lane.FRESH, b"a+context")
            assert found.pending_bytes == len(b"a+context")

    run(body())


def test_a_hastened_trace_is_sealed_at_once(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            late = clock.wall_ms() + 60_000
            await found.append(append(row(b"a", trace=1, seal_at_ms=late), row(b"b", trace=2, seal_at_ms=late)))
            found.hasten([(2).to_bytes(16, "big")])
            await clock.settle()
            (lease,) = await lease_all(found)
            assert [leased.body for leased in lease.rows] == [b"b"]

    run(body())


def test_settling_rows_of_an_earlier_run_are_sealed_too(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            await found.append(append(row(b"a", seal_at_ms=clock.wall_ms() + 6000)))
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            await clock.advance(6)
            (lease,) = await lease_all(found)
            assert lease.rows[0].body == b"a"

    run(body())


def test_a_row_that_is_to_be_omitted_is_deleted_and_counted(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, seal=lambda old: Omit.OMIT if old.body == b"a" else None) as found:
            due_ms = clock.wall_ms() + 6000
            await found.append(append(row(b"a", spans=3, seal_at_ms=due_ms), row(b"b", seal_at_ms=due_ms)))
            await clock.advance(6)
            (lease,) = await lease_all(found)
            assert [leased.body for leased in lease.rows] == [b"b"]
            assert found.ledger.totals["omitted", ""] == 3
            assert found.pending_spans == 1
            assert found.ledger.imbalances(found.pending_spans) == []

    run(body())


def test_everything_that_settles_can_be_sealed_at_once(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, seal=lambda old: changed(old, body=old.body + b"+context")) as found:
            late = clock.wall_ms() + 60_000
            await found.append(append(row(b"a", trace=1, seal_at_ms=late), row(b"b", trace=2, seal_at_ms=late)))
            assert await found.seal_all() == 2
            (lease,) = await lease_all(found)
            assert [leased.body for leased in lease.rows] == [b"a+context", b"b+context"]

    run(body())


def test_what_settles_on_at_the_end_can_be_sealed_otherwise_than_what_is_due(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, seal=lambda _: Omit.OMIT) as found:
            now = clock.wall_ms()
            await found.append(append(row(b"due", trace=1, seal_at_ms=now), row(b"early", trace=2, seal_at_ms=now + 60_000)))
            assert await found.seal_all(lambda old: changed(old, body=old.body + b"+kept")) == 2
            (lease,) = await lease_all(found)
            assert [leased.body for leased in lease.rows] == [b"early+kept"]
            assert found.ledger.imbalances(found.pending_spans) == []

    run(body())


def raising(_old: NewRow) -> NewRow:
    raise LookupError("no context")


@pytest.mark.parametrize("seal", [raising, lambda old: changed(old, spans=old.spans + 1)], ids=["an exception", "other spans"])
def test_a_row_whose_sealing_fails_is_sent_as_it_is(tmp_path: Path, seal: object) -> None:
    async def body() -> None:
        clock = FakeClock()
        assert callable(seal)
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, seal=seal) as found:
            await found.append(append(row(b"a", seal_at_ms=clock.wall_ms())))
            await clock.settle()
            (lease,) = await lease_all(found)
            assert lease.rows[0].body == b"a"

    run(body())


def test_rows_over_their_age_expire_but_for_leased_ones(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, max_age_h=1) as found:
            await found.append(append(row(b"leased", received_ms=clock.wall_ms())))
            lease = await found.lease("default", Lane.FRESH, ANY)
            await found.append(append(row(b"old", spans=3, received_ms=clock.wall_ms())))
            await clock.advance(3600 + 2 * EXPIRY_S)
            assert found.ledger.totals["expired", ""] == 3
            assert found.status("default").fresh_rows == 0
            assert lease is not None
            await found.delivered(lease)
            assert found.ledger.imbalances(0) == []

    run(body())


def test_the_ledgers_checkpoint_is_written_when_it_changed(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        checkpoint = tmp_path / "b.db.ledger.json"
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            await found.append(append(row(spans=5, received_ms=clock.wall_ms())))
            await until(lambda: len(clock.sleeping()) == 2)
            await clock.advance(CHECKPOINT_S)
            assert ["stored", "", 5] in json.loads(checkpoint.read_text())["totals"]
            checkpoint.unlink()
            await clock.advance(10 * CHECKPOINT_S)
            assert not checkpoint.exists()

    run(body())


def test_an_upkeep_that_fails_is_put_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        clock = FakeClock()
        part = tmp_path / "b.db.ledger.json.part"
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            part.mkdir()
            await found.append(append(row()))
            await until(lambda: len(clock.sleeping()) == 2)
            await clock.advance(CHECKPOINT_S)
            assert "put off" in caplog.text
            part.rmdir()
            await clock.advance(CHECKPOINT_S)
            assert (tmp_path / "b.db.ledger.json").exists()

    run(body())


def test_a_full_disk_is_looked_at_once_a_second_and_only_then(tmp_path: Path) -> None:
    async def body() -> None:
        clock, disk = FakeClock(), ScriptedDisk()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, disk=disk, min_free_mib=64) as found:
            disk.free = 0
            with pytest.raises(BufferFull, match="disk"):
                await found.append(append(row()))
            await clock.wait_for_sleeper(DISK_S / 2)
            await until(lambda: len(clock.sleeping()) == 3)
            seen = []
            for free in (0, 1 << 30):
                disk.free = free
                await clock.advance(DISK_S)
                seen.append(found.disk_full)
            assert seen == [True, False]
            await until(lambda: len(clock.sleeping()) == 2)
            assert min(clock.sleeping()) > DISK_S

    run(body())


def test_a_row_that_the_disk_has_no_room_to_rewrite_is_sealed_as_it_is(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, seal=lambda old: changed(old, body=b"x" * 1_000_000)) as found:
            await found.append(append(row(b"a", seal_at_ms=clock.wall_ms())))
            db = found._core.db
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages}")
            await clock.settle()
            (lease,) = await lease_all(found)
            assert lease.rows[0].body == b"a"

    run(body())


def test_nothing_ticks_while_nothing_settles(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            await until(lambda: len(clock.sleeping()) == 2)
            assert min(clock.sleeping()) >= CHECKPOINT_S
            await found.append(append(row(seal_at_ms=clock.wall_ms() + 1000)))
            await until(lambda: min(clock.sleeping()) == 1)
            await clock.advance(1 + SEAL_PAUSE_S)
            assert len(clock.sleeping()) == 2

    run(body())


def test_a_row_that_is_due_sooner_than_the_one_waited_for_is_sealed_in_its_time(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            await found.append(append(row(b"late", seal_at_ms=clock.wall_ms() + 1900)))
            await clock.settle()
            await found.append(append(row(b"soon", seal_at_ms=clock.wall_ms() + 100)))
            await clock.advance(0.1)
            (lease,) = await lease_all(found)
            assert [leased.body for leased in lease.rows] == [b"soon"]
            await clock.advance(1.8)
            (lease,) = await lease_all(found)
            assert [leased.body for leased in lease.rows] == [b"late"]

    run(body())


def test_rows_that_are_due_one_after_the_other_are_sealed_together(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            now_ms = clock.wall_ms()
            await found.append(append(*(row(b"%d" % number, seal_at_ms=now_ms + 1000 + 50 * number) for number in range(5))))
            await clock.advance(1)
            (lease,) = await lease_all(found)
            assert [leased.body for leased in lease.rows] == [b"0"]
            await clock.advance(SEAL_PAUSE_S - 0.01)
            assert await lease_all(found) == []
            await clock.advance(0.01)
            (lease,) = await lease_all(found)
            assert [leased.body for leased in lease.rows] == [b"1", b"2", b"3", b"4"]

    run(body())


def test_a_wall_clock_that_jumps_ahead_is_noticed(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            await found.append(append(row(b"a", seal_at_ms=clock.wall_ms() + 60_000)))
            await clock.settle()
            clock._start_ms += 3_600_000
            await clock.advance(SEAL_LOOK_S)


def test_a_disk_that_fails_at_the_first_look_does_not_end_the_buffer(tmp_path: Path) -> None:
    """What the file holds after a start is sealed as soon as it can be read."""

    def failing(path: str) -> sqlite3.Connection:
        connection = faulty(path)
        assert isinstance(connection, FaultyConnection)
        connections.append(connection)
        return connection

    connections: list[FaultyConnection] = []

    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline) as found:
            await found.append(append(row(b"a", seal_at_ms=clock.wall_ms())))
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, connector=failing) as found:
            connections[0].countdown = 0
            await clock.settle()
            assert connections[0].countdown == -1
            await clock.advance(SEAL_PAUSE_S)
            (lease,) = await lease_all(found)
            assert lease.rows[0].body == b"a"

    run(body())


def test_a_full_disk_leaves_what_settles_for_the_next_start(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        async with buffer(tmp_path / "b.db", clock=clock, runner=inline, connector=faulty) as found:
            await found.append(append(row(b"a", seal_at_ms=clock.wall_ms() + 60_000)))
            db = found._core.db
            assert isinstance(db, FaultyConnection)
            db.refuses_begin, db.code = True, sqlite3.SQLITE_FULL
            assert await found.seal_all() == 0
            db.refuses_begin = False
            assert await found.seal_all() == 1

    run(body())

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sidecar.buffer.core import DRAIN_BYTES, DRAIN_ROWS
from sidecar.buffer.lanes import Lanes
from sidecar.buffer.leases import Lane
from sidecar.buffer.opening import Opened
from sidecar.buffer.records import Settlement
from sidecar.buffer.runner import InlineRunner
from sidecar.buffer.worker import GROUP_BYTES, GROUP_ROWS, STALLED_S, Worker
from sidecar.errors import BufferBroken, BufferError, BufferFull  # noqa: A004  (the tree's name is the field's)
from sidecar.observe.metrics import Metrics
from tests.buffer.builders import ANY, LOG, append, assert_balanced, file, row, run
from tests.buffer.test_core import FaultyConnection, ScriptedDisk, faulty
from tests.fakes.clock import FakeClock
from tests.waiting import until


class Scene:
    """A worker on a connection whose statements can be made to fail."""

    def __init__(self, found: Opened, clock: FakeClock) -> None:
        self.core = found.core
        assert isinstance(found.core.db, FaultyConnection)
        self.db = found.core.db
        self.clock = clock
        self.metrics = Metrics(CollectorRegistry())
        self.lanes = Lanes(1 << 24, {}, None)
        self.worker = Worker(self.core, InlineRunner(), self.lanes, clock, self.metrics, LOG)

    def commits(self) -> float | None:
        return self.metrics.registry.get_sample_value("sidecar_buffer_commit_seconds_count")


@asynccontextmanager
async def scene(path: Path) -> AsyncIterator[Scene]:
    with file(path, connector=faulty, disk=ScriptedDisk()) as found:
        made = Scene(found, FakeClock())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.worker.work())
            yield made
            made.worker.close()


def test_a_group_is_bounded_by_rows_and_by_bytes(tmp_path: Path) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            await asyncio.gather(*(on.worker.append(append(*(row() for _ in range(GROUP_ROWS // 2)))) for _ in range(4)))
            assert on.commits() == 2
            await asyncio.gather(*(on.worker.append(append(row(b"x" * (GROUP_BYTES // 2)))) for _ in range(4)))
            assert on.commits() == 4

    run(body())


def test_while_the_disk_takes_nothing_appends_are_refused_and_outcomes_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            await on.worker.append(append(row(b"a")))
            lease = await on.worker.lease_fresh("default", ANY)
            assert lease is not None
            on.db.refuses_begin = True
            settled = on.worker.settle(Settlement(lease.id, lease.rows, closes=True), ())
            with pytest.raises(BufferFull, match="disk"):
                await on.worker.append(append(row(b"b")))
            with pytest.raises(BufferFull, match="disk"):
                await on.worker.append(append(row(b"c")))
            leasing = on.worker.lease_fresh("default", ANY)
            await until(lambda: bool(on.clock.sleeping()))
            assert not settled.done()

            on.db.refuses_begin = False
            await on.clock.advance(STALLED_S)
            await settled
            assert await leasing is None
            assert on.core.pending_spans == 0
            assert_balanced(on.core)
            on.core._checked_ms = None
            await on.worker.append(append(row(b"d")))

    run(body())
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the disk under the buffer has no room",
        "the disk under the buffer has room again",
    ]


def test_on_a_full_disk_a_delivery_is_deleted_in_small_steps(tmp_path: Path) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            half = b"x" * (DRAIN_BYTES // 2)
            await on.worker.append(append(row(half), row(half), row(half), *(row() for _ in range(DRAIN_ROWS + 9))))
            lease = await on.worker.lease_fresh("default", ANY)
            assert lease is not None and len(lease.rows) == DRAIN_ROWS + 12
            taken = lease.rows
            on.core._fill()
            before = on.commits() or 0.0
            settled = on.worker.settle(Settlement(lease.id, taken[:-1], (taken[-1].id,), closes=True), taken[-1:])
            await settled
            assert (on.commits() or 0.0) - before == 3
            assert on.core.ledger.totals["delivered", ""] == len(taken) - 1
            assert on.core.db.execute("SELECT COUNT(*) FROM in_flight").fetchone()[0] == 0
            assert_balanced(on.core)

    run(body())


def test_appends_are_taken_again_when_those_who_waited_for_the_disk_have_gone(tmp_path: Path) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            await on.worker.append(append(row()))
            on.db.refuses_begin = True
            leasing = on.worker.lease_fresh("default", ANY)
            await until(lambda: bool(on.clock.sleeping()))
            leasing.cancel()
            on.db.refuses_begin = False
            await on.clock.advance(STALLED_S)
            on.core.look_at_disk()
            await on.worker.append(append(row()))

    run(body())


def test_a_refused_statement_is_told_to_those_who_wait_and_ends_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            await on.worker.append(append(row(b"a"), row(b"b")))
            lease = await on.worker.lease_fresh("default", ANY)
            assert lease is not None
            on.db.code, on.db.countdown = sqlite3.SQLITE_CONSTRAINT, 1
            appending = on.worker.append(append(row(b"c")))
            settling = on.worker.settle(Settlement(lease.id, lease.rows, closes=True), ())
            with pytest.raises(BufferFull, match="INJECTED"):
                await appending
            with pytest.raises(BufferError, match="INJECTED"):
                await settling
            assert on.lanes["default"].backlog == 2
            await on.worker.append(append(row(b"d")))
            assert_balanced(on.core)

    run(body())


def test_damage_ends_the_worker_and_everybody_is_told(tmp_path: Path) -> None:
    async def body() -> None:
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  (the error comes out of the block's end)
            async with scene(tmp_path / "b.db") as on:
                on.db.code, on.db.countdown = sqlite3.SQLITE_CORRUPT, 1
                appending = on.worker.append(append(row()))
                job = on.worker.submit(lambda: asyncio.sleep(0))
                with pytest.raises(BufferFull, match="damaged"):
                    await appending
                with pytest.raises(BufferFull, match="closed"):
                    await job
        assert caught.group_contains(BufferBroken)
        assert on.core.broken
        with pytest.raises(BufferFull, match="closed"):
            await on.worker.append(append(row()))

    run(body())


def test_a_job_that_fails_fails_alone(tmp_path: Path) -> None:
    async def body() -> None:
        async def job() -> None:
            raise LookupError("mine")

        async with scene(tmp_path / "b.db") as on:
            with pytest.raises(LookupError, match="mine"):
                await on.worker.submit(job)
            await on.worker.append(append(row()))

    run(body())


def test_a_lease_that_nobody_waits_for_is_given_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            await on.worker.append(append(row()))
            rows = on.lanes.take_fresh("default", ANY)
            on.worker.give_back(on.worker.lease("default", Lane.FRESH, rows))
            await on.worker.append(append(filtered=1))
            assert on.lanes["default"].backlog == 1
            assert on.worker.open_leases == {}

    run(body())


def test_an_idle_worker_does_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            seen: list[str] = []
            on.db.set_trace_callback(seen.append)
            await on.clock.advance(3600)
            on.db.set_trace_callback(None)
            assert seen == []

    run(body())


def test_a_trace_is_held_until_the_outcome_of_its_lease_is_committed(tmp_path: Path) -> None:
    async def body() -> None:
        async with scene(tmp_path / "b.db") as on:
            await on.worker.append(append(row(trace=1), row(trace=2)))
            lease = await on.worker.lease_fresh("default", ANY)
            assert lease is not None
            traces = {row.trace_id for row in lease.rows}
            held = [on.worker.held_traces()]
            del on.worker.open_leases[lease.id]
            settling = on.worker.settle(Settlement(lease.id, lease.rows[:1], closes=True), lease.rows[1:])
            held.append(on.worker.held_traces())
            assert [trace_id in on.worker.delivered_traces for trace_id in sorted(traces)] == [True, False]
            await settling

            assert held == [traces, traces]
            assert on.worker.held_traces() == frozenset()

    run(body())

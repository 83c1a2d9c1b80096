from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sidecar.buffer.leases import Buried, Lane, LeaseLimit, Settled
from sidecar.buffer.records import Filter, Kind
from sidecar.buffer.runner import RunnerFactory, hybrid, inline, threaded
from sidecar.errors import BufferBroken, BufferFull
from sidecar.observe.metrics import Metrics
from tests.buffer.builders import ANY, append, assert_balanced, buffer, file, lease_all, row, run

RUNNERS = pytest.mark.parametrize("runner", [inline, threaded, hybrid])


@RUNNERS
def test_what_is_appended_is_leased_fresh_and_gone_when_delivered(tmp_path: Path, runner: RunnerFactory) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", runner=runner) as found:
            await found.append(append(row(b"a", spans=2), row(b"b")))
            lease = await found.lease("default", Lane.FRESH, ANY)
            assert lease is not None
            assert ([leased.body for leased in lease.rows], lease.spans) == ([b"a", b"b"], 3)
            assert await found.lease("default", Lane.FRESH, ANY) is None
            await found.delivered(lease)
            assert (found.pending_spans, found.ledger.totals["delivered", ""]) == (0, 3)

    run(body())


@RUNNERS
def test_what_was_not_delivered_is_backlog_after_a_restart(tmp_path: Path, runner: RunnerFactory) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", runner=runner) as found:
            await found.append(append(row(b"a"), row(b"b")))
        async with buffer(tmp_path / "b.db", runner=runner) as found:
            assert await found.lease("default", Lane.FRESH, ANY) is None
            first = await found.lease("default", Lane.BACKLOG, LeaseLimit(1, 1, 1))
            second = await found.lease("default", Lane.BACKLOG, ANY)
            assert first is not None and second is not None
            assert [leased.body for lease in (first, second) for leased in lease.rows] == [b"a", b"b"]
            assert await found.lease("default", Lane.BACKLOG, ANY) is None
            await found.release(first)
            assert found.status("default").backlog_rows == 1
            await found.delivered(second)
            (again,) = await lease_all(found)
            assert again.rows == first.rows

    run(body())


def test_a_settled_commit_is_on_disk_before_append_returns(tmp_path: Path) -> None:
    """Read through the write-ahead log as it is at that moment, as a start after SIGKILL would."""

    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row(b"durable", spans=2)))
            for suffix in ("", "-wal"):
                (tmp_path / f"copy{suffix}").write_bytes((tmp_path / f"b.db{suffix}").read_bytes())
        with file(tmp_path / "copy") as copy:
            assert copy.core.pending_spans == 2

    run(body())


def test_everything_that_waits_shares_one_transaction(tmp_path: Path) -> None:
    async def body() -> None:
        metrics = Metrics(CollectorRegistry())
        async with buffer(tmp_path / "b.db", metrics=metrics) as found:
            await asyncio.gather(*(found.append(append(row(), row())) for _ in range(100)))
            assert metrics.registry.get_sample_value("sidecar_buffer_commit_seconds_count") == 1
            assert metrics.registry.get_sample_value("sidecar_buffer_committed_rows_total") == 200

    run(body())


def test_a_cancelled_appender_does_not_disturb_its_group(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", runner=threaded) as found:
            tasks = [asyncio.create_task(found.append(append(row()))) for _ in range(5)]
            await asyncio.sleep(0)
            tasks[1].cancel()
            await asyncio.sleep(0)
            tasks[3].cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in done].count(asyncio.CancelledError) == 2
            await found.append(append(row()))
            assert found.pending_spans in range(4, 7)

    run(body())


def test_a_cancelled_lease_goes_back_into_the_line(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", runner=threaded) as found:
            await found.append(append(row(b"a")))
            for lane in (Lane.FRESH, Lane.BACKLOG):
                for turns in range(6):
                    task = asyncio.create_task(found.lease("default", lane, ANY))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    await found.append(append(filtered=1))
                    if not task.cancelled() and (lease := task.result()) is not None:
                        await found.release(lease)
            await found.append(append(filtered=1))
            leases = await lease_all(found)
            assert [leased.body for lease in leases for leased in lease.rows] == [b"a"]

    run(body())


def test_the_oldest_rows_are_forgotten_when_the_cache_is_full_and_read_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", cache_mib=10 / 1024) as found:
            for index in range(20):
                await found.append(append(row(bytes([index]) * 1024)))
            status = found.status("default")
            assert (status.fresh_rows, status.fresh_bytes, status.backlog_rows) == (10, 10 * 1024, 10)
            backlog = await found.lease("default", Lane.BACKLOG, ANY)
            fresh = await found.lease("default", Lane.FRESH, ANY)
            assert backlog is not None and fresh is not None
            assert [leased.body[0] for leased in backlog.rows] == list(range(10))
            assert [leased.body[0] for leased in fresh.rows] == list(range(10, 20))

    run(body())


def test_rows_of_one_lease_can_end_differently(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(*(row(bytes([65 + index]), spans=index + 1) for index in range(5))))
            lease = await found.lease("default", Lane.FRESH, ANY)
            assert lease is not None
            ids = [leased.id for leased in lease.rows]
            await found.settle(lease, {ids[0]: Settled.DELIVERED, ids[1]: Buried("refused", "no"), ids[2]: Settled.AMBIGUOUS})
            assert found.status("default").leased_rows == 2
            with pytest.raises(ValueError, match="still holds"):
                await found.settle(lease, {ids[0]: Settled.DELIVERED})
            await found.settle(lease, {ids[3]: Settled.RELEASED})
            await found.delivered(lease)
            await found.delivered(lease)
            totals = found.ledger.totals
            assert (totals["delivered", ""], totals["buried", "refused"], found.pending_spans) == (1 + 5, 2, 3 + 4)
            (again,) = await lease_all(found)
            assert [(leased.body, leased.ambiguous) for leased in again.rows] == [(b"C", True), (b"D", False)]

    run(body())


def test_an_ambiguous_release_stays_ambiguous_through_a_restart(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row(b"sent")))
            (lease,) = await lease_all(found)
            await found.release(lease, ambiguous=True)
            (lease,) = await lease_all(found)
            await found.release(lease)
        async with buffer(tmp_path / "b.db") as found:
            (lease,) = await lease_all(found)
            assert lease.rows[0].ambiguous

    run(body())


def test_rows_leased_at_a_stop_may_have_been_sent(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row(b"sent")))
            await lease_all(found)
        async with buffer(tmp_path / "b.db") as found:
            (lease,) = await lease_all(found)
            assert lease.rows[0].ambiguous

    run(body())


def test_a_row_is_replaced_by_its_parts_within_the_lease(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row(b"a"), row(b"bc", spans=2), row(b"d")))
            (lease,) = await lease_all(found)
            lease = await found.replace(lease, lease.rows[1].id, [row(b"b"), row(b"c")])
            assert [leased.body for leased in lease.rows] == [b"a", b"b", b"c", b"d"]
            await found.settle(lease, {lease.rows[1].id: Buried("refused", "bad span")})
            await found.delivered(lease)
            assert (found.pending_spans, found.status("default").leased_rows) == (0, 0)
            assert found.ledger.totals["delivered", ""] == 3
            with pytest.raises(ValueError, match="still holds"):
                await found.replace(lease, lease.rows[1].id, [])

    run(body())


def test_a_local_destination_keeps_what_was_delivered(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row(b"a"), row(b"b"), row(b"c")))
            (lease,) = await lease_all(found)
            await found.deliver_locally(lease, 2)
            page = await found.page(Kind.DELIVERED, Filter())
            assert [listed.row.body for listed in page.rows] == [b"b", b"c"]
            assert found.pending_spans == 0

    run(body())


def test_waiting_for_work_ends_when_there_is_some(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            waiting = asyncio.create_task(found.wait_for_work("default"))
            await found.append(append(row(destination="other")))
            assert not waiting.done()
            await found.append(append(row()))
            await waiting
            (lease,) = await lease_all(found)
            waiting = asyncio.create_task(found.wait_for_work("default"))
            await asyncio.sleep(0)
            await found.release(lease)
            await waiting

    run(body())


def test_a_full_buffer_refuses_and_takes_again_after_delivery(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", max_mib=1) as found:
            await found.append(append(row(b"x" * 900_000)))
            with pytest.raises(BufferFull):
                await found.append(append(row(b"x" * 900_000)))
            (lease,) = await lease_all(found)
            await found.delivered(lease)
            await found.append(append(row(b"x" * 900_000)))

    run(body())


def test_an_append_that_does_not_add_up_is_a_callers_mistake(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            wrong = append(row(spans=2))
            with pytest.raises(ValueError, match="received and rescued spans"):
                await found.append(type(wrong)(wrong.rows, 3))

    run(body())


def test_replay_and_purge_reach_the_lanes(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row(b"a", spans=2), row(b"b", trace=2)))
            (lease,) = await lease_all(found)
            await found.settle(lease, {leased.id: Buried("refused", "") for leased in lease.rows})
            assert await found.replay(Filter()) == 3
            assert found.status("default").fresh_rows == 2
            held = await found.lease("default", Lane.FRESH, LeaseLimit(1, 1, 1))
            assert await found.purge(Kind.PENDING, Filter()) == 1
            assert held is not None and found.status("default").fresh_rows == 0
            await found.delivered(held)
            assert found.ledger.imbalances(0) == []

    run(body())


def test_inspect_shows_counts_and_no_payload(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row(b"SECRET", spans=2), row(seal_at_ms=1 << 50)))
            seen = await found.inspect()
            assert "SECRET" not in repr(seen)
            assert seen["pending_spans"] == 3
            assert seen["imbalances"] == []
            destinations = seen["destinations"]
            assert isinstance(destinations, dict)
            assert destinations["default"] | {"oldest_received_ms": 0} == {
                "rows": 2,
                "fresh": 1,
                "backlog": 0,
                "leased": 0,
                "settling": 1,
                "oldest_received_ms": 0,
            }

    run(body())


def test_what_waits_is_committed_when_the_block_is_left(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", runner=threaded) as found:
            task = asyncio.create_task(found.append(append(row())))
            await asyncio.sleep(0)
        await task
        with pytest.raises(BufferFull, match="closed"):
            await found.append(append(row()))
        with file(tmp_path / "b.db") as reopened:
            assert (reopened.clean, reopened.core.pending_spans) == (True, 1)
            assert_balanced(reopened.core)

    run(body())


def test_an_error_in_the_block_comes_out_as_it_is_and_the_file_is_closed_in_order(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(row()))
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(body())
    with file(tmp_path / "b.db") as reopened:
        assert (reopened.clean, reopened.core.pending_spans) == (True, 1)


def test_damage_found_while_running_ends_the_block_and_the_next_start_sets_the_file_aside(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db", cache_mib=0.001) as found:
            for _ in range(200):
                await found.append(append(row(b"x" * 100_000)))
            with (tmp_path / "b.db").open("r+b") as disk:
                disk.seek(16384)
                disk.write(b"\xff" * 15_000_000)
            while lease := await found.lease("default", Lane.BACKLOG, ANY):
                await found.release(lease)

    with pytest.raises(BufferBroken, match="damaged"):
        run(body())
    with file(tmp_path / "b.db") as reopened:
        assert reopened.set_aside is not None
        assert_balanced(reopened.core)


@RUNNERS
def test_the_log_stays_small_while_a_backlog_is_delivered(tmp_path: Path, runner: RunnerFactory) -> None:
    """Deletes and the pages that move into their place are written too, and must bring checkpoints about."""

    async def body() -> None:
        async with buffer(tmp_path / "b.db", runner=runner, cache_mib=0.01) as found:
            for _ in range(40):
                await found.append(append(*(row(b"x" * 20_000) for _ in range(50))))
            limit = LeaseLimit(1_000_000, 1 << 40, 1 << 40)
            sizes = []
            while lease := await found.lease("default", Lane.BACKLOG, limit):
                await found.delivered(lease)
                sizes.append((tmp_path / "b.db-wal").stat().st_size)
            assert len(sizes) >= 35
            assert max(sizes) < 16 * 1024 * 1024

    run(body())


def test_draining_is_flat_in_the_size_of_the_backlog(tmp_path: Path) -> None:
    """50,000 rows that are read back: the last tenth takes no longer than the first, by a wide margin."""

    async def body() -> None:
        bodies = [index.to_bytes(4, "big") * 16 for index in range(500)]
        async with buffer(tmp_path / "b.db", cache_mib=0.01) as found:
            for _ in range(100):
                await found.append(append(*(row(body) for body in bodies)))
            times = []
            limit = LeaseLimit(1 << 30, 1 << 30, 1000)
            began = time.perf_counter()
            while lease := await found.lease("default", Lane.BACKLOG, limit):
                await found.delivered(lease)
                times.append(time.perf_counter() - began)
                began = time.perf_counter()
            assert len(times) >= 49
            assert sorted(times[-10:])[5] < 3 * sorted(times[:10])[5] + 0.005

    run(body(), timeout_s=60)

"""The contract of a Source: the buffer keeps it, and so does the list in memory that the other tests use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from prometheus_client import CollectorRegistry

from sidecar.buffer.buffer import open_buffer
from sidecar.buffer.leases import Append, Buried, Lane, Lease, LeaseLimit, Outcome, Settled
from sidecar.clock import SystemClock
from sidecar.config import BufferSettings
from sidecar.forward.source import Source
from sidecar.observe.metrics import Metrics
from sidecar.wire.rows import NewRow, Row
from tests.forward.memory import MemorySource
from tests.forward.rig import NAME, logger, rows, run
from tests.waiting import until

WIDE = LeaseLimit(2**30, 2**30, 2**30)


@dataclass
class Kept:
    """A source and how rows get into it."""

    source: Source
    add: Callable[[Sequence[NewRow]], Awaitable[None]]

    async def lease(self, limit: LeaseLimit = WIDE) -> Lease | None:
        """From whichever lane has rows."""
        for lane in Lane:
            if (lease := await self.source.lease(NAME, lane, limit)) is not None:
                return lease
        return None

    async def rest(self) -> list[Row]:
        """Every row that waits; they stay leased."""
        found: list[Row] = []
        while lease := await self.lease():
            found += lease.rows
        return sorted(found, key=lambda row: row.id)


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Kept]:
    source = MemorySource()

    async def add(new: Sequence[NewRow]) -> None:
        source.add(new)

    yield Kept(source, add)


@asynccontextmanager
async def buffer(directory: Path) -> AsyncIterator[Kept]:
    settings = BufferSettings(path=str(directory / "buffer.db"), min_free_mib=0, reserve_mib=0)
    log, _ = logger()
    async with open_buffer(settings, SystemClock(), Metrics(CollectorRegistry()), log) as opened:

        async def add(new: Sequence[NewRow]) -> None:
            await opened.append(Append(tuple(new), received=sum(row.spans for row in new)))

        yield Kept(opened, add)


Opener: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Kept]]
sources = pytest.mark.parametrize("opener", [memory, buffer], ids=["memory", "buffer"])


async def leased(kept: Kept, limit: LeaseLimit = WIDE) -> Lease:
    lease = await kept.lease(limit)
    assert lease is not None
    return lease


@sources
def test_leased_rows_are_those_that_were_added_in_their_order(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            added = rows(5, spans=2)
            await kept.add(added)
            lease = await leased(kept)

            assert [(row.body, row.spans, row.trace_id) for row in lease.rows] == [(row.body, 2, row.trace_id) for row in added]
            assert await kept.lease() is None

    run(main())


@sources
def test_a_lease_keeps_its_limits_but_holds_one_row_at_least(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            added = rows(6)
            await kept.add(added)
            first = await leased(kept, LeaseLimit(len(added[0].body) + len(added[1].body), 2**30, 2**30))
            second = await leased(kept, LeaseLimit(2**30, 2**30, 3))
            third = await leased(kept, LeaseLimit(1, 1, 1))

            assert [len(lease.rows) for lease in (first, second, third)] == [2, 3, 1]

    run(main())


@sources
def test_waiting_for_work_ends_when_a_row_comes_and_at_once_when_one_is_there(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            waiting = asyncio.create_task(kept.source.wait_for_work(NAME))
            await asyncio.sleep(0)
            assert not waiting.done()
            await kept.add(rows(1))
            await waiting
            await kept.source.wait_for_work(NAME)

    run(main())


@sources
def test_released_rows_wait_again_with_the_same_bytes(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            await kept.add(rows(3))
            lease = await leased(kept)
            await kept.source.release(lease, ambiguous=False)

            assert await kept.rest() == list(lease.rows)

    run(main())


@sources
def test_rows_released_as_ambiguous_carry_the_mark_and_keep_it(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            await kept.add(rows(2))
            await kept.source.release(await leased(kept), ambiguous=True)
            again = await leased(kept)
            await kept.source.release(again, ambiguous=False)

            assert [row.ambiguous for row in again.rows] == [True, True]
            assert [row.ambiguous for row in await kept.rest()] == [True, True]

    run(main())


@sources
def test_delivered_rows_are_gone(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            await kept.add(rows(3))
            await kept.source.delivered(await leased(kept))
            await until(lambda: kept.source.status(NAME).leased_rows == 0)

            assert await kept.rest() == []

    run(main())


@sources
def test_each_row_of_a_lease_can_have_its_own_outcome(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            await kept.add(rows(4))
            lease = await leased(kept)
            outcomes: tuple[Outcome, ...] = (Settled.DELIVERED, Settled.RELEASED, Settled.AMBIGUOUS, Buried("refused", "no"))
            await kept.source.settle(lease, {row.id: outcome for row, outcome in zip(lease.rows, outcomes, strict=True)})

            assert [(row.id, row.ambiguous) for row in await kept.rest()] == [(lease.rows[1].id, False), (lease.rows[2].id, True)]

    run(main())


@sources
def test_rows_without_an_outcome_stay_leased(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            await kept.add(rows(3))
            lease = await leased(kept)
            await kept.source.settle(lease, {lease.rows[0].id: Settled.DELIVERED})
            assert kept.source.status(NAME).leased_rows == 2
            await kept.source.release(lease, ambiguous=False)

            assert await kept.rest() == list(lease.rows[1:])

    run(main())


@sources
def test_a_row_is_replaced_by_its_parts_in_the_same_lease(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            await kept.add([*rows(1), *rows(1, spans=3, seed=1), *rows(1, seed=2)])
            lease = await leased(kept)
            whole = lease.rows[1]
            after = await kept.source.replace(lease, whole.id, rows(3, seed=5))

            assert [row.spans for row in after.rows] == [1, 1, 1, 1, 1]
            assert (after.rows[0], after.rows[-1]) == (lease.rows[0], lease.rows[-1])
            assert whole.id not in {row.id for row in after.rows}
            await kept.source.release(after, ambiguous=False)
            assert len(await kept.rest()) == 5

    run(main())


@sources
def test_rows_that_are_kept_locally_wait_no_more(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            await kept.add(rows(3))
            await kept.source.deliver_locally(await leased(kept), 2)

            assert await kept.rest() == []

    run(main())


@sources
def test_the_status_counts_what_waits_and_what_is_leased(opener: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with opener(tmp_path) as kept:
            added = rows(3, spans=2)
            await kept.add(added)
            before = kept.source.status(NAME)
            await leased(kept, LeaseLimit(2**30, 2**30, 2))
            after = kept.source.status(NAME)

            assert (before.fresh_rows, before.fresh_spans, before.backlog_rows, before.leased_rows) == (3, 6, 0, 0)
            assert before.fresh_bytes == sum(len(row.body) for row in added)
            assert before.oldest_received_ms == added[0].received_ms
            assert (after.fresh_rows + after.backlog_rows, after.leased_rows) == (2, 1)

    run(main())

"""A Source in memory, the smallest that keeps the contract, for tests of what is around it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from sidecar.buffer.leases import Buried, Lane, LaneStatus, Lease, LeaseLimit, Outcome, Settled
from sidecar.errors import BufferFull
from sidecar.wire.rows import NewRow, Row


class MemorySource:
    """Rows by lane, and what became of them."""

    def __init__(self) -> None:
        self.lanes: dict[Lane, dict[int, Row]] = {Lane.FRESH: {}, Lane.BACKLOG: {}}
        self.leased: dict[int, dict[int, Row]] = {}
        self.delivered_rows: list[Row] = []
        self.local_rows: list[Row] = []
        self.buried: list[tuple[Row, Buried]] = []
        self.leases: list[tuple[Lane, int]] = []
        """Lane and rows of each lease, in order."""
        self.limits: list[LeaseLimit] = []
        self.released = 0
        self.is_full = False
        """The disk is: no row can be divided."""
        self.leasing: asyncio.Event | None = None
        """Leases wait until it is set."""
        self._ids, self._lease_ids = count(1), count(1)
        self._work = asyncio.Event()

    def add(self, rows: Iterable[NewRow], lane: Lane = Lane.FRESH) -> list[Row]:
        added = [self._row(row) for row in rows]
        self.lanes[lane].update((row.id, row) for row in added)
        self._work.set()
        return added

    @property
    def waiting(self) -> list[Row]:
        return [*self.lanes[Lane.BACKLOG].values(), *self.lanes[Lane.FRESH].values()]

    @property
    def ambiguous(self) -> list[Row]:
        return [row for row in self.waiting if row.ambiguous]

    def status(self, destination: str) -> LaneStatus:
        fresh, backlog = self._of(destination, Lane.FRESH), self._of(destination, Lane.BACKLOG)
        return LaneStatus(
            fresh_rows=len(fresh),
            fresh_bytes=sum(len(row.body) for row in fresh),
            fresh_spans=sum(row.spans for row in fresh),
            backlog_rows=len(backlog),
            leased_rows=sum(map(len, self.leased.values())),
            oldest_received_ms=min((row.received_ms for row in (*fresh, *backlog)), default=None),
        )

    async def wait_for_work(self, destination: str) -> None:
        while not (self._of(destination, Lane.FRESH) or self._of(destination, Lane.BACKLOG)):
            self._work.clear()
            await self._work.wait()

    async def lease(self, destination: str, lane: Lane, limit: LeaseLimit) -> Lease | None:
        if self.leasing is not None:
            await self.leasing.wait()
        taken: list[Row] = []
        size = raw = spans = 0
        for row in self._of(destination, lane):
            size, raw, spans = size + len(row.body), raw + row.raw_bytes, spans + row.spans
            if taken and (size > limit.max_bytes or raw > limit.max_raw_bytes or spans > limit.max_spans):
                break
            taken.append(row)
        if not taken:
            return None
        for row in taken:
            del self.lanes[lane][row.id]
        lease = Lease(next(self._lease_ids), destination, lane, tuple(taken))
        self.leased[lease.id] = {row.id: row for row in taken}
        self.leases.append((lane, len(taken)))
        self.limits.append(limit)
        return lease

    async def delivered(self, lease: Lease) -> None:
        self.delivered_rows += self.leased.pop(lease.id).values()

    async def deliver_locally(self, lease: Lease, keep_spans: int) -> None:
        self.local_rows += self.leased.pop(lease.id).values()
        self.local_rows = self.local_rows[-keep_spans:]

    async def release(self, lease: Lease, *, ambiguous: bool) -> None:
        outcome = Settled.AMBIGUOUS if ambiguous else Settled.RELEASED
        await self.settle(lease, dict.fromkeys(self.leased[lease.id], outcome))

    async def settle(self, lease: Lease, outcomes: Mapping[int, Outcome]) -> None:
        held = self.leased[lease.id]
        for row_id, outcome in outcomes.items():
            row = held.pop(row_id)
            if isinstance(outcome, Buried):
                self.buried.append((row, outcome))
            elif outcome is Settled.DELIVERED:
                self.delivered_rows.append(row)
            else:
                self.released += 1
                self.lanes[Lane.BACKLOG][row_id] = replace(row, ambiguous=row.ambiguous or outcome is Settled.AMBIGUOUS)
                self.lanes[Lane.BACKLOG] = dict(sorted(self.lanes[Lane.BACKLOG].items()))
                self._work.set()
        if not held:
            del self.leased[lease.id]

    async def replace(self, lease: Lease, row_id: int, parts: Sequence[NewRow]) -> Lease:
        if self.is_full:
            raise BufferFull("no room")
        held = self.leased[lease.id]
        row = held.pop(row_id)
        if sum(part.spans for part in parts) != row.spans:
            raise ValueError("the parts don't hold the row's spans")
        added = [self._row(part) for part in parts]
        held.update((part.id, part) for part in added)
        return replace(lease, rows=tuple(new for old in lease.rows for new in (added if old.id == row_id else [old])))

    def _of(self, destination: str, lane: Lane) -> list[Row]:
        return [row for row in self.lanes[lane].values() if row.destination == destination]

    def _row(self, new: NewRow) -> Row:
        return Row(next(self._ids), new.destination, new.trace_id, new.spans, new.raw_bytes, new.body, new.received_ms)

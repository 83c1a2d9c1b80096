"""The buffer as the rest of the program sees it: append, lease, settle, and what operators ask for.

Owns the lifetime of the file and of its background tasks. What happens in which order is ``worker.py``'s, what
happens to the file is ``core.py``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace as changed
from functools import partial

from sidecar.buffer import reading, upkeep
from sidecar.buffer.collector import BufferCollector, show
from sidecar.buffer.core import DiskRefused
from sidecar.buffer.disk import MIB, Disk
from sidecar.buffer.lanes import Lanes
from sidecar.buffer.leases import Append, Buried, Lane, LaneStatus, Lease, LeaseLimit, Outcome, Settled
from sidecar.buffer.ledger import Ledger
from sidecar.buffer.opening import Connect, Opened, connect, opened
from sidecar.buffer.records import Backlog, Choice, Filter, Gone, Group, Kind, Page, Settlement, Shed
from sidecar.buffer.runner import RunnerFactory, hybrid, threaded
from sidecar.buffer.shedder import NEVER, Shedder, Told
from sidecar.buffer.tending import Seal, Tending
from sidecar.buffer.worker import STALLED_S, Worker, in_flight
from sidecar.clock import Clock
from sidecar.config import BufferSettings
from sidecar.errors import BufferBroken
from sidecar.observe.metrics import Metrics
from sidecar.wire.rows import NewRow, Row

FETCH_ROWS = 128
"""Rows of one step of a read on the loop; 128 rows of 4 KiB take about 1 ms."""


NEVER_MS = 1 << 62
"""Later than any row is due."""


class Buffer:
    """An open buffer; see ``open_buffer``."""

    def __init__(self, file: Opened, worker: Worker, tending: Tending, clock: Clock, log: logging.Logger) -> None:
        self.path = file.path
        self.buffer_id = file.buffer_id
        self._file = file
        self._core = file.core
        self._worker = worker
        self._tending = tending
        self._lanes = worker.lanes
        self._clock = clock
        self._log = log

    @property
    def ledger(self) -> Ledger:
        """Committed totals. For reading."""
        return self._core.ledger

    @property
    def pending_spans(self) -> int:
        return self._core.pending_spans

    @property
    def pending_bytes(self) -> int:
        """Compressed."""
        return self._core.pending_bytes

    @property
    def limit_bytes(self) -> int:
        return self._core.bounds.max_bytes

    @property
    def fill(self) -> float:
        """Bytes that wait, of the bound; 1 is full."""
        return self.pending_bytes / self.limit_bytes

    @property
    def oldest_received_ms(self) -> int | None:
        """Receipt of the oldest row that waits, as far as memory knows; None: nothing waits."""
        return min((ms for _, lane in self._lanes if (ms := lane.status().oldest_received_ms) is not None), default=None)

    @property
    def max_age_s(self) -> float:
        """Rows that wait longer are given up."""
        return self._tending.max_age_ms / 1000

    @property
    def leaving_rows_per_s(self) -> float:
        """Rows delivered or buried, averaged over half a minute; 0: none for a minute."""
        return self._worker.flow.rows_per_s(self._clock.monotonic())

    @property
    def drain_s(self) -> float | None:
        """How long what waits takes at the present speed; None: nothing leaves, so nobody knows. Compare it with ``max_age_s``."""
        return self._worker.flow.drain_s(self._clock.monotonic(), self.pending_bytes)

    @property
    def disk_full(self) -> bool:
        """New spans are refused because the disk has no room."""
        return self._core.disk_full

    @property
    def dead_rows(self) -> int:
        """Dead letters that are kept."""
        return self._core.dead_rows

    async def append(self, append: Append) -> None:
        """Return once everything of ``append`` is committed. Raises BufferFull; then nothing of it is kept."""
        if not append.is_balanced:
            raise ValueError("received and rescued spans are those in rows, rejected, filtered and sampled ones")
        await self._worker.append(append)

    def hasten(self, trace_ids: Collection[bytes]) -> None:
        """Seal these traces' settling rows soon: their context is complete."""
        self._worker.hasten(trace_ids)

    async def seal_all(self, seal_early: Seal | None = None) -> int:
        """Seal every settling row now, because nothing more will come; returns how many. ``seal_early`` seals those whose time is not over.

        While the disk takes nothing they stay as they are, for the next start, and 0 is returned.
        """
        try:
            return await self._tending.seal_due() + await self._tending.seal_due(NEVER_MS, seal_early)
        except DiskRefused:
            self._log.warning("rows that wait for their trace stay so until the next start: the disk is full")
            return 0

    def status(self, destination: str) -> LaneStatus:
        return self._lanes[destination].status()

    async def wait_for_work(self, destination: str) -> None:
        """Return as soon as rows wait for this destination, in either lane."""
        await self._worker.wait_for_work(destination)

    async def lease(self, destination: str, lane: Lane, limit: LeaseLimit) -> Lease | None:
        """Take rows for sending; None: this lane is empty. Their range in flight is committed before this returns.

        Waits while the disk refuses writes. Raises BufferError.
        """
        if lane is Lane.FRESH:
            return await self._worker.lease_fresh(destination, limit)
        while True:
            try:
                found = await self._worker.submit(lambda: self._lease_backlog(destination, limit))
            except DiskRefused:
                await self._clock.sleep(STALLED_S)
                continue
            if found is not None or self._lanes[destination].backlog <= 0:
                return found

    async def _lease_backlog(self, destination: str, limit: LeaseLimit) -> Lease | None:
        lane = self._lanes[destination]
        if lane.backlog <= 0:
            return None
        await self._worker.run(self._core.pay)
        after_id, skip = self._lanes.begin_read(destination)
        choice = await self._worker.run_waiting(reading.choose, self._core, destination, after_id, skip, limit, lane.backlog)
        found = await self._fetched(choice)
        missing = self._lanes.end_read(destination, found)
        if missing:
            self._log.error("rows of the backlog are not on disk; they are counted no longer", extra={"destination": destination, "rows": missing})
        if found.quarantined:
            self._log.error("rows don't match their checksums: quarantined", extra={"destination": destination, "rows": len(found.quarantined)})
        if not found.rows:
            return None
        lease = self._worker.lease(destination, Lane.BACKLOG, found.rows)
        try:
            await self._worker.run(self._core.commit, Group(in_flight=[in_flight(lease)]))
        except BaseException:
            self._lanes.released(self._worker.open_leases.pop(lease.id).values())
            raise
        return lease

    async def _fetched(self, choice: Choice) -> Backlog:
        """The chosen rows, in steps between which the loop turns; their pages are in memory already."""
        rows: list[Row] = []
        quarantined: list[Gone] = []
        for start in range(0, len(choice.ids), FETCH_ROWS):
            part = await self._worker.run(reading.fetch, self._core, changed(choice, ids=choice.ids[start : start + FETCH_ROWS]))
            rows += part.rows
            quarantined += part.quarantined
            await asyncio.sleep(0)
        return Backlog(tuple(rows), tuple(quarantined), choice.last_id, choice.exhausted)

    async def delivered(self, lease: Lease) -> None:
        """Every row of the lease that is still open was taken."""
        await self._settle(lease, dict.fromkeys(self._open(lease), Settled.DELIVERED))

    async def deliver_locally(self, lease: Lease, keep_spans: int) -> None:
        """Move the lease's rows to where the last ``keep_spans`` spans of a `local` destination are kept."""
        await self._settle(lease, dict.fromkeys(self._open(lease), Settled.DELIVERED), keep_spans)

    async def release(self, lease: Lease, *, ambiguous: bool = False) -> None:
        """Every row of the lease that is still open waits again; ``ambiguous``: it may have been taken."""
        await self._settle(lease, dict.fromkeys(self._open(lease), Settled.AMBIGUOUS if ambiguous else Settled.RELEASED))

    async def settle(self, lease: Lease, outcomes: Mapping[int, Outcome]) -> None:
        """What became of some rows, by row id; the others stay leased. Raises ValueError for rows that are not open."""
        if not outcomes.keys() <= self._open(lease).keys():
            raise ValueError("only rows that the lease still holds can be settled")
        await self._settle(lease, outcomes)

    async def replace(self, lease: Lease, row_id: int, parts: Sequence[NewRow]) -> Lease:
        """One row becomes several, in the same lease: a sender looks for the span that is refused.

        Raises ValueError if the row is not open or the parts don't hold exactly its spans.
        """
        row = self._open(lease).get(row_id)
        if row is None:
            raise ValueError("only a row that the lease still holds can be replaced")

        async def job() -> list[Row]:
            added = await self._worker.run(upkeep.replace, self._core, lease.id, row, parts)
            self._lanes.replaced(row, added)
            held = self._worker.open_leases[lease.id]
            del held[row.id]
            held.update((part.id, part) for part in added)
            return added

        added = await asyncio.shield(self._worker.submit(job))
        rows = [new for old in lease.rows for new in (added if old.id == row_id else [old])]
        return changed(lease, rows=tuple(rows))

    def _open(self, lease: Lease) -> dict[int, Row]:
        return self._worker.open_leases.get(lease.id, {})

    async def _settle(self, lease: Lease, outcomes: Mapping[int, Outcome], keep_spans: int | None = None) -> None:
        held = self._open(lease)
        delivered: list[Row] = []
        buried: list[tuple[Row, Buried]] = []
        released: list[Row] = []
        ambiguous: list[int] = []
        for row_id, outcome in outcomes.items():
            row = held[row_id]
            if isinstance(outcome, Buried):
                buried.append((row, outcome))
            elif outcome is Settled.DELIVERED:
                delivered.append(row)
            else:
                released.append(row)
                if outcome is Settled.AMBIGUOUS and not row.ambiguous:
                    ambiguous.append(row_id)
        for row_id in list(outcomes):
            del held[row_id]
        if not held and self._worker.open_leases.pop(lease.id, None) is None:
            return
        settlement = Settlement(lease.id, tuple(delivered), tuple(ambiguous), tuple(buried), closes=not held, keep_spans=keep_spans)
        await self._worker.settle(settlement, tuple(released))

    async def page(self, kind: Kind, wanted: Filter, after_id: int = 0) -> Page:
        """The next piece of a listing; see ``reading.page``."""
        return await self._worker.submit(lambda: self._worker.run_waiting(reading.page, self._core, kind, wanted, after_id))

    async def purge(self, kind: Kind, wanted: Filter) -> int:
        """Delete what matches, but rows that are being sent; returns the spans."""
        spans = 0
        after_id: int | None = 0

        async def job(start: int) -> tuple[list[Gone], int | None]:
            gone, following = await self._worker.run_waiting(upkeep.purge, self._core, kind, wanted, start, self._lanes.leased_ids())
            if kind is Kind.PENDING:
                self._lanes.gone(gone)
            return gone, following

        while after_id is not None:
            gone, after_id = await self._worker.submit(partial(job, after_id))
            spans += sum(row.spans for row in gone)
        return spans

    async def replay(self, wanted: Filter) -> int:
        """Put dead letters back into the line, as far as the bound allows; returns the spans."""
        spans = 0
        after_id: int | None = 0

        async def job(start: int) -> tuple[list[Row], int | None]:
            rows, following = await self._worker.run_waiting(upkeep.replay, self._core, wanted, start)
            self._lanes.arrived(rows)
            return rows, following

        while after_id is not None:
            rows, after_id = await self._worker.submit(partial(job, after_id))
            spans += sum(row.spans for row in rows)
        return spans

    async def shed(self, threshold: int, priority_max: int, target_bytes: int, reason: str, told: Told) -> Shed:
        """Give up whole traces with randomness below ``threshold`` (56 bits) until ``target_bytes`` are free, lowest priority and randomness first.

        A trace has the highest priority of its rows. It is spared as a whole if a row of it is leased, ambiguous, of a priority over
        ``priority_max``, or was delivered lately (the last 200,000 delivered traces, since the start). Counted ``shed`` with
        ``reason``, a bounded label, in the same transactions. ``told`` hears of each trace, so that the rest of it can be dropped.
        A full disk ends it early (``Shed.end``). Raises ValueError, BufferError.
        """
        if not 0 <= threshold <= NEVER or priority_max < 0:
            raise ValueError("a threshold has 56 bits, and priorities begin at 0")
        return await Shedder(self._worker, reason, told).shed(threshold, priority_max, target_bytes)

    def raise_thresholds(self, shed: Shed) -> None:
        """Rows that settle and outlived ``shed`` are handed to sealing with the threshold that they passed; sealed rows keep theirs."""
        self._tending.raises.add(shed.before_id, shed.reached)

    async def remember(self, key: str, text: str) -> None:
        """Keep a short text over restarts. Raises BufferError, and BufferFull while the disk refuses."""
        await self._worker.submit(lambda: self._worker.run(upkeep.remember, self._core, key, text))

    async def recall(self, key: str) -> str | None:
        """What was kept under ``key``; None: nothing."""
        return await self._worker.submit(lambda: self._worker.run(upkeep.recall, self._core, key))

    async def inspect(self) -> dict[str, object]:
        """What lies here, for an operator: plain values, no payload."""
        dead = await self._worker.submit(lambda: self._worker.run_waiting(reading.dead_letters, self._core))
        destinations = {
            name: {
                "rows": lane.total,
                "fresh": len(lane.cached),
                "backlog": max(lane.backlog, 0),
                "leased": len(lane.leased),
                "settling": lane.settling,
                "oldest_received_ms": lane.status().oldest_received_ms,
            }
            for name, lane in self._lanes
        }
        return {
            "path": self.path,
            "buffer_id": self.buffer_id,
            "pending_spans": self.pending_spans,
            "pending_bytes": self.pending_bytes,
            "limit_bytes": self.limit_bytes,
            "disk_full": self.disk_full,
            "destinations": destinations,
            "dead_letters": dead,
            "delivered_spans_kept": dict(self._core.kept_spans),
            "ledger": [{"state": state, "reason": reason, "spans": spans} for (state, reason), spans in sorted(self.ledger.totals.items())],
            "imbalances": self.ledger.imbalances(self.pending_spans),
        }


@asynccontextmanager
async def open_buffer(
    settings: BufferSettings,
    clock: Clock,
    metrics: Metrics,
    log: logging.Logger,
    *,
    runner: RunnerFactory | None = None,
    seal: Seal | None = None,
    disk: Disk | None = None,
    connector: Connect = connect,
) -> AsyncIterator[Buffer]:
    """Hold the buffer open. Leaving the block commits what waits, checkpoints and marks the file clean.

    ``seal`` looks at each row that is due to be sealed and returns its rewritten form, None for as it is, or ``Omit``.
    ``runner``: where the core runs, by default what suits ``durability`` (see ``runner.py``). ``disk`` and ``connector``
    are what faults are injected through.
    Raises BufferUnwritable, BufferLocked or BufferError; inside, damage ends the block with BufferBroken.
    """
    with opened(settings, clock.wall_ms, log, disk, connector) as file:
        if runner is None:
            runner = threaded if settings.durability == "full" else hybrid
        async with runner(file.core.db) as where:
            lanes = Lanes(int(settings.cache_mib * MIB), file.core.totals, upkeep.oldest_ms(file.core))
            worker = Worker(file.core, where, lanes, clock, metrics, log)
            tending = Tending(file, worker, clock, log, seal, max_age_ms=int(settings.max_age_h * 3_600_000))
            buffer = Buffer(file, worker, tending, clock, log)
            collector = BufferCollector(buffer)
            metrics.registry.register(collector)
            if file.set_aside is not None:
                metrics.buffer_quarantined_files.inc()
            for destination, spans in file.ambiguous_spans.items():
                metrics.forward_ambiguous_spans.labels(destination).inc(spans)
            show(metrics, buffer, lanes, clock)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(worker.work(), name="buffer worker")
                    upkeeping = tasks.create_task(tending.run(), name="buffer upkeep")
                    try:
                        yield buffer
                    finally:
                        upkeeping.cancel()
                        worker.close()
            except BaseExceptionGroup as group:
                raise _cause(group) from None
            finally:
                metrics.registry.unregister(collector)


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Damage if it is among the errors, whatever followed from it; the only error of the block as it is; else the group."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        else:
            leaves.append(error)
    damage: list[BaseException] = [error for error in leaves if isinstance(error, BufferBroken)]
    return (damage or (leaves if len(leaves) == 1 else [group]))[0]

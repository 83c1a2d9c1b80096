"""The one task that owns the core and the lanes.

It commits everything that came in while the previous commit ran as one transaction, and runs every other call
between two commits. Callers only enqueue and wait, so that a cancelled caller never disturbs a transaction.
It must not know SQL, nor who its callers are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any, ParamSpec, TypeVar

from sidecar.buffer.core import DRAIN_BYTES, DRAIN_ROWS, BufferCore, DiskRefused
from sidecar.buffer.flow import Flow
from sidecar.buffer.lanes import Lanes
from sidecar.buffer.leases import Append, Lane, Lease, LeaseLimit
from sidecar.buffer.records import Group, InFlight, Settlement, Stored
from sidecar.buffer.runner import Runner
from sidecar.buffer.traces import RecentTraces
from sidecar.clock import Clock
from sidecar.errors import BufferBroken, BufferError, BufferFull  # noqa: A004  (the tree's name is the field's)
from sidecar.observe.metrics import Metrics
from sidecar.waiting import Changes
from sidecar.wire.rows import Row

GROUP_BYTES = 4 * 1024 * 1024
GROUP_ROWS = 1024
"""Of one transaction: 4 MiB or 1024 rows are written in about 10 ms; what waits longer goes into the next one."""
LARGE_BYTES = 512 * 1024
"""A larger group may wait for the disk even without a sync: the kernel throttles who writes much. 512 KiB take about 2 ms."""
STALLED_S = 1.0
"""Between attempts while the disk takes nothing. A disk tells nobody that it has room again, so that only trying shows it."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class _Appending:
    append: Append
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Leasing:
    destination: str
    limit: LeaseLimit
    done: asyncio.Future[Lease | None]


@dataclass(slots=True)
class Settling:
    """Rows of a lease whose fate is known, on their way to the disk."""

    settlement: Settlement
    released: tuple[Row, ...]
    """Rows that wait again, ambiguous ones marked as such."""
    done: asyncio.Future[None]

    @property
    def removed(self) -> tuple[Row, ...]:
        return self.settlement.delivered + tuple(row for row, _ in self.settlement.buried)

    @property
    def size(self) -> int:
        """Bytes of bodies that are deleted."""
        return sum(len(row.body) for row in self.removed)

    def piece(self) -> Settling | None:
        """Take off as much as a full disk lets one transaction delete; None: that is all of it. The rest stays to be told."""
        delivered = self.settlement.delivered
        count = size = 0
        while count < min(len(delivered), DRAIN_ROWS) and (count == 0 or size + len(delivered[count].body) <= DRAIN_BYTES):
            size += len(delivered[count].body)
            count += 1
        if count == len(delivered):
            return None
        first = changed(self.settlement, delivered=delivered[:count], ambiguous=(), buried=(), closes=False)
        self.settlement = changed(self.settlement, delivered=delivered[count:])
        untold: asyncio.Future[None] = self.done.get_loop().create_future()
        untold.set_result(None)
        return Settling(first, (), untold)


@dataclass(slots=True)
class _Assembled:
    """A group and those who wait for it."""

    group: Group
    appends: list[_Appending] = field(default_factory=list)
    leases: list[tuple[_Leasing, Lease]] = field(default_factory=list)
    settlements: list[Settling] = field(default_factory=list)
    size: int = 0
    """Bytes of bodies that are written or deleted."""


class Worker:
    """Queues in front of one ``BufferCore``. Every method but ``work`` returns at once."""

    def __init__(self, core: BufferCore, runner: Runner, lanes: Lanes, clock: Clock, metrics: Metrics, log: logging.Logger) -> None:
        self.core = core
        self.lanes = lanes
        self.open_leases: dict[int, dict[int, Row]] = {}
        """Lease id -> rows whose fate is open."""
        self.delivered_traces = RecentTraces()
        """Traces of which a row was taken; those of ambiguous rows are found on disk."""
        self.flow = Flow()
        self.next_seal_ms: int | None = None
        """When the first settling row is due, wall clock; None: none settles."""
        self.sooner = Changes(clock)
        """Notified when ``next_seal_ms`` is earlier than it was."""
        self._runner = runner
        self._clock = clock
        self._metrics = metrics
        self._appends: deque[_Appending] = deque()
        self._leases: deque[_Leasing] = deque()
        self._settlements: deque[Settling] = deque()
        self._hastened: set[bytes] = set()
        self._jobs: deque[tuple[Callable[[], Awaitable[object]], asyncio.Future[object]]] = deque()
        self._wake = asyncio.Event()
        self._work: dict[str, asyncio.Event] = {}
        self._next_lease = 1
        self._log = log
        self.disk_filled = asyncio.Event()
        """Set while the disk refuses spans."""
        self._stalled = False
        self._closing = False
        self._ended = False

    def append(self, append: Append) -> asyncio.Future[None]:
        """Done after COMMIT; fails with BufferFull if it was refused."""
        done: asyncio.Future[None] = self._future()
        if self._stalled:
            fail(done, DiskRefused())
        elif not done.done():
            self._appends.append(_Appending(append, done))
            self._wake.set()
        return done

    def lease_fresh(self, destination: str, limit: LeaseLimit) -> asyncio.Future[Lease | None]:
        """Fresh rows, once their range in flight is committed; None: there are none."""
        done: asyncio.Future[Lease | None] = self._future()
        if not done.done():
            self._leases.append(_Leasing(destination, limit, done))
            self._wake.set()
        return done

    def settle(self, settlement: Settlement, released: tuple[Row, ...]) -> asyncio.Future[None]:
        """Done after COMMIT. Waits as long as the disk refuses."""
        done: asyncio.Future[None] = self._future()
        # at once, because it holds whatever becomes of the commit
        self.delivered_traces.add(row.trace_id for row in settlement.delivered)
        if not done.done():
            self._settlements.append(Settling(settlement, released, done))
            self._wake.set()
        return done

    def held_traces(self) -> frozenset[bytes]:
        """Traces with a row that is leased, or was and whose outcome is not committed yet."""
        held = {row.trace_id for rows in self.open_leases.values() for row in rows.values()}
        for settling in self._settlements:
            held.update(row.trace_id for row in settling.removed + settling.released)
        return frozenset(held)

    def hasten(self, trace_ids: Collection[bytes]) -> None:
        """These traces' settling rows are due at once."""
        if self.next_seal_ms is not None:
            self._hastened.update(trace_ids)
            self._wake.set()

    def submit(self, job: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        """Run ``job`` between two commits. It may touch the lanes and call ``run``."""
        done: asyncio.Future[T] = self._future()
        if not done.done():
            self._jobs.append((job, done))  # type: ignore[arg-type]  # (a queue of jobs of many types)
            self._wake.set()
        return done

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the core, only from jobs: something short, whose pages are in memory."""
        return await self._runner.run(call, *args, **kwargs)

    async def run_waiting(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the core, only from jobs: something that may wait for the disk."""
        return await self._runner.run_waiting(call, *args, **kwargs)

    async def wait_for_work(self, destination: str) -> None:
        """Return as soon as rows wait for this destination."""
        event = self._work.setdefault(destination, asyncio.Event())
        while not self.lanes[destination].has_work:
            event.clear()
            await event.wait()

    def lease(self, destination: str, lane: Lane, rows: tuple[Row, ...]) -> Lease:
        """Register rows that the lanes count as leased."""
        lease = Lease(self._next_lease, destination, lane, rows)
        self._next_lease += 1
        self.open_leases[lease.id] = {row.id: row for row in rows}
        return lease

    def give_back(self, lease: Lease) -> None:
        """Release a lease that nobody waits for any more."""
        rows = tuple(self.open_leases.pop(lease.id).values())
        # nobody waits: if it fails, the rows wait again all the same
        self.settle(Settlement(lease.id, closes=True), rows).add_done_callback(lambda done: done.cancelled() or done.exception())

    def notify(self) -> None:
        """Wake those for whom rows wait."""
        for destination, event in self._work.items():
            if self.lanes[destination].has_work:
                event.set()

    def close(self) -> None:
        """Finish what is queued, then let ``work`` return."""
        self._closing = True
        self._wake.set()

    async def work(self) -> None:
        """Until ``close``. Raises BufferBroken when SQLite reports damage: the next start sets the file aside."""
        self.watch()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._appends or self._leases or self._settlements or self._hastened or self._jobs:
                    await self._commit()
                    await self._checkpoint()
                    if self._jobs:
                        await self._run_job()
                        await self._checkpoint()
                    if self._stalled:
                        if self._closing:
                            return
                        await self._clock.sleep(STALLED_S)
                if self._closing:
                    return
        finally:
            self._end()

    async def _commit(self) -> None:
        assembled = self._assemble()
        if not assembled.group:
            self._stalled = False
            return
        began = self._clock.monotonic()
        try:
            run = self._runner.run_waiting if assembled.size > LARGE_BYTES else self._runner.run
            answers = await run(self.core.commit, assembled.group)
        except DiskRefused as refusal:
            self._stall(assembled, refusal)
            return
        except BaseException as error:
            self._fail(assembled, error)
            if isinstance(error, BufferError) and not isinstance(error, BufferBroken):
                return
            raise
        self._stalled = False
        self._metrics.buffer_commit_seconds.observe(self._clock.monotonic() - began)
        self.watch()
        self._committed(assembled, answers)
        self.notify()

    def _assemble(self) -> _Assembled:
        """What waits, within the bounds of a group. Nothing here waits, so that the lanes can't change meanwhile."""
        assembled = _Assembled(Group(hastened=self._hastened))
        self._hastened = set()
        rows = 0
        while self._appends and assembled.size < GROUP_BYTES and rows < GROUP_ROWS:
            appending = self._appends.popleft()
            if not appending.done.cancelled():
                assembled.appends.append(appending)
                assembled.group.appends.append(appending.append)
                assembled.size += sum(len(row.body) for row in appending.append.rows)
                rows += len(appending.append.rows)
        while self._leases:
            leasing = self._leases.popleft()
            if leasing.done.cancelled():
                continue
            taken = self.lanes.take_fresh(leasing.destination, leasing.limit)
            if taken:
                assembled.leases.append((leasing, self.lease(leasing.destination, Lane.FRESH, taken)))
                assembled.group.in_flight.append(in_flight(assembled.leases[-1][1]))
            else:
                leasing.done.set_result(None)
        settled = 0
        while self._settlements and settled < GROUP_BYTES:
            settling = (self._settlements[0].piece() if self.core.disk_full else None) or self._settlements.popleft()
            assembled.settlements.append(settling)
            assembled.group.settlements.append(settling.settlement)
            settled += settling.size
            if self.core.disk_full:
                break
        assembled.size += settled
        return assembled

    def _committed(self, assembled: _Assembled, answers: list[Stored]) -> None:
        for appending, answer in zip(assembled.appends, answers, strict=True):
            if isinstance(answer, BufferFull):
                fail(appending.done, answer)
            else:
                self._arrived(appending.append, answer)
                resolve(appending.done, None)
        for leasing, lease in assembled.leases:
            if leasing.done.cancelled():
                self.give_back(lease)
            else:
                leasing.done.set_result(lease)
        for settling in assembled.settlements:
            removed = settling.removed
            self.flow.left(self._clock.monotonic(), len(removed), settling.size)
            self.lanes.settled(removed)
            self.lanes.released(settling.released)
            resolve(settling.done, None)
        if assembled.group.hastened:
            self._seal_by(0)

    def _arrived(self, append: Append, first_id: int) -> None:
        fresh = []
        for row_id, row in enumerate(append.rows, first_id):
            if row.seal_at_ms is None:
                fresh.append(Row(row_id, row.destination, row.trace_id, row.spans, row.raw_bytes, row.body, row.received_ms))
            else:
                self.lanes.settling(row.destination)
                self._seal_by(row.seal_at_ms)
        self.lanes.arrived(fresh)
        self._metrics.buffer_commit_rows.inc(len(append.rows))

    def _seal_by(self, due_ms: int) -> None:
        if self.next_seal_ms is None or due_ms < self.next_seal_ms:
            self.next_seal_ms = due_ms
            self.sooner.notify()

    def _stall(self, assembled: _Assembled, refusal: DiskRefused) -> None:
        """The disk takes nothing at all: appends are refused, the rest waits for the next attempt."""
        self._stalled = True
        self.watch()
        for appending in assembled.appends:
            fail(appending.done, refusal)
        for leasing, lease in assembled.leases:
            self._undo(lease)
            self._leases.append(leasing)
        self._settlements.extendleft(reversed(assembled.settlements))
        self._hastened |= assembled.group.hastened

    def _fail(self, assembled: _Assembled, error: BaseException) -> None:
        """The transaction is gone: leased and settled rows wait again, those who wait are told."""
        answer = error if isinstance(error, BufferError) else BufferError("the buffer is closed")
        for appending in assembled.appends:
            fail(appending.done, BufferFull(f"the buffer could not write: {answer}"))
        for leasing, lease in assembled.leases:
            self._undo(lease)
            fail(leasing.done, answer)
        for settling in assembled.settlements:
            self.lanes.released(settling.removed + settling.released)
            fail(settling.done, answer)

    def watch(self) -> None:
        """Say once when the disk refuses, and once when it takes spans again."""
        if self.core.disk_full and not self.disk_filled.is_set():
            self._log.error("the disk under the buffer has no room: new spans are refused (503) until there is; free some, or move buffer.path")
            self.disk_filled.set()
        elif self.disk_filled.is_set() and not self.core.disk_full:
            self._log.warning("the disk under the buffer has room again: spans are taken")
            self.disk_filled.clear()

    def _undo(self, lease: Lease) -> None:
        self.lanes.released(self.open_leases.pop(lease.id).values())

    async def _run_job(self) -> None:
        job, done = self._jobs.popleft()
        if done.cancelled():
            return
        try:
            result = await job()
        except BufferBroken as error:
            fail(done, error)
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is belongs to whoever submitted the job)
            fail(done, error)
        except BaseException:  # the worker ends: whoever waits for this job must not wait for ever
            done.cancel()
            raise
        else:
            if done.cancelled() and isinstance(result, Lease):
                self.give_back(result)
            resolve(done, result)
        self.notify()

    async def _checkpoint(self) -> None:
        if self.core.checkpoint_due:
            await self._runner.run_waiting(self.core.checkpoint)

    def _future(self) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._ended:
            future.set_exception(BufferFull("the buffer is closed"))
        return future

    def _end(self) -> None:
        self._ended = True
        closed = BufferFull("the buffer is closed")
        futures: list[asyncio.Future[Any]] = [waiting.done for queue in (self._appends, self._leases, self._settlements) for waiting in queue]
        for done in (*futures, *(done for _, done in self._jobs)):
            fail(done, closed)
        self._appends.clear()
        self._leases.clear()
        self._settlements.clear()
        self._jobs.clear()


def in_flight(lease: Lease) -> InFlight:
    """The range that a lease's rows lie in."""
    return InFlight(lease.id, lease.destination, min(row.id for row in lease.rows), max(row.id for row in lease.rows))


def resolve(future: asyncio.Future[T], result: T) -> None:
    """Set a result unless whoever waited has gone."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[T], error: BaseException) -> None:
    """Set an error unless whoever waited has gone."""
    if not future.done():
        future.set_exception(error)

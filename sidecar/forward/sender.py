"""Sends one destination's rows to Langfuse: when to lease, from which lane, how much, and with how many requests at once.

A batch is sent when it is full or its oldest row has waited for the linger time. With a backlog (after a start or an
outage) nothing lingers, and fresh rows and backlog take turns, so that dashboards are live at once. What
becomes of a lease is delivery.py's; whether anything may be sent is breaker.py's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sidecar.buffer.leases import Lane, LaneStatus, Lease, LeaseLimit
from sidecar.clock import Clock
from sidecar.config import Destination, Forward
from sidecar.forward.batch import Ceiling
from sidecar.forward.breaker import Breaker, Permit, State
from sidecar.forward.client import open_client
from sidecar.forward.delivery import Delivery, Line
from sidecar.forward.journal import Journal
from sidecar.forward.keys import Keys
from sidecar.forward.retry import Chance
from sidecar.forward.source import Source
from sidecar.observe.metrics import Metrics
from sidecar.sample.pressure import Pulse
from sidecar.waiting import Changes, first

MIB = 2**20
KEY_POLL_S = 5.0
"""Between looks at a key file: who writes it, Kubernetes for one, sends no signal."""
LINGER_LOOK_S = 0.05
"""While a batch fills, how often it is looked at; at 50 MB/s it overshoots by 2.5 MB, which the next batch takes."""
NOTHING_S = 0.1
"""The buffer had announced rows but leased none (they expired, say): a breath before the next look."""
PROBE = LeaseLimit(max_bytes=1, max_raw_bytes=1, max_spans=1)
"""A probe is one row, of either lane in turn: that is enough to know, and little is ambiguous if it has no answer."""


@dataclass(frozen=True, slots=True)
class SenderStatus:
    """What the last log line says of a destination, so that what stayed on disk is explained."""

    name: str
    state: str
    """closed, half_open or open."""
    paused: str | None
    """Why it is paused."""
    down_s: float | None
    in_flight: int
    last_failure: str


class LangfuseSender:
    """One destination at work. Made by ``open_langfuse``; ``run`` goes on until it is cancelled."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line, self._keys = line, keys
        self._last_lane = Lane.BACKLOG
        self._linger_s = line.settings.linger_ms / 1000
        self._dry = False

    async def run(self) -> None:
        """Lease and deliver. Cancelling it gives every lease back."""
        line = self._line
        async with asyncio.TaskGroup() as group:
            if self._keys.from_file:
                group.create_task(self._watch_keys(), name=f"keys of {line.name}")
            while True:
                lease, permit = await self._next()
                group.create_task(Delivery(line, lease, permit).run(), name=f"delivery to {line.name}")

    async def drain(self) -> None:
        """Stop lingering; return when nothing is left to send, or nothing can be sent now."""
        line = self._line
        self._linger_s = 0.0
        if line.breaker.state is State.OPEN and line.breaker.paused is None:
            line.breaker.resume()
        line.changes.notify()
        while not self._is_idle():
            await line.changes.next.wait()

    def reload_keys(self) -> None:
        """Read the key file again and probe at once."""
        if self._keys.refresh():
            self._line.journal.keys_changed()
        self._line.breaker.resume()
        self._line.changes.notify()

    def pulse(self) -> Pulse:
        """Whether the destination takes spans, and how fast it answers."""
        line = self._line
        is_up = line.breaker.is_closed() or (line.journal.is_throttled and line.breaker.paused is None)
        return Pulse(line.name, is_up, line.journal.export_p95_s(line.clock.monotonic()))

    def status(self) -> SenderStatus:
        line = self._line
        down_since_s = line.breaker.down_since_s
        return SenderStatus(
            name=line.name,
            state=line.breaker.state.name.lower(),
            paused=line.breaker.paused.value if line.breaker.paused else None,
            down_s=None if down_since_s is None else round(line.clock.monotonic() - down_since_s, 1),
            in_flight=line.busy,
            last_failure=line.journal.last_failure,
        )

    async def _next(self) -> tuple[Lease, Permit]:
        """The next lease and leave to send it; it comes with a slot, which is taken only when there is something to lease."""
        line = self._line
        while True:
            if not await self._ready():
                continue
            await line.slots.acquire()
            permit = line.breaker.admit(line.clock.monotonic()) if self._wait_s() == 0 else None
            if permit is not None:
                if lease := await self._lease(self._lane(line.source.status(line.name))):
                    return lease, permit
                line.breaker.withdraw(permit)
            line.slots.release()
            await line.changes.rest(NOTHING_S)

    async def _ready(self) -> bool:
        """Whether a lease is due now; False after waiting for what may change that."""
        line = self._line
        status, change = line.source.status(line.name), line.changes.next
        if not (status.fresh_rows or status.backlog_rows):
            await first(line.source.wait_for_work(line.name), change.wait())
            return False
        if (wait_s := self._wait_s()) > 0:
            await line.changes.rest(wait_s)
        return wait_s == 0

    def _wait_s(self) -> float:
        """Seconds until a lease is due, or until it is worth looking again: for the breaker, or for a batch to fill."""
        line = self._line
        if (wait_s := line.breaker.wait_s(line.clock.monotonic())) > 0:
            return wait_s
        return min(max(0.0, self._linger_left_s(line.source.status(line.name))), LINGER_LOOK_S)

    async def _lease(self, lane: Lane) -> Lease | None:
        line, settings, ceiling = self._line, self._line.settings, self._line.ceiling
        raw_bytes = int(settings.batch_raw_mib * MIB * ceiling.limit_bytes / ceiling.max_bytes)
        limit = PROBE if line.breaker.state is State.HALF_OPEN else LeaseLimit(ceiling.limit_bytes, max(1, raw_bytes), settings.batch_spans)
        line.busy += 1
        lease = await line.source.lease(line.name, lane, limit)
        self._dry = lease is None
        if self._dry:
            line.busy -= 1
            line.changes.notify()
        return lease

    def _linger_left_s(self, status: LaneStatus) -> float:
        """Seconds until what waits is to be sent, full or not."""
        settings = self._line.settings
        if status.backlog_rows or status.fresh_bytes >= self._line.ceiling.limit_bytes or status.fresh_spans >= settings.batch_spans:
            return 0.0
        oldest_ms = status.oldest_received_ms
        # a row from the future came before the clock was set back: it does not linger until the clock is there again
        waited_s = 0.0 if oldest_ms is None else abs(self._line.clock.wall_ms() - oldest_ms) / 1000
        return self._linger_s - waited_s

    def _lane(self, status: LaneStatus) -> Lane:
        """The lanes take turns when both have rows."""
        if status.fresh_rows and status.backlog_rows:
            self._last_lane = Lane.FRESH if self._last_lane is Lane.BACKLOG else Lane.BACKLOG
            return self._last_lane
        return Lane.FRESH if status.fresh_rows else Lane.BACKLOG

    def _is_idle(self) -> bool:
        line = self._line
        status = line.source.status(line.name)
        nothing = self._dry or not (status.fresh_rows or status.backlog_rows)
        down = not line.breaker.is_closed() and line.breaker.wait_s(line.clock.monotonic()) > 0
        return line.busy == 0 and (nothing or down)

    async def _watch_keys(self) -> None:
        while True:
            await self._line.clock.sleep(KEY_POLL_S)
            if self._keys.refresh():
                self._line.journal.keys_changed()
                self._line.breaker.resume()
                self._line.changes.notify()


@asynccontextmanager
async def open_langfuse(
    destination: Destination, settings: Forward, source: Source, clock: Clock, metrics: Metrics, rng: Chance, log: logging.Logger, instance_id: str
) -> AsyncIterator[LangfuseSender]:
    """A sender with its connections, which close with the block. Raises StartError or ConfigError when keys or ca_file can't be used."""
    keys = Keys(destination)
    async with open_client(destination, keys, instance_id, timeout_s=settings.timeout_s, concurrency=settings.concurrency) as client:
        retry = settings.retry
        line = Line(
            name=destination.name,
            settings=settings,
            source=source,
            client=client,
            breaker=Breaker(rng, initial_s=retry.initial_s, max_s=retry.max_s, pause_probe_s=settings.auth_probe_s),
            ceiling=Ceiling(int(settings.batch_mib * MIB)),
            journal=Journal(destination.name, metrics, log),
            clock=clock,
            rng=rng,
            slots=asyncio.Semaphore(settings.concurrency),
            changes=Changes(clock),
        )
        yield LangfuseSender(line, keys)

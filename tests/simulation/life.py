"""One process of the sidecar in a simulation: the buffer, an intake and a sender a destination, wired as ``app.py`` does."""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sidecar.buffer.buffer import Buffer, open_buffer
from sidecar.buffer.runner import Runner
from sidecar.config import BufferSettings, Forward, Retry, Secret
from sidecar.config import Destination as DestinationSettings
from sidecar.enrich.completer import Completed, Counted
from sidecar.forward.batch import Ceiling
from sidecar.forward.breaker import Breaker
from sidecar.forward.delivery import Line
from sidecar.forward.journal import Journal
from sidecar.forward.keys import Keys
from sidecar.forward.sender import LangfuseSender
from sidecar.observe.metrics import Metrics
from sidecar.receive.intake import Intake
from sidecar.receive.pipeline import Processed
from sidecar.waiting import Changes, first
from sidecar.wire.batch import SpanBatch
from sidecar.wire.encoding import Encoding
from sidecar.wire.rows import NewRow
from sidecar.wire.split import decompress
from tests.simulation.destination import Destination
from tests.simulation.plan import Plan

if TYPE_CHECKING:
    from tests.simulation.world import World

P = ParamSpec("P")
T = TypeVar("T")
SETTLE_MS = 6000
LOG = logging.Logger("simulation", logging.CRITICAL + 1)  # noqa: LOG001  (one of its own: what is logged is not looked at here)


@dataclass
class Life:
    """A running process. ``dead``: it was killed, and what still unwinds counts for nothing."""

    buffer: Buffer
    intake: Intake
    senders: list[LangfuseSender]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    dead: bool = False
    requests: int = 0
    """In the intake."""


class _Thread:
    """A runner whose calls take their time, as on a thread; those that work in memory often take none, and now and then long."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        luck = self._chance.random()
        if luck < 0.3:
            await asyncio.sleep(self._chance.uniform(0, 0.002 if luck > 0.05 else 0.5))
        return call(*args, **kwargs)

    async def run_waiting(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(self._chance.uniform(0, 0.05))
        return call(*args, **kwargs)


class _Relay:
    """What a pipeline without enrichment does, but that rows of some traces wait until they are sealed or released."""

    def __init__(self, settles: float) -> None:
        self._settles = settles

    async def process(self, batch: SpanBatch, body: bytes, now_ms: int) -> Processed:  # noqa: ARG002  (as the protocol has it)
        done = Completed()
        for resource_spans in batch.request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    if not span.parent_span_id:
                        done.released.add(span.trace_id)
                    elif span.trace_id[0] < 256 * self._settles:
                        done.seal_at[span.trace_id] = now_ms + SETTLE_MS
        for trace_id in done.released:
            done.seal_at.pop(trace_id, None)
        return Processed(done)

    def count(self, counted: Iterable[Counted]) -> None:
        assert not list(counted), "nothing was processed that could count"

    async def take_logs(self, body: bytes, encoding: Encoding, now_ms: int) -> None:  # noqa: ARG002  (as above)
        raise AssertionError("no logs are sent")


class _Routes:
    """The public key names the destination."""

    def destination_of(self, public_key: str | None) -> str:
        assert public_key is not None
        return public_key


def sealer(chance: random.Random) -> Callable[[NewRow], NewRow | None]:
    """Rewrites some rows, leaves some as they are, and fails for a few."""

    def seal(row: NewRow) -> NewRow | None:
        what = chance.random()
        if what < 0.4:
            return None
        if what < 0.5:
            raise ValueError("a defect of whoever completes rows")
        body = gzip.compress(decompress(row.body), compresslevel=9, mtime=0)
        return NewRow(**{name: getattr(row, name) for name in NewRow.__slots__} | {"body": body, "seal_at_ms": None})

    return seal


def settings_of(plan: Plan, path: str) -> BufferSettings:
    return BufferSettings(path=path, max_mib=plan.max_kib / 1024, cache_mib=plan.cache_kib / 1024, min_free_mib=0, reserve_mib=2)


@asynccontextmanager
async def living(world: World) -> AsyncIterator[Life]:
    """A process from start to end. Leaving the block is SIGTERM: no more requests, what fits the grace period is sent."""
    plan, clock, chance = world.plan, world.clock, world.chance
    metrics = world.metrics

    @asynccontextmanager
    async def runner(_db: sqlite3.Connection) -> AsyncIterator[Runner]:
        yield _Thread(chance)

    opened: AbstractAsyncContextManager[Buffer] = open_buffer(
        settings_of(plan, str(world.disk.path)),
        clock,
        metrics,
        LOG,
        runner=runner,
        seal=sealer(chance),
        disk=world.disk,
        connector=world.disk.connect,
    )
    async with opened as buffer, asyncio.TaskGroup() as group:
        senders = [sender(world, buffer, each, metrics) for each in world.destinations.values()]
        tasks = [group.create_task(each.run(), name="sender") for each in senders]
        life = Life(buffer, Intake(buffer, _Routes(), _Relay(plan.settles), clock, metrics, LOG), senders)
        yield life
        while life.requests:  # noqa: ASYNC110  (receivers finish what they hold)
            await asyncio.sleep(0.01)
        await buffer.seal_all()
        for each in world.destinations.values():
            each.hear_me_again()
        await first(clock.sleep(plan.grace_s), *(each.drain() for each in senders))
        for task in tasks:
            task.cancel()


def sender(world: World, buffer: Buffer, destination: Destination, metrics: Metrics) -> LangfuseSender:
    """As ``open_langfuse`` makes it, with the simulated destination in the client's place."""
    plan, clock, rng = world.plan, world.clock, random.Random(world.chance.random())
    forward = Forward(
        linger_ms=plan.linger_ms,
        concurrency=plan.concurrency,
        batch_mib=plan.batch_kib / 1024,
        batch_spans=plan.batch_spans,
        retry=Retry(initial_s=1, max_s=60),
    )
    line = Line(
        name=destination.name,
        settings=forward,
        source=buffer,
        client=destination,
        breaker=Breaker(rng, initial_s=1, max_s=60, pause_probe_s=forward.auth_probe_s),
        ceiling=Ceiling(int(plan.batch_kib * 1024)),
        journal=Journal(destination.name, metrics, LOG),
        clock=clock,
        rng=rng,
        slots=asyncio.Semaphore(plan.concurrency),
        changes=Changes(clock),
    )
    return LangfuseSender(line, Keys(DestinationSettings(public_key="pk", secret_key=Secret("sk"))))

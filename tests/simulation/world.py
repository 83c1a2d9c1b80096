"""One simulated run: clients, the real intake, buffer and senders, destinations, and everything that can happen to them.

Simulated are time, the destinations, the disk's size and faults, threads and the process's death; SQLite, its file and all code of
the path are the real ones (decode, mend, split, commit, lease, batch, verdict, settle). Owns the course of a run; what is sent is
``clients.py``'s, what is held against what is ``audit.py``'s.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry

from sidecar.buffer.records import Filter
from sidecar.errors import SidecarError
from sidecar.observe.metrics import Metrics
from sidecar.wire.rows import Row
from tests.simulation.audit import Audit, Outcome
from tests.simulation.clients import Client
from tests.simulation.destination import Destination, Limits
from tests.simulation.disk import FULL, IO_ERROR, Killed, VirtualDisk
from tests.simulation.life import Life, living
from tests.simulation.loop import LoopClock, simulate
from tests.simulation.plan import Plan, plan_of

START_MS = 1_795_000_000_000
HOUR_MS = 3_600_000
MIB = 1024 * 1024
MEMORY = "/dev/shm"
AMPLE = 1 << 40
TICK_S = 0.5
CALM_S = 8 * 3600.0
"""Until everything must be delivered once all is well: probes of a paused destination come every hour at the latest."""
END_S = 600.0
"""Of the last process, from its signal."""
WITNESS_S = 60.0
"""In the calm a good request comes so often: what was refused alone waits for one that is taken."""


class World:
    """A run of one plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path, trace: list[str] | None) -> None:
        self.plan = plan
        self.chance = random.Random(f"world {plan.seed}")
        self.clock = LoopClock(START_MS)
        self.disk = VirtualDisk(folder / "buffer.db", random.Random(f"disk {plan.seed}"), on_kill=self.kill)
        self.audit = Audit(plan, self.disk, trace)
        limits = Limits(plan.concurrency, int(plan.batch_kib * 1024), plan.batch_spans)
        self.destinations = {
            name: Destination(
                name,
                random.Random(f"{name} {plan.seed}"),
                limits,
                self.audit.check,
                self.audit.note,
                self._before_post,
                self.is_alive,
                max_body_bytes=plan.max_body_bytes,
            )
            for name in ("one", "two")[: plan.destinations]
        }
        self.audit.destinations = self.destinations
        self.metrics = Metrics(CollectorRegistry())  # of all lives: making them takes longer than most lives
        self.life: Life | None = None
        self.up = asyncio.Event()
        self._image: dict[str, bytes] | None = None
        self._over = False

    async def run(self) -> Outcome:
        """Trouble, calm, the end."""
        async with asyncio.TaskGroup() as group:
            lives = group.create_task(self._live_on())
            clients = [group.create_task(Client(self, number).run(self.plan.lasts_s)) for number in range(self.plan.clients)]
            ticking = group.create_task(self._tick())
            await self._trouble()
            self._heal()
            await self._calm(clients)
            ticking.cancel()
            self._over = True
            if self.life is not None:
                self.life.stop.set()
            try:
                async with asyncio.timeout(END_S):
                    await lives
            except TimeoutError:
                self.audit.check(False, "the last process does not end")
        return self.audit.outcome()

    def kill(self) -> None:
        """SIGKILL: what is on disk at this moment is what the next process finds."""
        if self._image is not None or not self.disk.is_open:
            return
        self.audit.note("killed")
        self._image = self.disk.die()
        if self.life is not None:
            self.life.dead = True
            self.up.clear()
            self.audit.died(self.life)
            self.life.stop.set()

    def is_alive(self) -> bool:
        return self.life is not None and not self.life.dead

    def _before_post(self, rows: tuple[Row, ...]) -> None:
        if self.life is not None and not self.life.dead:
            self.audit.before_post(self.life, rows)

    async def _live_on(self) -> None:
        """One process after the other, as an orchestrator starts them."""
        while not self._over:
            await self._live()
            if self._image is not None:
                self.disk.restore(self._image)
                self._image = None
            if not self._over:
                await asyncio.sleep(self.chance.uniform(0.05, 3))

    async def _live(self) -> None:
        started, faults = False, self.disk.faults
        for destination in self.destinations.values():
            destination.hear_me_again()
        try:
            async with living(self) as life:
                started = True
                self.life = life
                self.audit.born(life)
                self.up.set()
                await life.stop.wait()
                if life.dead:
                    raise Killed
                self.up.clear()
                self.audit.note("stopping")
        except BaseException as error:
            if self._image is not None:
                return
            if not started and isinstance(error, SidecarError):
                self.audit.note(f"could not start: {type(error).__name__}")
                self.audit.check(self.disk.faults > faults, f"it could not start: {error}")
                return
            if not isinstance(error, asyncio.CancelledError):
                self.audit.check(False, f"the process ended by itself: {error!r} {getattr(error, 'exceptions', '')}")
                self._over = True
            raise
        finally:
            self.up.clear()
            self.life = None
            self.disk.closed()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self.life is not None and not self.life.dead:
                self.audit.look(self.life)

    async def _trouble(self) -> None:
        async with asyncio.TaskGroup() as group:
            loop, plan = asyncio.get_running_loop(), self.plan
            while loop.time() < plan.lasts_s:
                await asyncio.sleep(self.chance.expovariate(1 / plan.trouble_every_s))
                trouble = self.chance.choice(plan.troubles)
                if loop.time() < plan.lasts_s:
                    group.create_task(self._one_trouble(trouble))

    async def _one_trouble(self, trouble: str) -> None:
        chance, disk = self.chance, self.disk
        self.audit.note(trouble)
        match trouble:
            case "mode":
                modes, weights = list(self.plan.weights), list(self.plan.weights.values())
                chance.choice(list(self.destinations.values())).mode = chance.choices(modes, weights)[0]
            case "kill":
                self.kill()
            case "kill at a commit":
                disk.kills_in = chance.randrange(8)
            case "stop" if self.life is not None:
                self.life.stop.set()
            case "disk full":
                disk.room_bytes = chance.choice((0, MIB, 8 * MIB, 12 * MIB))
                await asyncio.sleep(chance.uniform(0.5, 30))
                disk.room_bytes = AMPLE
            case "disk fault":
                disk.fails_in, disk.code = chance.randrange(40), chance.choice((FULL, IO_ERROR))
            case "clock":
                hours = 80.0 if chance.random() < 0.05 else chance.choice((-1, -0.1, -0.001, 0.001, 0.1, 1))
                self.clock.offset_ms += int(hours * HOUR_MS)
            case "reload" if self.life is not None:
                for destination in self.destinations.values():
                    destination.hear_me_again()
                for sender in self.life.senders:
                    sender.reload_keys()
            case "replay" | "shed":
                await self._operate(trouble)

    async def _operate(self, what: str) -> None:
        life, chance = self.life, self.chance
        if life is None:
            return
        with suppress(SidecarError):  # a full disk, or the process ends meanwhile
            if what == "replay":
                await life.buffer.replay(Filter())
            else:
                await life.buffer.shed(chance.randrange(1 << 56), 0, chance.randrange(1, 20_000), "backlog", lambda _: None)

    def _heal(self) -> None:
        self.audit.note("all is well")
        for destination in self.destinations.values():
            destination.mode = "healthy"
        self.disk.room_bytes = AMPLE
        self.disk.fails_in = self.disk.kills_in = None

    async def _calm(self, clients: list[asyncio.Task[None]]) -> None:
        """Until all clients have their answers and nothing is left to send."""
        witness = Client(self, len(clients))
        try:
            async with asyncio.timeout(CALM_S):
                while not self._over:
                    await self.up.wait()
                    if all(client.done() for client in clients) and self.life is not None and self.life.buffer.pending_spans == 0:
                        return
                    for name in self.destinations:
                        await witness.send(witness.request(name, good=True))
                    await asyncio.sleep(WITNESS_S)
        except TimeoutError:
            self.audit.check(False, "not everything was delivered in the calm")
            for client in clients:
                client.cancel()


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """A folder for one run, in memory where the system has that: no run waits for a disk."""
    path = Path(tempfile.mkdtemp(prefix="simulation-", dir=MEMORY if os.path.isdir(MEMORY) else None))  # noqa: ASYNC240, PTH112  (nobody waits here)
    try:
        yield path
    finally:
        shutil.rmtree(path)


async def _run(plan: Plan, trace: list[str] | None) -> Outcome:
    async with folder() as path:
        return await World(plan, path, trace).run()


def outcome_of(seed: int, trace: list[str] | None = None) -> Outcome:
    """Run a seed; ``trace`` gets a line for each thing that happens."""
    return simulate(_run(plan_of(seed), trace))


def result_of(seed: int, trace: list[str] | None = None) -> Outcome:
    """The same, where an exception is a violation too."""
    try:
        return outcome_of(seed, trace)
    except Exception as error:  # noqa: BLE001  (whatever it is, the seed must be named)
        text = "".join(traceback.format_exception(error))
        return Outcome(seed, (text[-2000:],), "", {})

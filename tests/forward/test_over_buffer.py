"""The forwarder over the real buffer: every span is accounted for, whatever the destination answers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from sidecar.buffer.buffer import Buffer, open_buffer
from sidecar.buffer.leases import Append
from sidecar.clock import SystemClock
from sidecar.config import BufferSettings, Config, Forward, Retry, Shutdown
from sidecar.forward.forwarder import run_forwarder
from sidecar.observe.metrics import Metrics
from sidecar.wire.rows import NewRow
from tests.fakes.langfuse import FakeLangfuse, fake_langfuse
from tests.forward.rig import INSTANCE, destination, logger, rows, run, span_row
from tests.spans import span
from tests.waiting import until

QUICK = Forward(linger_ms=5, concurrency=4, timeout_s=5, retry=Retry(initial_s=0.01, max_s=0.05))


@dataclass
class Road:
    """A buffer, a forwarder behind it and the server that it sends to."""

    buffer: Buffer
    fake: FakeLangfuse

    async def append(self, new: list[NewRow]) -> None:
        await self.buffer.append(Append(tuple(new), received=sum(row.spans for row in new)))

    async def empty(self) -> None:
        await until(lambda: self.buffer.pending_spans == 0, "the buffer to be empty")

    def spans(self, state: str, reason: str = "") -> int:
        return self.buffer.ledger.totals.get((state, reason), 0)


@asynccontextmanager
async def road(directory: Path, forward: Forward = QUICK, grace_s: float = 5) -> AsyncIterator[Road]:
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    log, _ = logger()
    settings = BufferSettings(path=str(directory / "buffer.db"), min_free_mib=0, reserve_mib=0)
    async with fake_langfuse() as fake:
        config = Config(destinations=[destination(fake.url)], forward=forward, shutdown=Shutdown(grace_s=grace_s))
        async with (
            open_buffer(settings, clock, metrics, log) as buffer,
            run_forwarder(config, buffer, clock, metrics, random.Random(0), log, INSTANCE),
        ):
            yield Road(buffer, fake)


def now(new: list[NewRow]) -> list[NewRow]:
    """The same rows, received at this moment: the buffer gives up old ones."""
    received_ms = SystemClock().wall_ms()
    return [NewRow(**{name: getattr(row, name) for name in NewRow.__slots__} | {"received_ms": received_ms}) for row in new]


def test_everything_arrives_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with road(tmp_path) as way:
            for seed in range(10):
                await way.append(now(rows(20, spans=5, seed=seed)))
            await way.empty()

            assert len(way.fake.seen.received) == 1000
            assert way.fake.seen.duplicates() == 0
            assert way.spans("delivered") == 1000

    run(main())


def test_one_bad_span_becomes_the_only_dead_letter(tmp_path: Path) -> None:
    async def main() -> None:
        async with road(tmp_path) as way:
            way.fake.reject_if(lambda each: each.name == "bad")
            trace_id = bytes(range(16))
            mixed = span_row(*[span(trace_id=trace_id, span_id=bytes([i + 1] * 8), name="bad" if i == 3 else "good") for i in range(6)])
            await way.append(now([*rows(30, spans=3), mixed, *rows(30, spans=3, seed=1)]))
            await way.empty()

            assert way.spans("delivered") == 185
            assert way.spans("buried", "refused") == 1
            assert len(way.fake.seen.received) == 185
            assert way.buffer.ledger.imbalances(way.buffer.pending_spans) == []

    run(main())


def test_a_rough_day_loses_nothing(tmp_path: Path) -> None:
    """Every kind of trouble, one after the other; duplicates only where there was no answer."""

    async def main() -> None:
        async with road(tmp_path) as way:
            way.fake.script.fail_next(4, 503)
            way.fake.script.reset_next(2, after_body=True)
            way.fake.script.fail_next(2, 504, keep=True)
            way.fake.script.fail_next(2, 500)
            way.fake.script.fail_next(1, 429, {"Retry-After": "0"})
            for seed in range(20):
                await way.append(now(rows(10, spans=2, seed=seed)))
                if seed == 10:
                    way.fake.down()
                    await until(lambda: way.buffer.pending_spans > 0)
                    way.fake.up()
            await until(lambda: not way.fake.script.unused(), "the script's end")
            await way.empty()

            assert len(way.fake.seen.received) == 400
            assert way.spans("delivered") == 400
            assert way.buffer.ledger.imbalances(0) == []

    run(main())


def test_what_lingers_is_sent_on_leaving(tmp_path: Path) -> None:
    async def main() -> None:
        async with road(tmp_path, Forward(linger_ms=60_000)) as way:
            await way.append(now(rows(10)))
            seen = way.fake.seen

        assert len(seen.received) == 10

    run(main())


def test_what_could_not_be_sent_is_delivered_after_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with road(tmp_path) as way:
            way.fake.script.fail_always(503)
            await way.append(now(rows(10)))
            await until(lambda: len(way.fake.seen.requests) >= 3, "a few attempts")
        async with road(tmp_path) as way:
            await way.empty()

            assert len(way.fake.seen.received) == 10
            assert way.spans("delivered") == 10

    run(main())

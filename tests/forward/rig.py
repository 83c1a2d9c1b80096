"""One real sender between a source in memory and a fake Langfuse, on time that the test moves."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import uvloop
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import CollectorRegistry

from sidecar.config import Destination, Forward, Retry, Secret
from sidecar.forward.sender import LangfuseSender, open_langfuse
from sidecar.observe.metrics import Metrics
from sidecar.wire.batch import decode_protobuf
from sidecar.wire.rows import NewRow
from sidecar.wire.split import row_of, slices
from tests.fakes.clock import START_MS, FakeClock
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, FakeLangfuse, fake_langfuse
from tests.forward.memory import MemorySource
from tests.spans import request, span
from tests.waiting import until

Result = TypeVar("Result")

NAME = "main"
INSTANCE = "instance-1"
DEADLINE_S = 30.0
VERDICTS = ("delivered", "retry", "ambiguous", "pause", "split", "refused")


class Highest:
    """Chance that always draws the upper bound: delays are exactly the bounds."""

    def uniform(self, a: float, b: float, /) -> float:
        return max(a, b)


class Lines(logging.Handler):
    """Collects log records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def events(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def fields(self, event: str) -> dict[str, object]:
        return next(vars(record) for record in reversed(self.records) if record.getMessage() == event)


def logger() -> tuple[logging.Logger, Lines]:
    log, lines = logging.Logger("sidecar.forward"), Lines()  # noqa: LOG001  (one of its own: nothing global)
    log.addHandler(lines)
    return log, lines


def run(main: Coroutine[object, object, Result]) -> Result:
    """Run a test on the event loop that the program runs on."""

    async def bounded() -> Result:
        async with asyncio.timeout(DEADLINE_S):
            return await main

    return uvloop.run(bounded())


def span_row(*spans: Span, destination: str = NAME, received_ms: int = START_MS) -> NewRow:
    """One row of the given spans, which share a trace."""
    body = request(*spans).SerializeToString()
    return row_of(slices(decode_protobuf(body), destination)[0], received_ms)


def rows(count: int, spans: int = 1, *, padding: int = 0, seed: int = 0, destination: str = NAME) -> list[NewRow]:
    """``count`` rows of ``spans`` spans each; ``padding``: characters a span that compress to half."""
    chance = random.Random(seed)
    result = []
    for _ in range(count):
        trace_id = chance.randbytes(16)
        attributes = {"pad": chance.randbytes(padding // 2).hex()}
        made = [span(trace_id=trace_id, span_id=chance.randbytes(8), attributes=attributes) for _ in range(spans)]
        result.append(span_row(*made, destination=destination))
    return result


def destination(url: str, *, ca_file: str = "", secret_key_file: str = "") -> Destination:
    secret = Secret("" if secret_key_file else SECRET_KEY)
    return Destination(name=NAME, base_url=url, public_key=PUBLIC_KEY, secret_key=secret, secret_key_file=secret_key_file, ca_file=ca_file)


def settings(
    *,
    linger_ms: float = 0,
    concurrency: int = 1,
    timeout_s: float = 5,
    batch_mib: float = 3.5,
    batch_raw_mib: float = 16,
    batch_spans: int = 8192,
    retry_max_s: float = 60,
) -> Forward:
    return Forward(
        linger_ms=linger_ms,
        concurrency=concurrency,
        timeout_s=timeout_s,
        batch_mib=batch_mib,
        batch_raw_mib=batch_raw_mib,
        batch_spans=batch_spans,
        retry=Retry(initial_s=1, max_s=retry_max_s),
    )


@dataclass
class Rig:
    fake: FakeLangfuse
    source: MemorySource
    clock: FakeClock
    metrics: Metrics
    lines: Lines
    sender: LangfuseSender
    task: asyncio.Task[None] = field(repr=False)

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"destination": NAME, **labels}) or 0.0

    @property
    def statuses(self) -> list[int | None]:
        return [each.status for each in self.fake.seen.requests]

    async def answered(self, count: int) -> None:
        """Wait until the sender has dealt with ``count`` answers or failures."""
        await until(lambda: self._verdicts() >= count, f"{count} verdicts")
        await self.clock.settle()

    def _verdicts(self) -> float:
        return sum(self.sample("sidecar_forward_requests_total", verdict=each) for each in VERDICTS)

    async def delivered(self, count: int) -> None:
        await until(lambda: len(self.source.delivered_rows) >= count, f"{count} delivered rows")

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and then a moment for the sockets."""
        await self.clock.advance(seconds)
        before = self._verdicts()
        with suppress(TimeoutError):
            await until(lambda: self._verdicts() > before, deadline_s=0.01)

    async def pass_time_until(self, predicate: Callable[[], bool], step_s: float = 1.0) -> None:
        """Let time pass in steps until ``predicate`` holds."""
        while not predicate():
            await self.pass_time(step_s)

    async def settled(self) -> None:
        """Wait until nothing is leased."""
        await until(lambda: not self.source.leased, "every lease to be settled")


@asynccontextmanager
async def sending(forward: Forward | None = None, *, url: str | None = None, secret_key_file: str = "") -> AsyncIterator[Rig]:
    """A running sender; it is cancelled at the end, as the forwarder does. ``url``: another server than the fake."""
    clock, source, metrics = FakeClock(), MemorySource(), Metrics(CollectorRegistry())
    log, lines = logger()
    async with fake_langfuse() as fake:
        target = destination(url or fake.url, secret_key_file=secret_key_file)
        opened = open_langfuse(target, forward or settings(), source, clock, metrics, Highest(), log, INSTANCE)
        async with opened as sender:
            task = asyncio.create_task(sender.run())
            try:
                yield Rig(fake, source, clock, metrics, lines, sender, task)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error

"""All destinations together, from entering the block to leaving it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from sidecar.config import Config, Destination, Forward, Shutdown
from sidecar.errors import StartError
from sidecar.forward.forwarder import Forwarder, run_forwarder
from sidecar.observe.metrics import Metrics
from sidecar.sample.pressure import Pulse
from tests.fakes.clock import FakeClock
from tests.fakes.langfuse import fake_langfuse
from tests.fakes.listener import HeldPort
from tests.forward.memory import MemorySource
from tests.forward.rig import INSTANCE, NAME, destination, logger, rows, run, settings
from tests.waiting import until


class Everything:
    """What a forwarder is given."""

    def __init__(self) -> None:
        self.clock, self.source, self.metrics = FakeClock(), MemorySource(), Metrics(CollectorRegistry())
        self.log, self.lines = logger()

    def forwarding(
        self, *destinations: Destination, forward: Forward | None = None, grace_s: float = 25, deadline: Callable[[], float] | None = None
    ) -> AbstractAsyncContextManager[Forwarder]:
        config = Config(destinations=list(destinations), forward=forward or settings(linger_ms=60_000), shutdown=Shutdown(grace_s=grace_s))
        return run_forwarder(config, self.source, self.clock, self.metrics, random.Random(0), self.log, INSTANCE, deadline)


@asynccontextmanager
async def moving(clock: FakeClock) -> AsyncIterator[None]:
    """Time passes by itself, a second a look."""

    async def move() -> None:
        while True:
            await clock.advance(1)
            await clock.settle()

    task = asyncio.create_task(move())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_pulse_of_each_destination_is_told_in_their_order() -> None:
    async def main() -> None:
        async with fake_langfuse() as fake, Everything().forwarding(destination(fake.url), Destination(name="near", type="local")) as forwarder:
            assert forwarder.pulses() == (Pulse(NAME, is_up=True), Pulse("near", is_up=True))

    run(main())


def test_each_destination_gets_its_rows() -> None:
    async def main() -> None:
        each = Everything()
        async with fake_langfuse() as fake, each.forwarding(destination(fake.url), Destination(name="near", type="local"), forward=settings()):
            each.source.add(rows(3))
            each.source.add(rows(2, seed=1, destination="near"))
            await fake.wait_for_spans(3)
            await until(lambda: len(each.source.local_rows) == 2, "the local rows")

    run(main())


def test_leaving_sends_what_is_left() -> None:
    async def main() -> None:
        each = Everything()
        async with fake_langfuse() as fake:
            async with each.forwarding(destination(fake.url)):
                each.source.add(rows(20))
            assert len(fake.seen.received) == 20
            assert each.source.leased == {}

    run(main())


async def past(clock: FakeClock, grace_s: float) -> None:
    """Once somebody waits for the grace time, let it pass."""
    assert await clock.wait_for_sleeper() <= grace_s
    await clock.advance(grace_s)


def test_leaving_takes_no_longer_than_the_grace_time_and_gives_back_the_rest() -> None:
    async def main() -> None:
        each = Everything()
        async with fake_langfuse() as fake:
            fake.script.hang_next(1, keep=False)
            async with each.forwarding(destination(fake.url), forward=settings(), grace_s=25):
                each.source.add(rows(4))
                await until(lambda: len(fake.seen.requests) == 1, "the request")
                passing = asyncio.create_task(past(each.clock, 25))
            await passing

            assert each.clock.monotonic() == 25
            assert each.source.leased == {}
            assert len(each.source.ambiguous) == 4

    run(main())


def test_the_deadline_of_the_caller_counts() -> None:
    async def main() -> None:
        each = Everything()
        async with fake_langfuse() as fake:
            fake.script.hang_next(1, keep=False)
            async with each.forwarding(destination(fake.url), forward=settings(), deadline=lambda: each.clock.monotonic() + 3):
                each.source.add(rows(4))
                await until(lambda: len(fake.seen.requests) == 1, "the request")
                passing = asyncio.create_task(past(each.clock, 3))
            await passing

            assert each.clock.monotonic() == 3
            assert each.source.leased == {}

    run(main())


def test_leaving_while_a_destination_is_down_does_not_wait_for_the_grace_time() -> None:
    async def main() -> None:
        each = Everything()
        with HeldPort() as held:
            async with each.forwarding(destination(f"http://127.0.0.1:{held.port}"), forward=settings()):
                each.source.add(rows(4))
                async with moving(each.clock):
                    await until(lambda: "destination is down; spans are kept in the buffer" in each.lines.events, "the outage")
        assert len(each.source.waiting) == 4
        assert each.source.ambiguous == []

    run(main())


def test_leaving_by_an_error_sends_nothing_more() -> None:
    async def main() -> None:
        each = Everything()
        async with fake_langfuse() as fake:
            with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  (the block is the subject)
                async with each.forwarding(destination(fake.url)):
                    each.source.add(rows(4))
                    raise RuntimeError("elsewhere")

            assert caught.group_contains(RuntimeError, match="elsewhere")
            assert fake.seen.requests == []
            assert len(each.source.waiting) == 4

    run(main())


def test_a_broken_buffer_ends_the_block() -> None:
    class Broken(MemorySource):
        async def lease(self, *_: object) -> None:
            raise OSError("the disk is gone")

    async def main() -> None:
        each = Everything()
        each.source = Broken()
        async with fake_langfuse() as fake:
            with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  (the block is the subject)
                async with each.forwarding(destination(fake.url), forward=settings()):
                    each.source.add(rows(1))
                    await asyncio.Event().wait()

        assert caught.group_contains(OSError, match="the disk is gone")

    run(main())


def test_a_destination_without_its_key_file_does_not_start() -> None:
    async def main() -> None:
        with pytest.raises(StartError, match="secret_key_file"):
            async with Everything().forwarding(destination("http://127.0.0.1:1", secret_key_file="/none")):
                pass

    run(main())


def test_the_status_names_every_destination_in_order() -> None:
    async def main() -> None:
        each = Everything()
        async with each.forwarding(destination("http://127.0.0.1:1"), Destination(name="near", type="local")) as forwarder:
            forwarder.reload_keys()
            status = forwarder.status()

        assert [(one.name, one.state, one.paused) for one in status] == [(NAME, "closed", None), ("near", "closed", None)]

    run(main())

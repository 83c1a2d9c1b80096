"""The `local` destination."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from sidecar.buffer.leases import Lane
from sidecar.config import Destination
from sidecar.forward.local import LIMIT, LocalSender
from sidecar.observe.metrics import Metrics
from tests.fakes.clock import FakeClock
from tests.forward.memory import MemorySource
from tests.forward.rig import NAME, rows, run
from tests.waiting import until


def local(source: MemorySource, keep_spans: int = 10_000) -> tuple[LocalSender, Metrics]:
    metrics = Metrics(CollectorRegistry())
    return LocalSender(Destination(name=NAME, type="local", keep_spans=keep_spans), source, FakeClock(), metrics), metrics


def test_rows_are_moved_as_they_come_from_both_lanes() -> None:
    async def main() -> None:
        source = MemorySource()
        sender, metrics = local(source)
        source.add(rows(3, spans=2), Lane.BACKLOG)
        task = asyncio.create_task(sender.run())
        await until(lambda: len(source.local_rows) == 3, "the backlog")
        source.add(rows(2, seed=1))
        await until(lambda: len(source.local_rows) == 5, "fresh rows")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert source.leased == {}
        assert metrics.registry.get_sample_value("sidecar_forward_delivered_spans_total", {"destination": NAME}) == 8

    run(main())


def test_a_drain_moves_what_is_left() -> None:
    async def main() -> None:
        source = MemorySource()
        sender, _ = local(source)
        source.add(rows(LIMIT.max_spans + 10))
        await sender.drain()

        assert len(source.local_rows) == LIMIT.max_spans + 10

    run(main())


def test_the_number_of_kept_spans_is_passed_on() -> None:
    async def main() -> None:
        source = MemorySource()
        sender, _ = local(source, keep_spans=4)
        source.add(rows(10))
        await sender.drain()

        assert len(source.local_rows) == 4

    run(main())


def test_a_local_destination_is_always_up() -> None:
    sender, _ = local(MemorySource())
    sender.reload_keys()

    assert (sender.status().state, sender.status().paused) == ("closed", None)

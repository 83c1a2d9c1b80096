"""The `local` destination: spans count as delivered once they are among the kept ones of the buffer file."""

from __future__ import annotations

from sidecar.buffer.leases import Lane, LeaseLimit
from sidecar.clock import Clock
from sidecar.config import Destination
from sidecar.forward.sender import SenderStatus
from sidecar.forward.source import Source
from sidecar.observe.metrics import Metrics
from sidecar.sample.pressure import Pulse

LIMIT = LeaseLimit(max_bytes=1024 * 1024, max_raw_bytes=16 * 1024 * 1024, max_spans=2048)
"""Rows that move in one transaction: it stays under 20 ms."""
NOTHING_S = 0.1
"""The buffer had announced rows but leased none (they expired, say): a breath before the next look."""


class LocalSender:
    """Moves rows at once; there is nothing to wait for and nothing to retry."""

    def __init__(self, destination: Destination, source: Source, clock: Clock, metrics: Metrics) -> None:
        self._name, self._keep_spans = destination.name, destination.keep_spans
        self._source, self._clock, self._metrics = source, clock, metrics

    async def run(self) -> None:
        """Move rows until cancelled."""
        while True:
            await self._source.wait_for_work(self._name)
            if not await self._move():
                await self._clock.sleep(NOTHING_S)

    async def drain(self) -> None:
        """Move what is left."""
        while await self._move():
            pass

    def reload_keys(self) -> None:
        """There are none."""

    def pulse(self) -> Pulse:
        """The file takes what it is given."""
        return Pulse(self._name, is_up=True)

    def status(self) -> SenderStatus:
        return SenderStatus(self._name, "closed", None, None, 0, "")

    async def _move(self) -> int:
        moved = 0
        for lane in Lane:
            if lease := await self._source.lease(self._name, lane, LIMIT):
                await self._source.deliver_locally(lease, self._keep_spans)
                self._metrics.forward_delivered_spans.labels(self._name).inc(lease.spans)
                moved += lease.spans
        return moved

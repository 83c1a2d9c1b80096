"""Shedding on an open buffer: rounds of looking and deleting, between which everything else goes on.

Owns the order (lowest priority first, until the target is reached) and what a call adds up to. What is chosen and deleted
is ``shedding.py``'s. It must not know where the threshold comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sidecar.buffer.core import DiskRefused
from sidecar.buffer.records import Shed, ShedEnd, ShedTrace
from sidecar.buffer.shedding import Spare, Step, Sweep, step
from sidecar.buffer.traces import TraceFilter
from sidecar.buffer.worker import Worker

NEVER = 1 << 56
"""The threshold that nothing passes; one above the highest randomness."""
EXACT_THRESHOLDS = 256
_FIRST_BITS = ~((1 << 48) - 1)

Told = Callable[[Sequence[ShedTrace]], None]
"""Hears of the traces of each transaction right after its commit, some dozen at a time. Must not raise."""


class Tally:
    """What a call has given up so far."""

    def __init__(self) -> None:
        self.rows = self.spans = self.body_bytes = 0
        self.adjusted_spans = 0.0
        self.spans_by_threshold: dict[int, int] = {}

    def add(self, done: Step) -> None:
        self.rows += len(done.gone)
        self.body_bytes += sum(row.body_bytes for row in done.gone)
        for threshold, spans in done.passed:
            self.spans += spans
            if threshold < NEVER:
                self.adjusted_spans += spans * (NEVER / (NEVER - threshold))
            known = threshold in self.spans_by_threshold or len(self.spans_by_threshold) < EXACT_THRESHOLDS
            key = threshold if known else threshold & _FIRST_BITS
            self.spans_by_threshold[key] = self.spans_by_threshold.get(key, 0) + spans

    def shed(self, end: ShedEnd, reached: dict[int, int], before_id: int) -> Shed:
        return Shed(end, self.rows, self.spans, self.body_bytes, self.spans_by_threshold, self.adjusted_spans, reached, before_id)


class Shedder:
    """One call of ``Buffer.shed``."""

    def __init__(self, worker: Worker, reason: str, told: Told) -> None:
        self._worker = worker
        self._reason = reason
        self._told = told
        self._tally = Tally()
        self._reached: dict[int, int] = {}

    async def shed(self, threshold: int, priority_max: int, target_bytes: int) -> Shed:
        """See ``Buffer.shed``."""
        before_id = self._worker.core.next_id
        end = ShedEnd.NOTHING_LEFT
        try:
            for priority in range(priority_max + 1):
                if await self._level(priority, threshold, target_bytes):
                    end = ShedEnd.TARGET
                    break
        except DiskRefused:
            end = ShedEnd.DISK
        return self._tally.shed(end, self._reached, before_id)

    async def _level(self, priority: int, threshold: int, target_bytes: int) -> bool:
        """Shed traces of one priority, in rounds of what memory holds; True: the target is reached."""
        spared = TraceFilter()
        while (missing := target_bytes - self._tally.body_bytes) > 0:
            sweep = Sweep(priority, threshold, missing, spared)
            while await self._worker.submit(partial(self._scan, sweep)):
                pass
            while sweep.traces:
                await self._worker.submit(partial(self._step, sweep))
            self._reached[priority] = max(sweep.bound, self._reached.get(priority, 0))
            if not sweep.cut:
                break
        return self._tally.body_bytes >= target_bytes

    async def _scan(self, sweep: Sweep) -> bool:
        return await self._worker.run_waiting(sweep.scan, self._worker.core, self._spare())

    async def _step(self, sweep: Sweep) -> None:
        done = Step()
        try:
            await self._worker.run_waiting(step, self._worker.core, sweep, self._spare(), self._reason, done)
        finally:
            self._worker.lanes.gone(done.gone)
            self._tally.add(done)
            if done.traces:
                self._told(tuple(done.traces.values()))

    def _spare(self) -> Spare:
        held, delivered = self._worker.held_traces(), self._worker.delivered_traces
        return lambda trace_id: trace_id in held or trace_id in delivered

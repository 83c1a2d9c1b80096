"""Once a second: what presses, the keep probability that follows, budgets, and what has to leave a buffer that is nearly full.

Owns the measuring of signals, their order, and the tasks that do so. The rules are ``sidecar.sample``'s. It must not know spans,
nor how a destination is sent to: it asks for a ``Pulse``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from sidecar.buffer.buffer import Buffer
from sidecar.buffer.ledger import State as Counted
from sidecar.buffer.records import ShedEnd, ShedTrace
from sidecar.clock import Clock
from sidecar.config import Sampling as Settings
from sidecar.errors import BufferBroken, BufferError, BufferFull  # noqa: A004  (the tree's name is the field's)
from sidecar.observe.metrics import Metrics
from sidecar.receive.budget import InFlight
from sidecar.receive.sampling import Sampler
from sidecar.sample.budget import Spending, advance, cap
from sidecar.sample.controller import State, Tuning, step
from sidecar.sample.decision import Priority, threshold_of
from sidecar.sample.delay import Delay
from sidecar.sample.pressure import Pressure, Pulse, SetPoints, Signal, Signals, pressure
from sidecar.sample.window import Window

TICK_S = 1.0
LOOK_S = 0.1
"""Between looks at the event loop and at the bytes in flight: a hundred in the ten seconds of which the p95 counts."""
SHED_AT, SHED_TO = 0.95, 0.9
"""Fill of the buffer from which its backlog is shed, and down to which. Below, the keep probability alone has to do."""
SHED_AGAIN_S = 10.0
"""When too little could be shed: all that may go looked at again means reading the whole table."""
BACKLOG = "backlog"
"""Reason of what is shed, in the ledger."""
NOTE, REMEMBER_S = "sampling_budgets", 10.0
"""Under which name, and how often, it is kept how the budgets stand."""
QUIET_S = 60.0
"""Everything must have been kept for so long before the log says that sampling is over, so that it does not flutter."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the governor looks at and steers."""

    sampler: Sampler
    buffer: Buffer
    in_flight: InFlight
    pulses: Callable[[], Sequence[Pulse]]
    """Of all destinations."""
    cut_harder: Callable[[int | None], None]
    """Cut values longer than so many bytes; None: as the settings say."""


def set_points(settings: Settings, max_age_s: float) -> SetPoints:
    """Where pressure is 1."""
    return SetPoints(
        max_latency_ms=settings.max_latency_ms,
        max_loop_lag_ms=settings.max_latency_ms,
        max_delay_s=settings.max_delay_s,
        max_export_s=settings.max_export_s,
        in_flight_fraction=settings.max_in_flight_percent / 100,
        buffer_fill=settings.max_fill_percent / 100,
        max_drain_s=max_age_s / 2,
    )


class Governor:
    """The state of sampling from second to second."""

    def __init__(self, parts: Parts, settings: Settings, clock: Clock, metrics: Metrics, log: logging.Logger) -> None:
        self._parts = parts
        self._points = set_points(settings, parts.buffer.max_age_s)
        self._tuning = Tuning(floor=settings.min_probability, dwell_s=settings.dwell_s, growth_per_s=settings.growth_per_s)
        self._clock = clock
        self._metrics = metrics
        self._log = log
        now_s = clock.monotonic()
        self._state = State(now_s)
        self._lags_ms, self._in_flight = Window(), Window()
        self._delays: dict[str, Delay] = {}
        self._taken = Delay()
        self._spendings: dict[str, Spending] = {}
        self._nearly_full = asyncio.Event()
        self._lowest = threshold_of(settings.min_probability)
        self._sampled_since_s: float | None = None
        self._kept_all_since_s = now_s
        self._show_limbo()
        self._show(Pressure(0.0, Signal.NONE, {}))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(), name="sampling signals")
            tasks.create_task(self._tick(), name="sampling control")
            tasks.create_task(self._shed(), name="sampling backlog")
            tasks.create_task(self._remember(), name="sampling budgets")

    async def _look(self) -> None:
        while True:
            due_s = self._clock.monotonic() + LOOK_S
            await self._clock.sleep(LOOK_S)
            now_s = self._clock.monotonic()
            self._lags_ms.add((now_s - due_s) * 1000, now_s)
            self._in_flight.add(self._parts.in_flight.fraction, now_s)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        """One second's work."""
        now_s, sampler = self._clock.monotonic(), self._parts.sampler
        felt = pressure(self._signals(now_s), self._points)
        self._state = step(self._state, felt.value, now_s, self._tuning)
        sampler.probability = min(self._state.probability, *self._caps(now_s))
        degrade = sampler.rules.degrade
        self._parts.cut_harder(degrade.max_value_bytes if degrade is not None and felt.value > degrade.above_pressure else None)
        sampler.limbo.expire(now_s)
        if self._parts.buffer.fill >= SHED_AT:
            self._nearly_full.set()
        self._show(felt)
        self._say(felt, now_s)

    async def _shed(self) -> None:
        while True:
            await self._nearly_full.wait()
            self._nearly_full.clear()
            try:
                enough = await self._shed_once()
            except BufferBroken:
                raise
            except (BufferFull, BufferError) as error:
                self._log.warning("the backlog could not be shed", extra={"reason": str(error)})
                enough = False
            if not enough:
                await self._clock.sleep(SHED_AGAIN_S)

    async def _shed_once(self) -> bool:
        """Give up whole traces of the backlog until the buffer is at ``SHED_TO``; errors stay, and of all else what the least probability keeps."""
        buffer, metrics = self._parts.buffer, self._metrics
        target_bytes = buffer.pending_bytes - int(SHED_TO * buffer.limit_bytes)
        if target_bytes <= 0:
            return True
        shed = await buffer.shed(self._lowest, Priority.RULE, target_bytes, BACKLOG, self._told)
        buffer.raise_thresholds(shed)
        metrics.sampling_shed_adjusted_spans.inc(shed.adjusted_spans)
        self._log.warning(
            "the buffer is nearly full: traces of its backlog were given up",
            extra={"spans": shed.spans, "bytes": shed.body_bytes, "end": shed.end.value},
        )
        return shed.end is ShedEnd.TARGET

    def _told(self, traces: Sequence[ShedTrace]) -> None:
        decisions = self._parts.sampler.decisions
        for each in traces:
            decisions.shed(each.trace_id, each.randomness, each.spans, each.randomness + 1)

    def _caps(self, now_s: float) -> Iterator[float]:
        """What each budget allows."""
        usage, budgets = self._parts.sampler.take_usage(), self._parts.sampler.rules.budgets
        yield 1.0
        for name, budget in budgets.items():
            offered, kept = usage.of(name)
            spending = advance(self._spendings.get(name) or Spending(now_s), budget, offered, kept, now_s)
            self._spendings[name] = spending
            allowed = cap(spending, budget)
            self._metrics.sampling_budget_cap.labels(name).set(allowed)
            yield allowed

    async def recall(self) -> None:
        """How the budgets stood when the last process ended. What nobody remembers begins with nothing saved up."""
        text, now_s = await self._parts.buffer.recall(NOTE), self._clock.monotonic()
        try:
            saved = msgspec.json.decode(text or "{}", type=dict[str, tuple[float, float]])
        except msgspec.MsgspecError:
            saved = {}
        self._spendings = {name: Spending(now_s, left, offered_per_s) for name, (left, offered_per_s) in saved.items()}

    async def remember(self) -> None:
        """Keep how the budgets stand, if there are any."""
        if not self._parts.sampler.rules.budgets:
            return
        saved = {name: (each.saved, each.offered_per_s) for name, each in self._spendings.items()}
        try:
            await self._parts.buffer.remember(NOTE, msgspec.json.encode(saved).decode())
        except BufferBroken:
            raise
        except (BufferFull, BufferError) as error:
            self._log.warning("how the sampling budgets stand could not be kept", extra={"reason": str(error)})

    async def _remember(self) -> None:
        while True:
            await self._clock.sleep(REMEMBER_S)
            await self.remember()

    def _signals(self, now_s: float) -> Signals:
        parts, pulses = self._parts, self._parts.pulses()
        delays: list[float] = []
        for pulse in pulses:
            status = parts.buffer.status(pulse.name)
            watched = self._delays.setdefault(pulse.name, Delay())
            delay_s = watched.look(is_up=pulse.is_up, unsent=status.unsent_rows, left=status.left_rows, now_s=now_s)
            if delay_s is not None:
                delays.append(delay_s)
        all_up = all(pulse.is_up for pulse in pulses)
        if all_up:
            # An outage says nothing of what the destination can take: the last good rate stays.
            taken = parts.buffer.ledger.totals.get((Counted.DELIVERED.value, ""), 0)
            self._taken.look(is_up=True, unsent=0, left=taken, now_s=now_s)
            parts.sampler.decisions.allowance.use_rate(self._taken.rows_per_s)
        return Signals(
            intake_p95_ms=parts.sampler.answers_ms.quantile(0.95, now_s),
            loop_lag_ms=self._lags_ms.quantile(0.95, now_s),
            delivery_delay_s=max(delays, default=None),
            export_p95_s=max((pulse.export_p95_s for pulse in pulses if pulse.is_up and pulse.export_p95_s is not None), default=None),
            in_flight_fraction=self._in_flight.quantile(0.95, now_s),
            buffer_fill=parts.buffer.fill,
            drain_s=parts.buffer.drain_s if all_up else None,
        )

    def _show(self, felt: Pressure) -> None:
        metrics, sampler = self._metrics, self._parts.sampler
        metrics.sampling_pressure.set(felt.value)
        for signal in Signal:
            if signal is not Signal.NONE:
                metrics.sampling_signal_pressure.labels(signal.value).set(felt.by_signal.get(signal, 0.0))
        metrics.sampling_keep_probability.set(sampler.probability)
        for rule, spans in sampler.decisions.excess.items():
            metrics.sampling_excess_spans.labels(rule).inc(spans)
        sampler.decisions.excess.clear()
        metrics.sampling_limbo_evicted_rows.inc(sampler.limbo.evicted_rows)
        metrics.sampling_forgotten_traces.inc(sampler.decisions.forgotten)
        sampler.limbo.evicted_rows = sampler.decisions.forgotten = 0

    def _show_limbo(self) -> None:
        metrics, sampler = self._metrics, self._parts.sampler
        metrics.sampling_limbo_bytes.set_function(lambda: sampler.limbo.size_bytes)
        metrics.sampling_limbo_rows.set_function(lambda: sampler.limbo.rows)
        metrics.sampling_traces.set_function(lambda: len(sampler.decisions))

    def _say(self, felt: Pressure, now_s: float) -> None:
        """One line when sampling begins, and one when it has been over for a while."""
        if self._parts.sampler.probability < 1:
            self._kept_all_since_s = now_s
            if self._sampled_since_s is None:
                self._sampled_since_s = now_s
                self._log.warning(
                    "traces are left out until pressure falls; errors and what keep rules name are kept",
                    extra={"signal": felt.worst.value, "pressure": round(felt.value, 2)},
                )
        elif self._sampled_since_s is not None and now_s - self._kept_all_since_s >= QUIET_S:
            self._log.info("everything is kept again", extra={"sampled_s": round(self._kept_all_since_s - self._sampled_since_s, 1)})
            self._sampled_since_s = None


@asynccontextmanager
async def governed(parts: Parts, settings: Settings, clock: Clock, metrics: Metrics, log: logging.Logger) -> AsyncIterator[Governor]:
    """Steer sampling while the block runs."""
    governor = Governor(parts, settings, clock, metrics, log)
    await governor.recall()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(governor.run(), name="sampling")
        yield governor
        task.cancel()
    await governor.remember()

"""The governor over a real buffer, on time that the test moves: what presses and what does not, and what follows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sidecar.buffer.buffer import Buffer
from sidecar.buffer.leases import Lane, LeaseLimit
from sidecar.config import Sampling
from sidecar.observe.metrics import Metrics
from sidecar.receive.budget import InFlight
from sidecar.receive.governor import LOOK_S, NOTE, QUIET_S, Governor, Parts, governed
from sidecar.receive.sampling import Sampler, Usage, keep_rules_file
from sidecar.sample.decision import Glimpse, Reason
from sidecar.sample.pressure import Pulse
from tests.buffer.builders import append, buffer, lease_all, row, run
from tests.fakes.clock import FakeClock
from tests.forward.rig import Lines, logger
from tests.waiting import until

MIB = 1 << 20


@dataclass
class Bench:
    """A governor and what it looks at; destinations are what the test says of them."""

    governor: Governor
    sampler: Sampler
    buffer: Buffer
    in_flight: InFlight
    clock: FakeClock
    metrics: Metrics
    lines: Lines
    pulses: list[Pulse] = field(default_factory=list)
    cuts: list[int | None] = field(default_factory=list)
    """What cutting was told, second by second."""
    number: int = 0

    async def seconds(self, count: int, *, load: int = 0, speed: int = 0, answer_ms: float = 5.0, size: int = 10) -> None:
        """So many seconds, in each of which ``load`` rows come and up to ``speed`` leave."""
        for _ in range(count):
            for _ in range(20):
                self.sampler.answered(self.clock.monotonic() - answer_ms / 1000)
            if load:
                self.number += load
                rows = (row(bytes(size), trace=self.number - index, received_ms=self.clock.wall_ms()) for index in range(load))
                await self.buffer.append(append(*rows))
            left = speed
            for lane in Lane:
                while left > 0 and (lease := await self.buffer.lease("default", lane, LeaseLimit(size * left, MIB, MIB))):
                    left -= len(lease.rows)
                    await self.buffer.delivered(lease)
            await self.clock.advance(1)

    def sees(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"sidecar_sampling_{name}", labels) or 0.0


@asynccontextmanager
async def bench(path: Path, rules: object = None, pulses: Sequence[Pulse] = (Pulse("default", True),), **values: object) -> AsyncIterator[Bench]:
    clock, metrics = FakeClock(), Metrics(CollectorRegistry())
    log, lines = logger()
    settings = Sampling(**values)  # type: ignore[arg-type]  # the settings' own fields
    file = keep_rules_file(settings, {})
    file._good = (file._parse({} if rules is None else rules),)
    sampler, in_flight, live = Sampler(file, settings, lambda _: None, clock, metrics), InFlight(MIB), list(pulses)
    cuts: list[int | None] = []
    async with (
        buffer(path / "b.db", clock=clock, metrics=metrics, max_mib=1) as found,
        governed(Parts(sampler, found, in_flight, lambda: live, cuts.append), settings, clock, metrics, log) as governor,
    ):
        await clock.settle()
        yield Bench(governor, sampler, found, in_flight, clock, metrics, lines, live, cuts)


def test_a_healthy_sidecar_keeps_everything(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path) as at:
            await at.seconds(60, load=50, speed=100)

            assert at.sampler.probability == 1
            assert at.sees("keep_probability") == 1
            assert 0 < at.sees("pressure") < 0.5
            assert at.lines.events == []

    run(body())


def test_slow_answers_press_and_when_they_are_fast_again_everything_is_kept(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path) as at:
            await at.seconds(10, answer_ms=200)
            assert at.sampler.probability == pytest.approx(1 / 8, rel=0.2)
            assert at.sees("signal_pressure", signal="intake") == pytest.approx(2, rel=0.07)
            assert at.sees("keep_probability") == at.sampler.probability
            assert at.lines.fields("traces are left out until pressure falls; errors and what keep rules name are kept")["signal"] == "intake"

            await at.seconds(12)
            assert at.sampler.probability < 0.2, "it waits before it rises"
            await at.seconds(100)
            assert at.sampler.probability == 1
            await at.seconds(int(QUIET_S))
            assert at.lines.events[-1] == "everything is kept again"
            assert len(at.lines.events) == 2

    run(body())


def test_a_late_event_loop_presses(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path) as at:
            for _ in range(30):
                # time passes in leaps, so that whoever sleeps wakes late
                at.clock._now_s += 0.3
                await at.clock.advance(0.0)

            assert at.sees("signal_pressure", signal="loop") == pytest.approx((300 - LOOK_S * 1000) / 100, rel=0.1)
            assert at.sampler.probability < 1

    run(body())


def test_bytes_in_flight_press_while_they_stay_high(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path) as at, at.in_flight.take(MIB // 5), at.in_flight.take(MIB // 5), at.in_flight.take(MIB // 5):
            async with at.in_flight.take(MIB // 5), at.in_flight.take(MIB // 6):
                await at.seconds(10)
                assert at.sees("signal_pressure", signal="in_flight") == pytest.approx(0.967 / 0.8, rel=0.07)
            await at.seconds(11)

            assert at.sees("signal_pressure", signal="in_flight") == pytest.approx(0.6 / 0.8, rel=0.07)

    run(body())


def test_a_destination_that_falls_behind_presses_until_it_has_caught_up(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path) as at:
            await at.seconds(10, load=30, speed=30)
            await at.seconds(20, load=90, speed=30)
            assert at.sees("signal_pressure", signal="delay") > 2
            assert at.sampler.probability < 0.2

            await at.seconds(60, speed=60)
            await at.seconds(120)
            assert at.sees("signal_pressure", signal="delay") == 0
            assert at.sampler.probability == 1

    run(body())


def test_a_slow_destination_presses_by_its_answers(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path, pulses=[Pulse("default", True, 30.0), Pulse("other", False, 90.0)]) as at:
            await at.seconds(5)

            assert at.sees("signal_pressure", signal="export") == 2

    run(body())


@pytest.mark.parametrize("other_is_up", [True, False])
def test_how_long_the_backlog_takes_counts_only_while_every_destination_is_up(tmp_path: Path, other_is_up: bool) -> None:
    """What waits for one that is down says nothing of the others' speed."""

    async def body() -> None:
        async with bench(tmp_path, pulses=[Pulse("default", True), Pulse("other", other_is_up)]) as at:
            await at.buffer.append(append(*(row(bytes(7000), trace=number, destination="other") for number in range(100))))
            await at.seconds(5, load=1, speed=1)

            assert (at.sees("signal_pressure", signal="drain") > 0) is other_is_up

    run(body())


def test_an_outage_presses_only_when_the_buffer_nears_its_bound(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path, pulses=[Pulse("default", False)]) as at:
            await at.seconds(10, load=10, size=7000)
            assert at.buffer.fill == pytest.approx(0.667, rel=0.01)
            assert (at.sees("signal_pressure", signal="buffer") < 1, at.sampler.probability) == (True, 1)

            await at.seconds(3, load=10, size=7000)
            assert at.sees("signal_pressure", signal="buffer") > 1
            assert at.sampler.probability < 1
            assert all(at.sees("signal_pressure", signal=each) == 0 for each in ("delay", "drain", "export"))

    run(body())


def test_a_buffer_that_is_nearly_full_gives_up_traces_of_its_backlog_but_no_error(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path, pulses=[Pulse("default", False)]) as at:
            rows = [
                row(bytes(7000), trace=number, randomness=number << 48, priority=3 if number % 3 == 0 else 0, threshold=1 << 55)
                for number in range(147)
            ]
            await at.buffer.append(append(*rows))
            assert at.buffer.fill > 0.95
            await at.clock.advance(1)
            await until(lambda: at.buffer.fill <= 0.9, "the backlog to be shed")
            shed = at.buffer.ledger.totals["shed", "backlog"]
            await until(lambda: at.sees("shed_adjusted_spans_total") == 2 * shed, "the weight of what was shed")
            leases = await lease_all(at.buffer)

            left = {each.trace_id for lease in leases for each in lease.rows}
            assert {each.trace_id for each in rows if each.priority == 3} <= left
            assert len(left) == 147 - shed
            gone = Glimpse(next(each.trace_id for each in rows if each.trace_id not in left))
            gone.spans = 1
            decision = at.sampler.decisions.decide(gone, 1.0, at.clock.monotonic())
            assert (decision.kept, decision.reason) == (False, Reason.SHED)
            assert "the buffer is nearly full: traces of its backlog were given up" in at.lines.events

    run(body())


def test_where_only_errors_wait_nothing_is_shed_and_the_backlog_is_not_read_again_at_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path, pulses=[Pulse("default", False)]) as at:
            await at.buffer.append(append(*(row(bytes(7000), trace=number, priority=3) for number in range(147))))
            for _ in range(5):
                await at.clock.advance(1)
                await until(lambda: bool(at.lines.events), "the attempt")

            assert at.lines.events.count("the buffer is nearly full: traces of its backlog were given up") == 1
            assert at.buffer.pending_spans == 147

    run(body())


def test_keep_rules_may_take_a_share_of_what_was_delivered_and_an_outage_does_not_change_that(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path, {"capacity": {"share": 0.5}}) as at:
            await at.seconds(10, load=400, speed=400)
            allowance = at.sampler.decisions.allowance
            assert allowance.level_spans == 500, "the burst of a rate of 50"
            allowance.take(500, at.clock.monotonic(), urgent=True)
            await at.seconds(1)
            at.pulses[:] = [Pulse("default", False)]
            await at.seconds(30)
            allowance.take(1, at.clock.monotonic(), urgent=True)

            assert allowance.level_spans == pytest.approx(2000, rel=0.1)

    run(body())


def spend(at: Bench, offered: int, kept: int) -> None:
    at.sampler.usage = Usage(offered, kept, offered, kept)


def test_a_budget_lowers_the_probability_without_any_pressure_and_is_remembered_over_a_restart(tmp_path: Path) -> None:
    rules = {"budget": {"units_per_month": 31 * 86400 * 10}}

    async def body() -> None:
        async with bench(tmp_path, rules) as at:
            for _ in range(60):
                spend(at, 100, 100)
                await at.clock.advance(1)
            spent = at.sampler.probability
            assert spent < 0.7
            assert at.sees("budget_cap", budget="units") == spent == at.sees("keep_probability")
            assert at.sees("pressure") < 1
        async with bench(tmp_path, rules) as at:
            await at.clock.advance(1)
            assert at.sampler.probability == pytest.approx(spent, rel=0.05)

    run(body())


def test_a_note_that_nobody_can_read_begins_the_budgets_anew(tmp_path: Path) -> None:
    rules = {"budget": {"mib_per_day": 1}}

    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.remember(NOTE, "[]")
        async with bench(tmp_path, rules) as at:
            await at.clock.advance(11)
            assert at.sampler.probability == 1
            note = await at.buffer.recall(NOTE)
            assert note is not None
            assert set(json.loads(note)) == {"bytes"}

    run(body())


def test_values_are_cut_harder_before_traces_are_left_out(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(tmp_path, {"degrade": {"max_value_kib": 8, "above_pressure": 0.8}}) as at:
            cuts = []
            for answer_ms in (5, 90, 5):
                await at.seconds(12, answer_ms=answer_ms)
                cuts.append((at.cuts[-1], at.sampler.probability))

            assert cuts == [(None, 1), (8192, 1), (None, 1)]

    run(body())


def test_nothing_is_left_running_when_the_block_ends(tmp_path: Path) -> None:
    async def body() -> None:
        before = asyncio.all_tasks()
        async with bench(tmp_path):
            pass
        assert asyncio.all_tasks() == before

    run(body())

"""Sampling in the real process: what is kept says how it was chosen, what is dropped is counted, and errors arrive."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.pressed import Outcome, Plan, play, problems, report
from sidecar.sample.decision import threshold_of
from tests.acceptance.sending import send_now
from tests.fakes.langfuse import langfuse_thread
from tests.fakes.langfuse_mapping import plain_attributes
from tests.processes import sidecar_process
from tests.spans import request, span
from tests.waiting import pause

pytestmark = pytest.mark.acceptance

METADATA = "langfuse.observation.metadata."
SAMPLED = {"enrichment": {"enabled": True, "settle_s": 0}, "sampling": {"enabled": True}}


def trace_of(chance: random.Random, spans: int, *, error_at: int | None = None) -> list[ExportTraceServiceRequest]:
    """A trace, one request a span, the root last; the span at ``error_at`` fails."""
    trace_id, root = chance.randbytes(16), chance.randbytes(8)
    made = [
        span(
            trace_id=trace_id,
            span_id=root if number == spans - 1 else chance.randbytes(8),
            parent=b"" if number == spans - 1 else root,
            name="step",
            error="boom" if number == error_at else None,
        )
        for number in range(spans)
    ]
    return [request(each) for each in made]


def randomness(trace_id: bytes) -> int:
    return int.from_bytes(trace_id[9:], "big")


def test_a_base_probability_keeps_whole_traces_by_their_randomness_and_every_error(tmp_path: Path) -> None:
    chance = random.Random(11)
    plain = [trace_of(chance, 3) for _ in range(200)]
    failing = [trace_of(chance, 3, error_at=1) for _ in range(10)]
    environment = {"LANGFUSE_SAMPLE_RATE": "0.25"}
    rules = tmp_path / "sampling.yaml"
    rules.write_text("minimum_per_minute: 0\n", encoding="utf-8")
    settings = {**SAMPLED, "sampling": {"enabled": True, "rules": str(rules)}}
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, settings, environment=environment) as sidecar:
        for number in range(3):
            send_now(sidecar, [trace[number] for trace in (*plain, *failing)])
        ledger = sidecar.settled()
        got = fake.seen.spans()

    t = threshold_of(0.25)
    by_chance = {trace[0].resource_spans[0].scope_spans[0].spans[0].trace_id for trace in plain}
    expected = {trace_id for trace_id in by_chance if randomness(trace_id) >= t}
    errors = {trace[0].resource_spans[0].scope_spans[0].spans[0].trace_id for trace in failing}
    assert {each.span.trace_id for each in got} == expected | errors
    assert len(got) == 3 * (len(expected) + len(errors)), "traces are whole"
    assert ledger.problems() == []
    assert ledger.spans["sampled", "probability"] - ledger.total("rescued") == 3 * (200 - len(expected))
    for each in got:
        said = dict(plain_attributes(each.span.attributes))
        if each.span.trace_id in expected:
            assert (said[f"{METADATA}sampling_probability"], said[f"{METADATA}sampling_adjusted_count"]) == ("0.25", "4")
            assert each.span.trace_state == "ot=th:c"
        else:
            assert f"{METADATA}sampling_rule" in said or f"{METADATA}sampling_rescued" in said or said[f"{METADATA}sampling_adjusted_count"] == "4"


def test_keep_rules_are_followed_while_it_runs_and_a_bad_version_changes_nothing(tmp_path: Path) -> None:
    chance, rules = random.Random(12), tmp_path / "sampling.yaml"
    rules.write_text("probabilities: [{match: {service: quiet}, probability: 0}]\nminimum_per_minute: 0\n", encoding="utf-8")
    settings = {**SAMPLED, "sampling": {"enabled": True, "rules": str(rules)}}

    def sampled() -> int:
        return sidecar.ledger().total("sampled")

    def send() -> None:
        send_now(sidecar, [request(span(trace_id=chance.randbytes(16)), resource={"service.name": "quiet"})])

    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, settings) as sidecar:
        send()
        assert sampled() == 1

        rules.write_text("probabilities: nonsense", encoding="utf-8")
        sidecar.signal(signal.SIGHUP)
        sidecar.wait_until(lambda: sidecar.metric("sidecar_config_reloads_total", outcome="failed") >= 1, 10, "the refused version")
        send()
        assert sampled() == 2

        before = sidecar.metric("sidecar_config_reloads_total", outcome="ok")  # the signal read keys too, and those were well
        rules.write_text("{}", encoding="utf-8")
        sidecar.wait_until(lambda: sidecar.metric("sidecar_config_reloads_total", outcome="ok") > before, 10, "the next version")
        send()
        assert sampled() == 2
        assert sidecar.settled().total("delivered") == 1


async def lateness_ms(stop: asyncio.Event) -> float:
    """p99 of how late this very process is woken: what the machine does beside the test."""
    late: list[float] = []
    while not stop.is_set():
        due = time.perf_counter() + 0.01
        await pause(0.01)
        late.append((time.perf_counter() - due) * 1000)
    return sorted(late)[int(0.99 * len(late))]


def test_a_destination_that_takes_a_third_of_the_load_costs_agents_nothing_and_no_error_is_lost(tmp_path: Path) -> None:
    """Set-points, dwell and rise are quicker than the defaults, so that a minute shows what five minutes do; `python -m bench.pressed` plays those."""
    quick = {"max_delay_s": 3, "max_latency_ms": 1000, "dwell_s": 3, "growth_per_s": 1.2, "limbo_s": 10}
    plan = Plan(
        180, 60, quiet_s=5, load_s=40, after_s=60, traces_a_request=2, part_gap_s=1.5, errors=0.04, max_mib=16, sampling=quick, batch_spans=60
    )

    async def scenario() -> tuple[Outcome, float]:
        stop = asyncio.Event()
        measuring = asyncio.create_task(lateness_ms(stop))
        outcome = await play(plan, tmp_path)
        stop.set()
        return outcome, await measuring

    outcome, busy_ms = asyncio.run(scenario())

    # where others keep the machine busy, an answer waits for its turn like everybody else
    assert problems(plan, outcome, p99_ms=max(100.0, 20 * busy_ms)) == [], report(plan, outcome)
    assert outcome.errors > 30
    assert outcome.arrived < 0.75 * outcome.sent
    assert 0.7 < outcome.estimate / outcome.sent < 1.4
    assert max(each.rss_mib for each in outcome.history) < 200

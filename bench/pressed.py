"""A destination that takes a third of the load: what agents notice, what is kept, and how it ends.

    python -m bench.pressed                          3,000 spans/s for five minutes against a destination that takes 1,000
    python -m bench.pressed --svg docs/pressed.svg   and a picture of it

The real program as a process, enrichment and masking on. Traces of eight spans come in two requests, two seconds apart, their roots last;
of two traces in a hundred one span fails. The destination decodes what it gets with OpenTelemetry's own classes and answers after as long as its
speed says, one request at a time. Exit status 1 when something does not hold. The acceptance test plays the same in a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import random
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from bench.load import Client, Result
from bench.plot import Panel, Series, svg
from sidecar.wire.attributes import delimited
from sidecar.wire.batch import count_spans
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest as Shallow
from tests.processes import Ledger, Sidecar, sidecar_process
from tests.spans import span

PARTS, SPANS_A_PART = 2, 4
TRACE_SPANS = PARTS * SPANS_A_PART
AGENTS = ("planner", "pricing", "inventory", "refunds", "greeter")
ADJUSTED = "langfuse.observation.metadata.sampling_adjusted_count"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How much for how long."""

    load_spans_per_s: float = 3000.0
    takes_spans_per_s: float = 1000.0
    quiet_s: float = 20.0
    """Before, at a third of what the destination takes."""
    load_s: float = 300.0
    after_s: float = 300.0
    """At most, until everything is kept and delivered again; at the same third."""
    traces_a_request: int = 10
    """That begin with it; as many go on, and as many end."""
    part_gap_s: float = 2.0
    errors: float = 0.02
    bytes_a_span: int = 400
    max_mib: float = 64.0
    sampling: Mapping[str, object] = field(default_factory=dict)
    batch_spans: int = 1000

    @property
    def config(self) -> dict[str, object]:
        """Of the sidecar."""
        return {
            "enrichment": {"enabled": True},
            "masking": {"enabled": True},
            "sampling": {"enabled": True, **self.sampling},
            "buffer": {"max_mib": self.max_mib},
            "forward": {"batch_spans": self.batch_spans, "linger_ms": 500, "timeout_s": 60},
        }


@dataclass
class Destination:
    """What a slow destination got. It is read after the story, so that reading costs nobody's time."""

    spans_per_s: float
    _bodies: list[bytes] = field(default_factory=list)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, asked: web.Request) -> web.Response:
        body = await asked.read()
        count = count_spans(Shallow.FromString(gzip.decompress(body)))
        async with self._one:
            await asyncio.sleep(count / self.spans_per_s)
        self._bodies.append(body)
        return web.json_response({"name": "otel-ingestion-job"})

    def read(self) -> tuple[set[tuple[bytes, bytes]], float]:
        """(trace id, span id) of the spans that came, and how many they stand for."""
        seen: set[tuple[bytes, bytes]] = set()
        adjusted = 0.0
        for body in self._bodies:
            sent = ExportTraceServiceRequest.FromString(gzip.decompress(body))
            for each in (each for resource in sent.resource_spans for scope in resource.scope_spans for each in scope.spans):
                if (each.trace_id, each.span_id) not in seen:
                    seen.add((each.trace_id, each.span_id))
                    adjusted += float(next((said.value.string_value for said in each.attributes if said.key == ADJUSTED), "1"))
        return seen, adjusted


@asynccontextmanager
async def listening(destination: Destination) -> AsyncIterator[str]:
    """Its base URL."""
    app = web.Application(client_max_size=64 * MIB)
    app.router.add_post("/api/public/otel/v1/traces", destination.take)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Template:
    """A span in pieces, between which its ids belong: making each anew would cost more than the sidecar spends on it."""

    TRACE, SPAN, PARENT = b"\0TRACE-ID-HERE-\0", b"\0SPAN-I\0", b"\0PARENT\0"

    def __init__(self, agent: str, *, is_root: bool, fails: bool, filler: int) -> None:
        made = span(
            trace_id=self.TRACE,
            span_id=self.SPAN,
            parent=b"" if is_root else self.PARENT,
            name="answer" if is_root else "step",
            error="boom" if fails else None,
            attributes={
                "gen_ai.operation.name": "invoke_agent" if is_root else "chat",
                "gen_ai.agent.name": agent,
                "gen_ai.request.model": "gpt-4o-mini",
                "gen_ai.usage.input_tokens": 100,
                "note": "steady " * (filler // 7),
            },
        )
        self._raw = delimited(b"\x12", made.SerializeToString())

    def filled(self, trace_id: bytes, span_id: bytes, root_id: bytes) -> bytes:
        """As a field of its scope."""
        return self._raw.replace(self.TRACE, trace_id, 1).replace(self.SPAN, span_id, 1).replace(self.PARENT, root_id, 1)


@dataclass
class Agents:
    """What agents send: each request begins some traces, goes on with others and ends others with their roots."""

    plan: Plan
    sent: int = 0
    failed: set[tuple[bytes, bytes]] = field(default_factory=set)
    """(trace id, span id) of spans that failed."""
    matter: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    """Traces with a failed span, and all their spans."""

    def __post_init__(self) -> None:
        self._chance = random.Random(1)
        self._templates = {
            (number, is_root, fails): Template(agent, is_root=is_root, fails=fails, filler=self.plan.bytes_a_span)
            for number, agent in enumerate(AGENTS)
            for is_root in (False, True)
            for fails in (False, True)
        }
        self._stages: list[deque[tuple[float, list[_Trace]]]] = [deque() for _ in range(PARTS - 1)]

    def body(self, now_s: float, *, begins: bool = True) -> bytes:
        """The request that is due now. What began ``part_gap_s`` ago goes on, however fast requests come."""
        begin = [_Trace(self._chance, self.plan.errors) for _ in range(self.plan.traces_a_request if begins else 0)]
        spans = self._part(begin, 0)
        due_s = now_s - self.plan.part_gap_s
        going: list[_Trace] = begin
        for part, stage in enumerate(self._stages, 1):
            stage.append((now_s, going))
            going = []
            while stage and stage[0][0] <= due_s:
                going += stage.popleft()[1]
            spans += self._part(going, part)
        self.sent += len(spans)
        return delimited(b"\x0a", delimited(b"\x12", b"".join(spans)))

    def _part(self, traces: list[_Trace], part: int) -> list[bytes]:
        spans = []
        for trace in traces:
            for index in range(part * SPANS_A_PART, (part + 1) * SPANS_A_PART):
                fails = index == trace.fails_at
                if fails:
                    self.failed.add((trace.id, trace.span_ids[index]))
                    self.matter[trace.id] = trace.span_ids
                template = self._templates[trace.id[0] % len(AGENTS), index == TRACE_SPANS - 1, fails]
                spans.append(template.filled(trace.id, trace.span_ids[index], trace.span_ids[-1]))
        return spans


class _Trace:
    __slots__ = ("fails_at", "id", "span_ids")

    def __init__(self, chance: random.Random, errors: float) -> None:
        self.id = chance.randbytes(16)
        self.span_ids = tuple(chance.randbytes(8) for _ in range(TRACE_SPANS))
        self.fails_at = chance.randrange(TRACE_SPANS) if chance.random() < errors else None


@dataclass(frozen=True, slots=True)
class Second:
    """What was seen in one second."""

    at_s: float
    offered: float
    delivered: float
    probability: float
    pressure: float
    worst_answer_ms: float
    pending_spans: float
    buffer_mib: float
    rss_mib: float


@dataclass
class Outcome:
    """What came of it."""

    history: list[Second] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    refused: int = 0
    ledger: Ledger = field(default_factory=lambda: Ledger({}, 0))
    missing_errors: int = 0
    torn: int = 0
    """Traces with an error of which a span is missing."""
    errors: int = 0
    sent: int = 0
    arrived: int = 0
    estimate: float = 0.0
    """Of the spans sent, by the adjusted counts of those that arrived."""
    recovered_s: float | None = None
    """From the end of the load until everything was kept again."""
    disk_mib: float = 0.0

    @property
    def p99_ms(self) -> float:
        return sorted(self.latencies_ms)[int(0.99 * len(self.latencies_ms))] if self.latencies_ms else 0.0


class Watch:
    """Looks at the sidecar once a second, as Prometheus would."""

    def __init__(self, sidecar: Sidecar, outcome: Outcome, result: Result, agents: Agents) -> None:
        self._sidecar, self._outcome, self._result, self._agents = sidecar, outcome, result, agents
        self._began = time.perf_counter()
        self._before = (0.0, 0, 0.0, 0)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self.look()

    async def look(self) -> None:
        found: defaultdict[str, float] = defaultdict(float)
        status, text = await asyncio.to_thread(self._sidecar.admin, "/metrics")
        if status != 200:
            return
        for family in text_string_to_metric_families(text):
            for name, labels, value, *_ in family.samples:
                found[f"{name}:{labels.get('state', '')}"] += value
        at_s, delivered = time.perf_counter() - self._began, found["sidecar_ledger_spans_total:delivered"]
        then_s, sent, taken, answers = self._before
        elapsed_s, latencies = at_s - then_s, self._result.latencies_s
        self._before = (at_s, self._agents.sent, delivered, len(latencies))
        self._outcome.disk_mib = max(self._outcome.disk_mib, sum(each.stat().st_size for each in self._sidecar.data_dir.glob("buffer.db*")) / MIB)
        self._outcome.history.append(
            Second(
                at_s,
                (self._agents.sent - sent) / elapsed_s,
                (delivered - taken) / elapsed_s,
                found["sidecar_sampling_keep_probability:"],
                found["sidecar_sampling_pressure:"],
                max(latencies[answers:], default=0.0) * 1000,
                found["sidecar_ledger_pending_spans:"],
                found["sidecar_buffer_bytes:"] / MIB,
                found["process_resident_memory_bytes:"] / MIB,
            )
        )


async def send(port: int, agents: Agents, spans_per_s: float, seconds: float, result: Result, until: asyncio.Event) -> None:
    """At a fixed rate, until the time is over or ``until`` is set; latency counts from the moment a request was due."""
    idle: list[Client] = []
    began = time.perf_counter()
    per_s = spans_per_s / (agents.plan.traces_a_request * TRACE_SPANS)

    async def one(body: bytes, due: float) -> None:
        client = idle.pop() if idle else await Client(port).__aenter__()
        try:
            status = await client.post(body)
        except (asyncio.IncompleteReadError, ConnectionError):  # a connection that was idle for long was closed: any client opens another one
            await client.__aexit__()
            client = await Client(port).__aenter__()
            status = await client.post(body)
        result.latencies_s.append(time.perf_counter() - due)
        result.requests += 1
        result.refused += status != 200
        idle.append(client)

    async with asyncio.TaskGroup() as group:
        number = 0
        while (due := began + number / per_s) < began + seconds and not until.is_set():
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(agents.body(due), due))
            number += 1
    for each in idle:
        await each.__aexit__()


async def finish(port: int, agents: Agents) -> None:
    """End the traces that are open."""
    async with Client(port) as client:
        for number in range(1, PARTS):
            await client.post(agents.body(time.perf_counter() + number * agents.plan.part_gap_s, begins=False))


async def play(plan: Plan, folder: Path) -> Outcome:
    """The whole story; everything is delivered at its end."""
    destination, agents, result, outcome = Destination(plan.takes_spans_per_s), Agents(plan), Result(), Outcome()
    async with listening(destination) as url:
        with sidecar_process(folder, url, plan.config, start=False) as sidecar:
            await asyncio.to_thread(sidecar.start)
            watch = Watch(sidecar, outcome, result, agents)
            watching = asyncio.create_task(watch.run())
            await _send_all(plan, agents, sidecar, result, outcome)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            outcome.ledger = await asyncio.to_thread(sidecar.settled, 60.0)
    seen, outcome.estimate = destination.read()
    outcome.latencies_ms = [each * 1000 for each in result.latencies_s]
    outcome.refused, outcome.sent, outcome.arrived = result.refused, agents.sent, len(seen)
    outcome.errors = len(agents.failed)
    outcome.missing_errors = len(agents.failed - seen)
    outcome.torn = sum(any((trace_id, span_id) not in seen for span_id in ids) for trace_id, ids in agents.matter.items())
    return outcome


async def _send_all(plan: Plan, agents: Agents, sidecar: Sidecar, result: Result, outcome: Outcome) -> None:
    over = asyncio.Event()
    calm, port = plan.takes_spans_per_s / 3, sidecar.http_port
    await send(port, agents, calm, plan.quiet_s, result, over)
    await send(port, agents, plan.load_spans_per_s, plan.load_s, result, over)
    ended, seconds = time.perf_counter(), outcome.history

    async def recovered() -> None:
        count = len(seconds)
        while outcome.recovered_s is None:
            await asyncio.sleep(0.2)
            if len(seconds) > count and seconds[-1].probability == 1:
                outcome.recovered_s = time.perf_counter() - ended
        over.set()

    waiting = asyncio.create_task(recovered())
    await send(port, agents, calm, plan.after_s, result, over)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await finish(port, agents)


def problems(plan: Plan, outcome: Outcome, p99_ms: float = 100.0) -> list[str]:
    """What does not hold, as sentences."""
    found = list(outcome.ledger.problems())
    if outcome.p99_ms >= p99_ms:
        found.append(f"agents waited {outcome.p99_ms:.0f} ms at p99")
    if outcome.refused:
        found.append(f"{outcome.refused} requests were refused")
    if outcome.missing_errors:
        found.append(f"{outcome.missing_errors} of {outcome.errors} failed spans did not arrive")
    if outcome.torn:
        found.append(f"{outcome.torn} traces with an error are not whole")
    if outcome.recovered_s is None:
        found.append("not everything was kept again in time")
    if outcome.disk_mib > plan.max_mib + 16:
        found.append(f"the buffer's files took {outcome.disk_mib:.0f} MiB")
    if min(each.probability for each in outcome.history) > 0.9:
        found.append("nothing was sampled")
    return found


def report(plan: Plan, outcome: Outcome) -> str:
    """What happened, in a few lines."""
    history = outcome.history
    loaded = [each for each in history if plan.quiet_s + plan.load_s / 2 < each.at_s < plan.quiet_s + plan.load_s] or history
    mean, lowest = sum(each.probability for each in loaded) / len(loaded), min(each.probability for each in history)
    again = "never" if outcome.recovered_s is None else f"{outcome.recovered_s:.0f} s after the load"
    answers = sorted(outcome.latencies_ms)
    waited, rss_mib = max(each.pending_spans for each in history), max(each.rss_mib for each in history)
    lines = [
        f"{plan.load_spans_per_s:.0f} spans/s against {plan.takes_spans_per_s:.0f} for {plan.load_s:.0f} s",
        f"answers: p50 {answers[len(answers) // 2]:.1f} ms, p99 {outcome.p99_ms:.1f} ms, max {answers[-1]:.0f} ms; {outcome.refused} refused",
        f"keep probability: mean {mean:.2f} in the second half of the load, lowest {lowest:.2f}; 1 again: {again}",
        f"at most: {waited:.0f} spans waited, files of {outcome.disk_mib:.0f} MiB, RSS {rss_mib:.0f} MiB",
        f"spans: {outcome.sent} sent, {outcome.arrived} arrived, which stand for {outcome.estimate:.0f} ({outcome.estimate / outcome.sent:.1%})",
        f"failed spans: {outcome.errors}, missing {outcome.missing_errors}; their traces not whole: {outcome.torn}",
        f"ledger: {dict(sorted(outcome.ledger.spans.items()))}",
    ]
    return "\n".join(lines)


def picture(plan: Plan, outcome: Outcome) -> str:
    """The story as an SVG."""
    history = outcome.history
    at = [each.at_s for each in history]
    return svg(
        f"{plan.load_spans_per_s:.0f} spans/s against a destination that takes {plan.takes_spans_per_s:.0f}",
        (
            Panel("spans/s", (Series("offered", [each.offered for each in history]), Series("delivered", [each.delivered for each in history]))),
            Panel("keep probability", (Series("p", [each.probability for each in history]),), top=1.0),
            Panel("pressure", (Series("worst signal", [each.pressure for each in history]),)),
            Panel("slowest answer, ms", (Series("slowest of the second", [each.worst_answer_ms for each in history]),)),
            Panel("waiting spans", (Series("pending", [each.pending_spans for each in history]),)),
        ),
        at,
        (plan.quiet_s, plan.quiet_s + plan.load_s),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the load lasts")
    parser.add_argument("--svg", type=Path, help="where to write the picture")
    arguments = parser.parse_args()
    plan = Plan(load_s=arguments.seconds)
    gc.disable()  # the client's pauses would be taken for the sidecar's
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(play(plan, Path(folder)))
    print(report(plan, outcome))
    if arguments.svg:
        arguments.svg.write_text(picture(plan, outcome), encoding="utf-8")
    wrong = problems(plan, outcome)
    for each in wrong:
        print(f"WRONG: {each}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

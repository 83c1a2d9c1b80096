"""Hours of trouble in minutes: a steady load on the real process, while its destination fails at random.

    python -m bench.soak                       30 minutes at 1,000 spans/s, everything on
    python -m bench.soak --minutes 5           less
    python -m bench.soak --minutes 5 --kills   and SIGKILL now and then, with a start right after it

Each span has a number of its own, so that what was acknowledged is held against what arrived, span by span. Exit status 1 when
something is lost, the ledger does not balance, or memory grows. Answer times are shown and not judged: the load and the fake
destination share an interpreter and the machine with the process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Figure, percentile, report, slope
from bench.payload import Template, template
from bench.process import cpu_s, rss_mib
from sidecar.wire import strict_pb2
from tests.acceptance.sending import Outgoing, Send, over_http
from tests.fakes.langfuse import FakeLangfuse, langfuse_thread
from tests.fakes.recording import SpanId
from tests.processes import Sidecar, sidecar_process

SPANS_A_REQUEST, SPANS_A_TRACE, SPAN_BYTES = 100, 5, 4096
TRACES_A_REQUEST = SPANS_A_REQUEST // SPANS_A_TRACE
TEMPLATES = 8
RETRY_S = 0.2
RSS_EVERY_S = 1.0
WARM_SHARE = 1 / 3
"""Of the run, before memory is judged: caches fill and the allocator finds its size."""
GROWTH_MIB = 3.0
"""By the fitted line, over the rest of the run. RSS goes up and down by some MiB with each outage; in the 20 minutes that are judged
of 30, 3 MiB are 0.15 MiB a minute. A leak of 1 KB a request (10 a second) would be 0.6."""
PEAK_MIB = 100.0
DRAIN_S = 180.0
CONFIG: Mapping[str, object] = {
    "enrichment": {"enabled": True},
    "masking": {"enabled": True},
    "forward": {"linger_ms": 1000, "retry": {"initial_s": 1, "max_s": 10}, "timeout_s": 5},
    "logging": {"format": "json"},
}
"""The defaults, but for shorter waits, so that more happens in a minute, and without sampling: every span must arrive."""


class Numbers:
    """Span numbers: which were acknowledged, how often each arrived. One byte a span and table."""

    def __init__(self, chance: random.Random) -> None:
        self._tag = chance.randbytes(8)
        self._templates: list[Template] = []
        self._places: dict[bytes, int] = {}
        """Span id -> which span of its trace."""
        for seed in range(TEMPLATES):
            body = template(SPANS_A_REQUEST, SPAN_BYTES, SPANS_A_TRACE, seed)
            self._templates.append(Template(body))
            (scope_spans,) = strict_pb2.ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans
            self._places |= {span.span_id: index % SPANS_A_TRACE for index, span in enumerate(scope_spans.spans)}
        self.acknowledged = bytearray()
        self.arrived = bytearray()
        self.strangers = 0
        """Spans that nobody sent."""

    def body(self, request: int) -> bytes:
        """The request with this number."""
        first = request * TRACES_A_REQUEST
        room = (first + TRACES_A_REQUEST) * SPANS_A_TRACE
        for table in (self.acknowledged, self.arrived):
            table.extend(bytes(max(0, room - len(table))))
        return self._templates[request % TEMPLATES].fill([self._tag + number.to_bytes(8, "big") for number in range(first, first + TRACES_A_REQUEST)])

    def acknowledge(self, request: int) -> None:
        first = request * SPANS_A_REQUEST
        self.acknowledged[first : first + SPANS_A_REQUEST] = b"\x01" * SPANS_A_REQUEST

    def take(self, received: Counter[SpanId]) -> None:
        """Spans arrived."""
        for (trace_id, span_id), count in received.items():
            number = int.from_bytes(trace_id[8:], "big") * SPANS_A_TRACE + self._places.get(span_id, len(self.arrived))
            if trace_id[:8] != self._tag or number >= len(self.arrived):
                self.strangers += count
            else:
                self.arrived[number] = min(255, self.arrived[number] + count)

    @property
    def lost(self) -> int:
        """Acknowledged and never arrived."""
        return sum(told and not seen for told, seen in zip(self.acknowledged, self.arrived, strict=True))

    @property
    def duplicates(self) -> int:
        return sum(self.arrived) - sum(map(bool, self.arrived))


@dataclass
class Course:
    """What happened so far."""

    chance: random.Random
    minutes: float
    numbers: Numbers
    refusals: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    rss: list[tuple[float, float]] = field(default_factory=list)
    """(minutes since the start, MiB), of the present process."""
    cpu_s: float = 0.0
    """Of processes that ended."""
    peak_mib: float = 0.0


async def send_at_rate(course: Course, send: Send, requests_per_s: float) -> None:
    """Open loop: every request is sent when it is due, and again until it is acknowledged. Latency counts from when it was due."""
    started = time.perf_counter()

    async def one(request: int, due: float) -> None:
        export = Outgoing(frozenset(), course.numbers.body(request), (("Content-Type", "application/x-protobuf"),))
        while reason := await send(export):
            course.refusals[reason] += 1
            await asyncio.sleep(RETRY_S)
        course.numbers.acknowledge(request)
        course.latencies_s.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for request in range(int(course.minutes * 60 * requests_per_s)):
            due = started + request / requests_per_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(request, due))


async def outage(fake: FakeLangfuse, seconds: float) -> None:
    fake.down()
    try:
        await asyncio.sleep(seconds)
    finally:
        fake.up()


async def slowness(fake: FakeLangfuse, seconds: float, answer_s: float) -> None:
    fake.slow(answer_s)
    try:
        await asyncio.sleep(seconds)
    finally:
        fake.slow(0)


async def disturb(course: Course, fake: FakeLangfuse) -> None:
    """Until cancelled: one trouble after the other, with calm between them."""
    chance, script = course.chance, fake.script
    answers: dict[str, Callable[[int], None]] = {
        "429": lambda n: script.fail_next(n, 429, {"Retry-After": "2"}),
        "500": lambda n: script.fail_next(n, 500),
        "503": lambda n: script.fail_next(n, 503),
        "504 but taken": lambda n: script.fail_next(n, 504, keep=True),
        "reset before the body was read": lambda n: script.reset_next(n, after_body=False),
        "reset after the body": lambda n: script.reset_next(n, after_body=True),
        "no answer": lambda _: script.hang_next(1),
    }
    while True:
        await asyncio.sleep(chance.uniform(1, 8))
        trouble = chance.choice([*answers, "slow", "outage"])
        course.troubles[trouble] += 1
        if trouble == "slow":
            await slowness(fake, chance.uniform(2, 10), chance.uniform(0.2, 2))
        elif trouble == "outage":
            await outage(fake, chance.uniform(1, 20))
        else:
            answers[trouble](chance.randint(1, 5))


async def kill(course: Course, sidecar: Sidecar) -> None:
    """Until cancelled: SIGKILL and a new start, every half minute to two minutes."""
    while True:
        await asyncio.sleep(course.chance.uniform(0.5, 2) * min(60, course.minutes * 20))
        course.troubles["SIGKILL"] += 1
        _leave(course, sidecar)
        await asyncio.to_thread(sidecar.kill)
        await asyncio.to_thread(sidecar.start)


async def watch(course: Course, fake: FakeLangfuse, sidecar: Sidecar) -> None:
    """Until cancelled: memory by the second, and what arrived is counted and forgotten."""
    started = time.monotonic()
    while True:
        await asyncio.sleep(RSS_EVERY_S)
        course.numbers.take(fake.seen.hand_over())
        if sidecar.process is not None and (mib := rss_mib(sidecar.process.pid)):
            course.rss.append(((time.monotonic() - started) / 60, mib))


def _leave(course: Course, sidecar: Sidecar) -> None:
    assert sidecar.process is not None
    course.cpu_s += cpu_s(sidecar.process.pid)
    course.peak_mib = max(course.peak_mib, rss_mib(sidecar.process.pid, "VmHWM"))


@asynccontextmanager
async def running(*work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Background work that ends with the block; its failure ends the block."""
    async with asyncio.TaskGroup() as group:
        started = [group.create_task(each) for each in work]
        yield
        for each in started:
            each.cancel()


async def soak(course: Course, fake: FakeLangfuse, sidecar: Sidecar, spans_per_s: float, *, kills: bool) -> None:
    """Load and trouble, then calm until everything arrived or DRAIN_S are over."""
    async with over_http(sidecar) as send, running(watch(course, fake, sidecar)):
        troubles = [disturb(course, fake), *([kill(course, sidecar)] if kills else [])]
        async with running(*troubles):
            await send_at_rate(course, send, spans_per_s / SPANS_A_REQUEST)
        fake.script.forget()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while course.numbers.lost or sidecar.ledger().pending:  # noqa: ASYNC110  (it is another process that gets there)
                    await asyncio.sleep(RSS_EVERY_S)


def figures(course: Course, sidecar: Sidecar, *, kills: bool) -> list[Figure]:
    """What came out, beside its limits."""
    ledger, numbers = sidecar.ledger(), course.numbers
    _leave(course, sidecar)
    sent = sum(numbers.acknowledged)
    warm = course.minutes * WARM_SHARE
    judged = [(minute, mib) for minute, mib in course.rss if warm <= minute <= course.minutes]
    growth = slope(judged) * course.minutes * (1 - WARM_SHARE)
    return [
        Figure("acknowledged", sent, "spans"),
        Figure("acknowledged minus delivered", numbers.lost, "spans", 0),
        Figure("delivered and never sent", numbers.strangers, "spans", 0),
        Figure("delivered more than once", numbers.duplicates, "spans"),
        Figure("ledger out of balance", len(ledger.problems()), "identities", 0),
        Figure("pending at the end", ledger.pending, "spans", 0),
        Figure("buried, expired, quarantined", ledger.total("buried", "expired", "quarantined"), "spans", 0),
        Figure("CPU", course.cpu_s / max(sent, 1) * 1e6, "us/span"),
        Figure("answers p50", percentile(course.latencies_s, 0.5) * 1000, "ms"),
        Figure("answers p99", percentile(course.latencies_s, 0.99) * 1000, "ms"),
        Figure("RSS, most", course.peak_mib, "MiB", PEAK_MIB),
        Figure("RSS, slope", slope(judged), "MiB/min"),
        Figure("RSS, growth by that slope", growth, "MiB", None if kills else GROWTH_MIB),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=1000, help="spans a second")
    parser.add_argument("--kills", action="store_true", help="SIGKILL and restart now and then; memory's growth is not judged then")
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}: {arguments.minutes:g} minutes at {arguments.rate:g} spans/s of {SPAN_BYTES} bytes, {SPANS_A_REQUEST} a request", flush=True)
    chance = random.Random(seed)
    course = Course(chance, arguments.minutes, Numbers(chance))
    with tempfile.TemporaryDirectory() as folder, langfuse_thread(remember=False) as fake, sidecar_process(Path(folder), fake.url, CONFIG) as sidecar:
        sidecar.restart()  # the first start compiles the detectors, which takes memory that no later one needs
        asyncio.run(soak(course, fake, sidecar, arguments.rate, kills=arguments.kills))
        good = report(figures(course, sidecar, kills=arguments.kills))
    print("troubles: " + ", ".join(f"{what} {count}" for what, count in sorted(course.troubles.items())))
    print("requests that had to be sent again: " + (", ".join(f"{what} {count}" for what, count in sorted(course.refusals.items())) or "none"))
    sys.exit(not good)


if __name__ == "__main__":
    main()

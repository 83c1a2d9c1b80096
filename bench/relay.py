"""The sidecar against its budgets: OTLP over HTTP in, committed to SQLite before each answer, gzip to a sink that takes everything.

    python -m bench.relay                 every budget beside what is measured; exit status 1 when one is missed by more than a fifth
    python -m bench.relay --quick         the same with a tenth of the load: does it run
    python -m bench.relay --runners       a plain relay with each way to run SQLite
    python -m bench.relay --profile       the load under cProfile: where the time goes (--set masking.enabled=false ...)

CPU time is the process's own, user and system, from its first request until everything is delivered, divided by the spans; it hardly
depends on what else the machine does. Answer times do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pstats
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.figures import Figure, report
from bench.load import at_rate, saturate
from bench.subject import HUNDRED, SINGLE, Subject, Workload, measure, running, sidecar

KEEP = ("sampling.min_probability=1",)
"""A saturated process would sample: decisions are made, and all of them keep."""
UNMASKED = ("masking.enabled=false",)
RELAY = (*UNMASKED, "sampling.enabled=false", "enrichment.enabled=false")
RUNNERS = ("hybrid", "aiosqlite", "inline")
RATE_SPANS_PER_S = 2000
IDLE_S = 10.0
BACKLOG_REQUESTS = 400
"""40,000 spans."""


def cost(name: str, budget_us: float | None, subject: Subject, load: Workload, rounds: int) -> Iterator[Figure]:
    """CPU a span, the best round; and that nothing was lost."""
    with running(subject) as started:
        costs = [measure(started, load, seed) for seed in range(rounds)]
        peak = started.rss_mib("VmHWM")
    yield Figure(name, min(each.us_per_span for each in costs), "us/span", budget_us)
    yield Figure("  by size", min(each.us_per_kb for each in costs), "us/KB")
    yield Figure("  throughput, load and sink beside it", max(each.spans_per_s for each in costs), "spans/s")
    yield Figure("  answers, p99 at that", costs[-1].result.percentile_ms(0.99), "ms")
    yield Figure("  acknowledged minus delivered and sampled", sum(abs(each.lost) for each in costs), "spans", 0)
    yield Figure("  sampled", sum(each.sampled for each in costs), "spans")
    yield Figure("  RSS, most", peak, "MiB")


def answers(seconds: float) -> Iterator[Figure]:
    with running(sidecar("rate")) as started:
        bodies, per_second = HUNDRED.bodies(1), RATE_SPANS_PER_S / HUNDRED.spans
        asyncio.run(at_rate(started.http, bodies, int(per_second), per_second, 16))
        result = asyncio.run(at_rate(started.http, bodies, int(seconds * per_second), per_second, 16))
    yield Figure(f"answers at {RATE_SPANS_PER_S} spans/s, p50", result.percentile_ms(0.5), "ms")
    yield Figure(f"answers at {RATE_SPANS_PER_S} spans/s, p99", result.percentile_ms(0.99), "ms", 25)


def at_rest(seconds: float) -> Iterator[Figure]:
    """Memory and CPU of an idle process, the time to its start, and memory under load; detectors compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        with running(sidecar("first start"), folder):
            pass
        for grpc, limit in ((False, 60), (True, 75)):
            with running(sidecar("idle", grpc=grpc), folder) as started:
                before, began = started.cpu_s(), time.monotonic()
                time.sleep(seconds)
                share = (started.cpu_s() - before) / (time.monotonic() - began)
                named = "with" if grpc else "without"
                yield Figure(f"idle {named} gRPC, RSS", started.rss_mib(), "MiB", limit)
                yield Figure(f"idle {named} gRPC, CPU", share * 100, "%", 0.5)
                yield Figure(f"start to ready {named} gRPC", started.started_s, "s", 1)
        with running(sidecar("loaded", *KEEP, grpc=True), folder) as started:
            bodies = replace(HUNDRED, spans=1000).bodies(1)
            asyncio.run(saturate(started.http, bodies, 60, 4))
            yield Figure("RSS under bodies of 4 MB, most", started.rss_mib("VmHWM"), "MiB", 100)


def drained(requests: int) -> Iterator[Figure]:
    """How fast a backlog goes once the destination is back."""
    with running(sidecar("drain", *KEEP)) as started:
        started.delivered("refuse")
        taken = asyncio.run(saturate(started.http, HUNDRED.bodies(1), requests, 4))
        spans = (taken.requests - taken.refused) * HUNDRED.spans
        started.delivered("accept")
        os.kill(started.pid, signal.SIGHUP)  # probe at once
        began = time.monotonic()
        started.drain(spans)
        yield Figure("draining a backlog", spans / (time.monotonic() - began), "spans/s", 20_000, at_least=True)


def budgets(rounds: int, scale: float) -> Iterator[Figure]:
    """Every figure, as it is measured."""
    hundred, single = (replace(each, requests=int(each.requests * scale)) for each in (HUNDRED, SINGLE))
    yield from cost("100 spans a request, everything on", 75, sidecar("all on", *KEEP), hundred, rounds)
    yield from cost("100 spans a request, without masking", 42, sidecar("unmasked", *UNMASKED, *KEEP), hundred, rounds)
    yield from cost("100 spans a request, plain relay", 25, sidecar("relay", *RELAY), hundred, rounds)
    yield from cost("1 span a request, everything on", None, sidecar("all on", *KEEP), single, rounds)
    yield from cost("1 span a request, plain relay", 150, sidecar("relay", *RELAY), single, rounds)
    yield from answers(20 * scale)
    yield from at_rest(IDLE_S * scale)
    yield from drained(int(BACKLOG_REQUESTS * scale))


def runners(rounds: int) -> Iterator[Figure]:
    for runner in RUNNERS:
        for load in (HUNDRED, SINGLE):
            yield from cost(f"{load.name}, plain relay, {runner}", None, sidecar(runner, *RELAY, runner=runner), load, rounds)


def profile(sets: list[str]) -> None:
    with tempfile.NamedTemporaryFile(suffix=".prof") as file:
        with running(sidecar("profiled", *sets, profile=Path(file.name))) as started:
            measure(started, HUNDRED, 0)
        pstats.Stats(file.name).sort_stats("tottime").print_stats(35)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--runners", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="a setting, for --profile")
    arguments = parser.parse_args()
    if arguments.profile:
        profile(arguments.set)
        return
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}: on a busy machine CPU time is higher too", flush=True)
    if arguments.runners:
        report(runners(arguments.rounds))
        return
    sys.exit(not report(budgets(1, 0.1) if arguments.quick else budgets(arguments.rounds, 1)))


if __name__ == "__main__":
    main()

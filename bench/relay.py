"""The relay: OTLP over HTTP in, committed to SQLite before each answer, gzip to a sink that takes everything.

    python -m bench.relay                 CPU a span, memory and answer times, with each way to run SQLite
    python -m bench.relay --profile       the same load under cProfile: where the time goes

CPU time is the sidecar process's own, user and system, from its first request until everything is
delivered, divided by the spans; it hardly depends on what else the machine does. Answer times do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import Result, at_rate, saturate
from bench.payload import copies, template

RUNNERS = ("hybrid", "aiosqlite", "inline")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sidecar:
    """A running program under test."""

    pid: int
    http: int
    admin: int

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def rss_mib(self, key: str = "VmRSS") -> float:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(status.partition(f"{key}:")[2].split()[0]) / 1024

    def pending(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as answer:
            text = answer.read().decode()
        return int(float(text.partition("\nsidecar_ledger_pending_spans ")[2].split("\n")[0]))

    def drain(self, deadline_s: float = 60.0) -> None:
        end = time.monotonic() + deadline_s
        while self.pending():
            if time.monotonic() > end:
                raise TimeoutError("not everything was delivered in time")
            time.sleep(0.05)


@contextmanager
def sink() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-m", "bench.sink"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()


@contextmanager
def sidecar(runner: str, sink_port: int, *, grpc: bool = False, profile: Path | None = None) -> Iterator[Sidecar]:
    with tempfile.TemporaryDirectory() as directory:
        values = {
            "receivers.http.endpoint": "127.0.0.1:0",
            "receivers.grpc.endpoint": "127.0.0.1:0",
            "receivers.grpc.enabled": str(grpc).lower(),
            "admin.endpoint": "127.0.0.1:0",
            "buffer.path": f"{directory}/buffer.db",
            "destinations": f"[{{name: sink, base_url: 'http://127.0.0.1:{sink_port}', public_key: pk, secret_key: sk}}]",
        }
        profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
        command = [sys.executable, *profiler, "-m", "bench.program", runner, *(f"{key}={value}" for key, value in values.items())]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                event = json.loads(line)
                if event["event"] == "ready":
                    break
            else:
                raise SystemExit("the sidecar did not start")
            yield Sidecar(process.pid, *(int(str(event[key]).rpartition(":")[2]) for key in ("http", "admin")))
            process.terminate()
            process.stderr.read()


@dataclass(frozen=True)
class Workload:
    """What is sent."""

    name: str
    spans: int
    span_bytes: int
    spans_per_trace: int
    requests: int
    connections: int

    def bodies(self, seed: int) -> Iterator[bytes]:
        return copies(template(self.spans, self.span_bytes, self.spans_per_trace, seed), seed)


HUNDRED = Workload("100 spans of 4 KB a request", 100, 4096, 5, 600, 4)
SINGLE = Workload("1 span of 4 KB a request", 1, 4096, 1, 8000, 16)


def measure(running: Sidecar, load: Workload, seed: int) -> tuple[float, Result]:
    """(CPU microseconds a span until all is delivered, what the clients saw)."""
    bodies = load.bodies(seed)
    asyncio.run(saturate(running.http, bodies, max(load.requests // 20, 10), load.connections))
    running.drain()
    before = running.cpu_s()
    result = asyncio.run(saturate(running.http, bodies, load.requests, load.connections))
    running.drain()
    return (running.cpu_s() - before) / (load.requests * load.spans) * 1e6, result


def report(runner: str, load: Workload, rounds: int) -> None:
    costs, last, peak, idle = [], Result(), 0.0, 0.0
    with sink() as port, sidecar(runner, port) as running:
        idle = running.rss_mib()
        for seed in range(rounds):
            cost, last = measure(running, load, seed)
            costs.append(cost)
        peak = running.rss_mib("VmHWM")
    rate = last.requests * load.spans / last.seconds
    print(
        f"{runner:<10} {load.name:<30} {min(costs):6.1f} us/span (median {sorted(costs)[len(costs) // 2]:.1f})  {rate:7.0f} spans/s  "
        f"answers p50 {last.percentile_ms(0.5):6.1f} p99 {last.percentile_ms(0.99):6.1f} ms  refused {last.refused}  RSS idle {idle:.0f} peak {peak:.0f} MiB"
    )


def report_rate(runner: str, spans_per_second: int) -> None:
    load = HUNDRED
    with sink() as port, sidecar(runner, port) as running:
        result = asyncio.run(at_rate(running.http, load.bodies(1), 20 * spans_per_second // load.spans, spans_per_second / load.spans, 16))
        running.drain()
    print(
        f"{runner:<10} {spans_per_second} spans/s, 100 a request      answers p50 {result.percentile_ms(0.5):6.1f} p99 {result.percentile_ms(0.99):6.1f} "
        f"max {max(result.latencies_s) * 1000:.1f} ms  refused {result.refused}"
    )


def report_idle() -> None:
    for grpc in (False, True):
        with sink() as port, sidecar("hybrid", port, grpc=grpc) as running:
            before, started = running.cpu_s(), time.monotonic()
            time.sleep(10)
            share = (running.cpu_s() - before) / (time.monotonic() - started)
            print(f"idle, {'with' if grpc else 'without'} gRPC: RSS {running.rss_mib():.1f} MiB, CPU {share * 100:.2f} %")


def profile() -> None:
    with tempfile.NamedTemporaryFile(suffix=".prof") as file:
        with sink() as port, sidecar("inline", port, profile=Path(file.name)) as running:
            measure(running, HUNDRED, 0)
        pstats.Stats(file.name).sort_stats("tottime").print_stats(35)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.profile:
        profile()
        return
    for load in (HUNDRED, SINGLE):
        for runner in RUNNERS:
            report(runner, load, arguments.rounds)
    for runner in RUNNERS:
        report_rate(runner, 2000)
    report_idle()


if __name__ == "__main__":
    main()

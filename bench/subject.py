"""What is measured: any program that takes OTLP over HTTP and passes it on, started by its command, and what it costs.

A command may hold ``{http}`` (the port to listen on), ``{sink}`` (the port to send to), ``{admin}`` (a free port) and ``{folder}`` (an
empty directory); so may the files that it is given. CPU time and memory are the kernel's account of the process and its children.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.load import Result, saturate
from bench.payload import copies, template
from bench.process import cpu_s, rss_mib
from tests.fakes.listener import HeldPort

START_S = 60.0
DRAIN_S = 120.0
POLL_S = 0.02
LEDGER = "sidecar_ledger_spans_total"
WARM_SHARE = 20
"""A twentieth of the load goes ahead and is not counted."""


@dataclass(frozen=True)
class Subject:
    """A program to start. ``core``: the only one that it may use."""

    name: str
    command: Sequence[str]
    core: int | None = None
    has_ledger: bool = False


@dataclass(frozen=True)
class Running:
    """A started subject and the sink behind it."""

    name: str
    pid: int
    http: int
    admin: int
    sink: int
    started_s: float
    """From the start of the process to its first connection."""
    has_ledger: bool = False
    """It is the sidecar, which may sample under pressure, and says how much."""

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def rss_mib(self, key: str = "VmRSS") -> float:
        return rss_mib(self.pid, key)

    def delivered(self, command: str = "count") -> int:
        """Spans that the sink has taken; or ``refuse`` and ``accept``, which tell it so."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.sink}/{command}") as answer:
            return int(answer.read())

    def sampled(self) -> int:
        """Spans that were acknowledged and given up since, because of pressure."""
        if not self.has_ledger:
            return 0
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        spans: Counter[str] = Counter()
        for each in (sample for family in families for sample in family.samples if sample.name == LEDGER):
            spans[each.labels["state"]] += int(each.value)
        return spans["sampled"] - spans["rescued"] + spans["shed"]

    def drain(self, spans: int, deadline_s: float = DRAIN_S) -> None:
        """Return when the sink has taken ``spans`` in all, but for those that were sampled. Raises TimeoutError."""
        end = time.monotonic() + deadline_s
        while self.delivered() + self.sampled() < spans:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} delivered {self.delivered()} of {spans} spans")
            time.sleep(POLL_S)


def sidecar(name: str, *sets: str, runner: str | None = None, core: int | None = None, grpc: bool = False, profile: Path | None = None) -> Subject:
    """The sidecar with its defaults, but for ``sets``; ``runner``: with SQLite run so."""
    values = (
        "receivers.http.endpoint=127.0.0.1:{http}",
        "receivers.grpc.endpoint=127.0.0.1:0",
        f"receivers.grpc.enabled={str(grpc).lower()}",
        "admin.endpoint=127.0.0.1:{admin}",
        "buffer.path={folder}/buffer.db",
        "destinations=[{{name: sink, base_url: 'http://127.0.0.1:{sink}', public_key: pk, secret_key: sk}}]",
        "logging.level=warning",
        *sets,
    )
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    if runner is not None or profile:
        return Subject(name, [sys.executable, *profiler, "-m", "bench.program", runner or "inline", *values], core, has_ledger=True)
    return Subject(name, [sys.executable, "-m", "sidecar", "run", *(part for value in values for part in ("--set", value))], core, has_ledger=True)


def external(name: str, command: str) -> Subject:
    """Any other program, by a shell-like command."""
    return Subject(name, shlex.split(command))


@contextmanager
def sink() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-m", "bench.sink"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def running(subject: Subject, folder: str | None = None) -> Iterator[Running]:
    """The subject from start to end, which is SIGTERM. ``folder``: where it ran before; else a new one."""
    with tempfile.TemporaryDirectory() as fresh, HeldPort() as http, HeldPort() as admin, sink() as sink_port:
        places = {"http": http.port, "admin": admin.port, "sink": sink_port, "folder": folder or fresh}
        command = [part.format(**places) for part in subject.command]
        log = Path(fresh) / "output.log"
        began = time.monotonic()
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                if subject.core is not None:
                    os.sched_setaffinity(process.pid, {subject.core})
                _await_port(http.port, process, log)
                yield Running(subject.name, process.pid, http.port, admin.port, sink_port, time.monotonic() - began, subject.has_ledger)
            finally:
                process.terminate()


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(POLL_S)
        else:
            return
    raise SystemExit(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")


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


HUNDRED = Workload("100 spans a request", 100, 4096, 5, 600, 4)
SINGLE = Workload("1 span a request", 1, 4096, 1, 8000, 16)


@dataclass(frozen=True)
class Cost:
    """What a round came to."""

    us_per_span: float
    us_per_kb: float
    spans_per_s: float
    result: Result
    acknowledged: int
    delivered: int
    sampled: int

    @property
    def lost(self) -> int:
        """Spans of which nothing is known; negative: delivered twice."""
        return self.acknowledged - self.delivered - self.sampled


def measure(subject: Running, load: Workload, seed: int) -> Cost:
    """One round: CPU from its first request until everything is delivered."""
    bodies, before_all, sampled = load.bodies(seed), subject.delivered(), subject.sampled()
    warm = asyncio.run(saturate(subject.http, bodies, max(load.requests // WARM_SHARE, 10), load.connections))
    acknowledged = (warm.requests - warm.refused) * load.spans
    subject.drain(before_all + sampled + acknowledged)
    before, began = subject.cpu_s(), time.monotonic()
    result = asyncio.run(saturate(subject.http, bodies, load.requests, load.connections))
    taken = (result.requests - result.refused) * load.spans
    acknowledged += taken
    subject.drain(before_all + sampled + acknowledged)
    spent_s, took_s = subject.cpu_s() - before, time.monotonic() - began
    size_kb = taken * load.span_bytes / 1024
    spent_us = spent_s * 1e6
    delivered = subject.delivered() - before_all
    return Cost(spent_us / taken, spent_us / size_kb, taken / took_s, result, acknowledged, delivered, subject.sampled() - sampled)

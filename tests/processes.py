"""A real sidecar in a process of its own: configured, started, watched, killed and started again.

Owns the process, its ports, its configuration file and its log. It must never look inside: tests see what an operator sees.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY
from tests.fakes.listener import HOST, HeldPort

ROOT = Path(__file__).parent.parent
RELAY = ROOT / "config" / "relay.yaml"
READY_S = 20.0
STOP_S = 40.0
_POLL_S = 0.05

QUICK: Mapping[str, object] = {
    "forward": {"linger_ms": 50, "retry": {"initial_s": 0.1, "max_s": 1}, "timeout_s": 10},
    "shutdown": {"grace_s": 5},
    "buffer": {"min_free_mib": 1},
    "logging": {"format": "text"},
}
"""Settings that keep tests short."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger as the metrics show it: spans by (state, reason), and those pending."""

    spans: Mapping[tuple[str, str], int]
    pending: int

    def total(self, *states: str) -> int:
        return sum(count for (state, _), count in self.spans.items() if state in states)

    def problems(self) -> list[str]:
        """Both identities, as sentences for those that do not hold."""
        taken, accounted = self.total("received", "rescued"), self.total("stored", "rejected", "filtered", "sampled")
        kept = self.total("stored", "replayed")
        gone = self.total("delivered", "buried", "shed", "expired", "purged", "quarantined", "omitted")
        found = []
        if taken != accounted:
            found.append(f"received + rescued = {taken}, but stored + rejected + filtered + sampled = {accounted}")
        if kept != gone + self.pending:
            found.append(f"stored + replayed = {kept}, but delivered and otherwise gone = {gone} and pending = {self.pending}")
        return [f"{problem}: {dict(self.spans)}" for problem in found]


class NotReady(AssertionError):
    """The sidecar ended or stayed unready; the message holds its log."""


@dataclass
class Sidecar:
    """One sidecar on fixed ports and one data directory, over any number of processes."""

    folder: Path
    http_port: int
    grpc_port: int
    admin_port: int
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def http_url(self) -> str:
        return f"http://{HOST}:{self.http_port}"

    @property
    def traces_url(self) -> str:
        return f"{self.http_url}/v1/traces"

    @property
    def grpc_target(self) -> str:
        return f"{HOST}:{self.grpc_port}"

    @property
    def admin_url(self) -> str:
        return f"http://{HOST}:{self.admin_port}"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        return self.folder / "sidecar.log"

    def log(self) -> str:
        """Everything that every process wrote so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def start(self, *, ready: bool = True) -> None:
        """Start a process and wait until it is ready; raises NotReady with the log."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            self.wait_until(lambda: self.admin("/readyz")[0] == 200, READY_S, "readiness")

    def admin(self, path: str) -> tuple[int, str]:
        """Status and text of an admin page; 0 if nobody answers."""
        try:
            with urllib.request.urlopen(self.admin_url + path, timeout=5) as response:
                return int(response.status), response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (OSError, TimeoutError):
            return 0, ""

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every sample by name and labels."""
        status, text = self.admin("/metrics")
        assert status == 200, f"/metrics answered {status}"
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels; 0 if there is none."""
        wanted = set(labels.items())
        return sum(value for (sample, found), value in self.metrics().items() if sample == name and wanted <= found)

    def ledger(self) -> Ledger:
        spans: Counter[tuple[str, str]] = Counter()
        pending = 0.0
        for (name, labels), value in self.metrics().items():
            if name == "sidecar_ledger_spans_total":
                found = dict(labels)
                spans[(found["state"], found.get("reason", ""))] += int(value)
            elif name == "sidecar_ledger_pending_spans":
                pending += value
        return Ledger(spans, int(pending))

    def wait_for_ledger(self, holds: Callable[[Ledger], bool], deadline_s: float, what: str) -> Ledger:
        """The first ledger for which ``holds``; raises NotReady."""
        last: list[Ledger] = []

        def check() -> bool:
            last[:] = [self.ledger()]
            return holds(last[0])

        try:
            self.wait_until(check, deadline_s, what)
        except NotReady as error:
            raise NotReady(f"{error}\nthe last ledger: {last}") from error
        return last[0]

    def settled(self, deadline_s: float = 30.0) -> Ledger:
        """The ledger once nothing is pending; asserts that both identities hold."""
        ledger = self.wait_for_ledger(lambda ledger: ledger.pending == 0 and not ledger.problems(), deadline_s, "an empty and balanced ledger")
        assert ledger.problems() == []
        return ledger

    def wait_until(self, predicate: Callable[[], bool], deadline_s: float, what: str) -> None:
        """Poll, as an operator would; raises NotReady with the log when the process ends or the time is up."""
        assert self.process is not None
        end = time.monotonic() + deadline_s
        while not predicate():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.process.wait(_POLL_S)
                raise NotReady(f"the sidecar ended with {code} before {what}; its log:\n{self.log()[-8000:]}")
            if time.monotonic() > end:
                raise NotReady(f"no {what} within {deadline_s} s; the log:\n{self.log()[-8000:]}")

    def wait_for_exit(self, deadline_s: float = STOP_S) -> int:
        assert self.process is not None
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired as error:
            raise NotReady(f"still running after {deadline_s} s; the log:\n{self.log()[-8000:]}") from error

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait_for_exit()

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_for_exit()

    def restart(self) -> None:
        """End it in good order, if it still runs, and start it again."""
        if self.process is not None and self.process.poll() is None:
            self.terminate()
        self.start()


@contextmanager
def sidecar_process(
    folder: Path,
    base_url: str,
    config: Mapping[str, object] | None = None,
    sets: Sequence[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
    destination: Mapping[str, object] | None = None,
    start: bool = True,
) -> Iterator[Sidecar]:
    """A sidecar as a plain relay to ``base_url``, on free ports, with its data below ``folder``.

    ``config`` is merged over the quick test settings, ``destination`` over the default destination. Nothing of the caller's
    environment but PATH is passed on. The process is killed at the end, whatever happened.
    """
    with ExitStack() as held:
        http, grpc, admin = (held.enter_context(HeldPort()).port for _ in range(3))
        target = {"name": "default", "type": "langfuse", "base_url": base_url, "public_key": PUBLIC_KEY, "secret_key": SECRET_KEY}
        if destination and "secret_key_file" in destination:
            target.pop("secret_key")
        settings = _merged(
            {
                "receivers": {"http": {"endpoint": f"{HOST}:{http}"}, "grpc": {"endpoint": f"{HOST}:{grpc}"}},
                "admin": {"endpoint": f"{HOST}:{admin}"},
                "buffer": {"path": str(folder / "data" / "buffer.db")},
                "destinations": [{**target, **(destination or {})}],
            },
            _merged(QUICK, config or {}),
        )
        file = folder / "sidecar.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [sys.executable, "-m", "sidecar", "run", "--config", str(RELAY), "--config", str(file)]
        for each in sets:
            command += ["--set", each]
        surroundings = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), **(environment or {})}
        sidecar = Sidecar(folder, http, grpc, admin, command, surroundings)
        try:
            if start:
                sidecar.start()
            yield sidecar
        finally:
            if sidecar.process is not None and sidecar.process.poll() is None:
                sidecar.kill()


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result

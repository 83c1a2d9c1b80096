"""A Prometheus of its own that scrapes one sidecar every second, with the shipped rules and short times.

Owns the server's process, its files and its port. Debian's package ``prometheus`` brings the program.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

import pytest
import yaml

from tests.fakes.listener import HOST, HeldPort
from tests.processes import ROOT, Sidecar

RULES = ROOT / "deploy" / "prometheus"


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Skip where a program is missing."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is missing (Debian: apt-get install {package})")


class Sample(TypedDict):
    """One element of an instant vector, as the server's API writes it."""

    metric: dict[str, str]
    value: list[float | str]


START_S, PATIENCE_S = 20.0, 60.0
_LOOK_S = 0.1


class Prometheus:
    """A server that scrapes one sidecar every second, with the shipped rules and short times."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self._url, self._process = f"http://{HOST}:{port}", process

    def query(self, expr: str) -> list[Sample]:
        """The vector of an instant query."""
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}", timeout=10) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        result: list[Sample] = answer["data"]["result"]
        return result

    def firing(self) -> set[str]:
        return {each["metric"]["alertname"] for each in self.query('ALERTS{alertstate="firing"}')}

    def annotations(self) -> list[str]:
        """The rendered texts of all active alerts."""
        with urllib.request.urlopen(f"{self._url}/api/v1/alerts", timeout=10) as response:
            return [text for alert in json.load(response)["data"]["alerts"] for text in alert["annotations"].values()]

    def ready(self) -> bool:
        with suppress(OSError, urllib.error.URLError):
            return bool(self.query("up == 1"))
        return False

    def wait_until(self, predicate: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Poll; raises AssertionError that names ``what`` and the alerts."""
        for _ in range(int(patience_s / _LOOK_S)):
            if predicate():
                return
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"Prometheus ended with {self._process.wait(_LOOK_S)} before {what}")
        raise AssertionError(f"no {what} within {patience_s} s; firing: {sorted(self.firing())}")

    def wait_for(self, *alerts: str) -> None:
        self.wait_until(lambda: set(alerts) <= self.firing(), f"alerts {alerts}")

    def wait_for_quiet(self) -> None:
        self.wait_until(lambda: not self.firing(), "end of every alert")

    def wait_for_end(self, *alerts: str) -> None:
        self.wait_until(lambda: not set(alerts) & self.firing(), f"end of {alerts}")


def hurried(text: str) -> str:
    """A copy of the rules for an outage of seconds: what is looked back at and waited for is short, what is compared stays."""
    text = re.sub(r"\[(5|10|15|30)m\]", "[6s]", text)
    text = re.sub(r"offset 10m", "offset 6s", text)
    return re.sub(r"for: \w+", "for: 1s", text)


@contextmanager
def prometheus(folder: Path, sidecar: Sidecar) -> Iterator[Prometheus]:
    folder.mkdir()
    for name in ("rules.yaml", "alerts.yaml"):
        (folder / name).write_text(hurried((RULES / name).read_text(encoding="utf-8")), encoding="utf-8")
    job = {"job_name": "langfuse-sidecar", "static_configs": [{"targets": [f"{HOST}:{sidecar.admin_port}"]}]}
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml", "alerts.yaml"],
        "scrape_configs": [job],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with HeldPort() as port, (folder / "log").open("wb") as log:
        listen = f"{HOST}:{port.port}"
        command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={listen}",
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            server = Prometheus(port.port, process)
            server.wait_until(server.ready, "first scrape", START_S)
            yield server
        finally:
            process.kill()
            process.wait()

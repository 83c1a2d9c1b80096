"""The systemd unit."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from sidecar.loader import load
from tests.deploy.manifests import DEPLOY, ROOT

UNIT = DEPLOY / "systemd" / "langfuse-sidecar.service"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def test_the_unit_stops_later_than_the_program_and_reloads_it_as_it_wants() -> None:
    config = load([ROOT / "config" / "sidecar.yaml"], [], {}).config
    (stop_s,) = settings()["TimeoutStopSec"]

    assert int(stop_s) > config.shutdown.grace_s
    assert settings()["KillSignal"] == ["SIGTERM"]
    assert settings()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert settings()["RestartPreventExitStatus"] == ["2"], "a wrong configuration does not mend itself"


def test_the_unit_writes_to_its_state_directory_alone() -> None:
    found = settings()
    directory = f"/var/lib/{found['StateDirectory'][0]}"
    config = load([ROOT / "config" / "sidecar.yaml"], [], {"SIDECAR_DATA_DIR": directory}).config

    assert found["Environment"] == [f"SIDECAR_DATA_DIR={directory}"]
    assert Path(config.buffer.path).parent == Path(directory)
    assert found["DynamicUser"] == found["NoNewPrivileges"] == ["yes"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["CapabilityBoundingSet"] == [""]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    # It asks for the program, which is not installed here.
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/langfuse-sidecar/bin/sidecar", "/bin/true"), encoding="utf-8")

    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")

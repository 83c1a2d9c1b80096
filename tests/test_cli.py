"""The commands, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import __version__
from tests.processes import sidecar_process

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-canary"}


def sidecar(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LANGFUSE_", "SIDECAR_"))}
    root = Path(__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(root), **(env or {})},
    )


def test_help_names_every_command() -> None:
    done = sidecar("--help")

    assert done.returncode == 0
    for command in ("run", "validate", "print-config", "explain", "doctor", "buffer", "demo"):
        assert f"  {command} " in done.stdout


def test_the_version_is_shown() -> None:
    assert sidecar("--version").stdout.strip().endswith(__version__)


def test_a_good_configuration_exits_0_and_its_warnings_are_shown() -> None:
    good = sidecar("validate", env=KEYS)
    local = sidecar("validate", "--set", "masking.enabled=false")

    assert (good.returncode, good.stdout, good.stderr) == (0, "the configuration is good\n", "")
    assert local.returncode == 0
    assert "no Langfuse keys are set" in local.stderr


@pytest.mark.parametrize("command", ["run", "validate", "print-config", "doctor"])
def test_a_bad_configuration_exits_2_with_every_problem(command: str) -> None:
    done = sidecar(command, "--set", "forward.concurrency=0", "--set", "nonsense.key=1", env=KEYS)

    assert done.returncode == 2
    assert "forward.concurrency" in done.stderr
    assert "nonsense: unknown key" in done.stderr
    assert "2 problem(s); nothing was started" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_usage_exits_2() -> None:
    assert sidecar("frobnicate").returncode == 2
    assert sidecar("buffer", "replay").returncode == 2


def test_the_printed_configuration_shows_no_secret() -> None:
    done = sidecar("print-config", env=KEYS)

    assert done.returncode == 0
    assert "pk-lf-1" in done.stdout
    assert "secret_key: '***'" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_run_names_an_unwritable_buffer_and_exits_1() -> None:
    done = sidecar("run", "--set", "buffer.path=/proc/none/buffer.db", "--set", "admin.enabled=false")

    assert done.returncode == 1
    assert "/proc/none" in done.stderr
    assert "Traceback" not in done.stderr


def test_buffer_commands_say_when_there_is_no_buffer(tmp_path: Path) -> None:
    done = sidecar("buffer", "inspect", cwd=tmp_path)

    assert done.returncode == 1
    assert "there is no buffer at" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_buffer_is_inspected_beside_the_running_process_and_after_it(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, "http://127.0.0.1:1", destination={"type": "local"}) as running:
        path = f"buffer.path={running.data_dir / 'buffer.db'}"
        beside = sidecar("buffer", "inspect", "--set", path)
        running.terminate()
        after = sidecar("buffer", "inspect", "--set", path)

    assert (beside.returncode, after.returncode) == (0, 0), beside.stderr + after.stderr
    assert json.loads(beside.stdout)["pending_spans"] == json.loads(after.stdout)["pending_spans"] == 0


def test_purging_asks_first(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, "http://127.0.0.1:1", destination={"type": "local"}) as running:
        path = f"buffer.path={running.data_dir / 'buffer.db'}"
        asked = sidecar("buffer", "purge", "--kind", "dead", "--set", path)
        sure = sidecar("buffer", "purge", "--kind", "dead", "--yes", "--set", path)

    assert asked.returncode == 1
    assert json.loads(sure.stdout) == {"purged_spans": 0}

"""The image's own layout: the Dockerfile is executed, and what it says is run as a container would be. No network but loopback, nothing to write to but the volume."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.native_sidecar import DATA
from tests.deploy.test_container import compose, mounted
from tests.image import Image, built

pytestmark = pytest.mark.acceptance

USER = 10001
PATIENCE_S, STOP_S = 60, 20
MIB_MAX = 320
"""Of the environment: gRPC, Hyperscan and the Langfuse SDK are most of it."""
METRICS = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9464/metrics').read().decode())"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with tempfile.TemporaryDirectory(prefix="sidecar-image-") as folder, built(Path(folder)) as found:
        yield found


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """As an emptyDir: root's, and open to everybody."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def answers(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def wait_until_healthy(image: Image, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask as the runtime asks; each question takes a fraction of a second."""
    for _ in range(200):
        if answers(image.beside(process, image.check)).returncode == 0:
            return
        assert process.poll() is None, log.read_text(encoding="utf-8")
    raise AssertionError(f"never healthy: {log.read_text(encoding='utf-8')}")


def delivered(image: Image, process: subprocess.Popen[bytes]) -> float:
    families = text_string_to_metric_families(answers(image.beside(process, ["python", "-c", METRICS])).stdout)
    found = [sample for family in families for sample in family.samples if sample.name == "sidecar_ledger_spans_total"]
    return sum(sample.value for sample in found if sample.labels["state"] == "delivered")


def test_the_image_takes_the_spans_of_the_agent_that_compose_starts_and_ends_when_it_is_told_to(image: Image, volume: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = image.start(volume, log)
    try:
        wait_until_healthy(image, process, log)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines() if ":\t" in line)
        program = mounted("agent")["/agent.py"]["content"].text()
        variables = compose()["services"]["agent"]["environment"].value
        assert isinstance(variables, dict)
        agent = subprocess.Popen(image.beside(process, ["python", "-c", program], {**variables, "OTEL_BSP_SCHEDULE_DELAY": "100"}))
        try:
            for _ in range(200):
                if delivered(image, process) >= 2 or agent.poll() is not None:
                    break
            assert delivered(image, process) >= 2, log.read_text(encoding="utf-8")
        finally:
            agent.kill()
            agent.wait()
        process.terminate()
        assert process.wait(STOP_S) == 0, log.read_text(encoding="utf-8")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()

    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    written = [path for path in volume.rglob("*") if path.is_file()]
    assert "buffer.db" in {path.name for path in written}
    assert {path.stat().st_uid for path in written} == {USER}


def output(image: Image, volume: Path, log: Path, *command: str) -> tuple[int, str]:
    """Exit code and output of a program in a container of its own."""
    before = len(log.read_text(encoding="utf-8")) if log.exists() else 0
    return image.start(volume, log, command).wait(PATIENCE_S), log.read_text(encoding="utf-8")[before:]


def test_the_image_has_no_installer_and_its_user_neither_a_home_nor_a_shell(image: Image, volume: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for python in ("python", f"{sys.base_prefix}/bin/python"):
        assert "No module named pip" in output(image, volume, log, python, "-m", "pip")[1]
    _, entry = output(image, volume, log, "getent", "passwd", str(USER))
    assert entry.strip().split(":")[5:] == ["/nonexistent", "/usr/sbin/nologin"]
    for place in ("/opt/langfuse-sidecar/x", "/etc/langfuse-sidecar/x", "/tmp/x"):
        assert output(image, volume, log, "touch", place)[0] == 1, place
    assert output(image, volume, log, "touch", f"{DATA}/x")[0] == 0
    assert int(output(image, volume, log, "du", "--summarize", "--block-size=1M", "/opt/langfuse-sidecar")[1].split()[0]) <= MIB_MAX


def test_a_volume_that_cannot_be_written_is_said_plainly(image: Image, volume: Path, tmp_path: Path) -> None:
    volume.chmod(0o755)

    code, text = output(image, volume, tmp_path / "log", *image.command)

    assert code == 1
    assert DATA in text.splitlines()[-1]

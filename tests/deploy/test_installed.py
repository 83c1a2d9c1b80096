"""The wheel in a clean environment, run as in the container: another user, code that can't be written, one directory that can.

Owns no ports of its own choosing; the configuration is the container's, with ports and paths of this test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.sending import send_now, traces
from tests.deploy.manifests import DEPLOY, ROOT
from tests.deploy.test_container import all_of, exec_form, final_stage
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, langfuse_thread
from tests.fakes.listener import HOST, HeldPort
from tests.processes import Sidecar

pytestmark = pytest.mark.acceptance

USER = 10001
CONFIG = DEPLOY / "kubernetes" / "sidecar"


def as_user() -> list[str]:
    """What starts a program as the container's user, without any capability; nothing for those who are not root anyway."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root has no setpriv here to become another user with")
    return [setpriv, f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]


def read_only_root(writable: Path) -> list[str]:
    """What makes every directory but one unwritable, as `readOnlyRootFilesystem` does; nothing where namespaces can't be made."""
    script = f'mount --make-rprivate / && mount --bind "{writable}" "{writable}" && mount -o remount,bind,ro / && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if os.geteuid() != 0 or shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        return []
    return prefix


def interpreter() -> str:
    """A Python that the other user may start too; the one of these tests can lie in somebody's home."""
    candidates = [str(Path(sys.executable).resolve()), *(f"/usr/bin/python3{minor}" for minor in (".14", ".13", ".12", ".11", ""))]
    program = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    for each in candidates:
        if Path(each).exists() and subprocess.run([*as_user(), each, "-c", program], capture_output=True, check=False, cwd="/").returncode == 0:
            return each
    pytest.skip("no Python from 3.11 on is there that another user may start")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that the other user may enter: pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="sidecar-installed-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def installed(place: Path) -> Path:
    """The environment, built as the Dockerfile builds it, and read-only."""
    environment, wheels = place / "app", place / "wheels"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    into = [*pip, "--python", str(environment / "bin" / "python"), "install"]
    subprocess.run([interpreter(), "-m", "venv", "--without-pip", str(environment)], check=True)
    subprocess.run([*into, "--require-hashes", "--only-binary=:all:", "-r", str(ROOT / "requirements.lock")], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True)
    (wheel,) = wheels.glob("langfuse_sidecar-*.whl")
    subprocess.run([*into, "--no-deps", str(wheel)], check=True)
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(environment)], check=True)
    return environment


def everything(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def container(place: Path, installed: Path, base_url: str, ports: list[int]) -> Sidecar:
    """The container's command line, configuration and variables; keys come from a file."""
    data, config = place / "data", place / "config"
    for folder in (data, config):
        folder.mkdir()
    if os.geteuid() == 0:
        os.chown(data, USER, USER)
    data.chmod(0o700)
    for name in ("sidecar.yaml", "agents.yaml"):
        shutil.copy(CONFIG / name, config / name)
    for name, text in (("secret-key", SECRET_KEY), ("hmac-key", "k1:0123456789abcdef0123456789abcdef")):
        (config / name).write_text(text, encoding="utf-8")
    http, grpc, admin = ports
    sets = [f"receivers.http.endpoint={HOST}:{http}", f"receivers.grpc.endpoint={HOST}:{grpc}", f"admin.endpoint={HOST}:{admin}"]
    sets += [f"enrichment.agents={config / 'agents.yaml'}", "enrichment.settle_s=0", "forward.linger_ms=50", "buffer.min_free_mib=1"]
    command = [*read_only_root(data), *as_user(), str(installed / "bin" / "sidecar"), "run", "--config", str(config / "sidecar.yaml")]
    environment = {
        "PATH": f"{installed / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIDECAR_DATA_DIR": str(data),
        "LANGFUSE_BASE_URL": base_url,
        "LANGFUSE_PUBLIC_KEY": PUBLIC_KEY,
        "LANGFUSE_SECRET_KEY_FILE": str(config / "secret-key"),
        "MASKING_HMAC_KEY_FILE": str(config / "hmac-key"),
        "POD_NAME": "assistant-0",
    }
    return Sidecar(place, http, grpc, admin, [*command, *(part for each in sets for part in ("--set", each))], environment)


def check_health(sidecar: Sidecar, python: Path) -> None:
    """The image's health check, with the ports of this test, as the same user."""
    (check,) = all_of("HEALTHCHECK", final_stage())
    program = exec_form(check[check.index("CMD ") + 4 :])[2].replace("4318", str(sidecar.http_port)).replace("9464", str(sidecar.admin_port))
    subprocess.run([*as_user(), str(python), "-c", program], check=True, env={}, cwd="/")


def test_the_wheel_works_as_another_user_with_code_that_cannot_be_written(place: Path, installed: Path) -> None:
    before = everything(installed)
    with ExitStack() as held, langfuse_thread() as fake:
        sidecar = container(place, installed, fake.url, [held.enter_context(HeldPort()).port for _ in range(3)])
        sidecar.start()
        assert sidecar.process is not None
        try:
            status = Path(f"/proc/{sidecar.process.pid}/status").read_text(encoding="utf-8")
            check_health(sidecar, installed / "bin" / "python")
            sent = send_now(sidecar, traces(20))
            fake.block_for_spans(len(sent), 30)
            sidecar.settled()
            assert sidecar.terminate() == 0
        finally:
            if sidecar.process.poll() is None:
                sidecar.kill()

    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    user = USER if os.geteuid() == 0 else os.geteuid()
    assert fields["Uid"].split() == [str(user)] * 4
    if os.geteuid() == 0:
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
    assert fake.seen.ids() == sent
    assert everything(installed) == before, "nothing was written beside the code"
    written = [path for path in (place / "data").rglob("*") if path.is_file()]
    assert "buffer.db" in {path.name for path in written}
    assert {path.stat().st_uid for path in written} == {user}
    assert {oct(path.stat().st_mode & 0o077) for path in written} == {"0o0"}, "readable by the owner alone"
    assert SECRET_KEY not in sidecar.log()


def test_a_data_directory_that_cannot_be_written_is_said_plainly(place: Path, installed: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "SIDECAR_DATA_DIR": str(installed)}
    done = subprocess.run(
        [*as_user(), str(installed / "bin" / "sidecar"), "run", "--set", "masking.enabled=false", "--set", "admin.enabled=false"],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    problem = json.loads(done.stderr.strip().splitlines()[-1])
    assert str(installed) in problem["error"]

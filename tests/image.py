"""Executes the Dockerfile without Docker: its instructions as they stand, in overlays of this machine's root in the place of a base image.

Owns a mount namespace, and the overlays in memory that live in it. Needs Linux, root and the right to mount. It can't show what the base image brings:
Python is this machine's, and so are its compilers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.deploy.test_container import exec_form, instructions
from tests.processes import ROOT

PROGRAMS = ("chroot", "ip", "nsenter", "setpriv", "unshare")
SURROUNDINGS = re.compile(r"PIP_\w+|\w+_proxy|\w+_PROXY|SSL_CERT_\w+")
"""What a build is told of its network, as docker build is."""
SIZE = "3g"
"""Of the memory that the overlays may take: two environments of 0.4 GiB and a package installer's temporary files."""


@dataclass
class Stage:
    """One stage while it is built: where its root is mounted, and what its instructions have said so far."""

    root: Path
    workdir: str = "/"
    user: str = "0:0"
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    said: dict[str, str] = field(default_factory=dict)
    """Instructions that only say something, by name."""

    def variables(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.environment.items()]


@dataclass
class Image:
    """A final stage that can be run."""

    holder: subprocess.Popen[str]
    folder: Path
    stages: dict[str, Stage] = field(default_factory=dict)

    @property
    def final(self) -> Stage:
        return self.stages[max(self.stages, key=list(self.stages).index)]

    @property
    def command(self) -> list[str]:
        """Entry point and arguments."""
        return [*exec_form(self.final.said["ENTRYPOINT"]), *exec_form(self.final.said["CMD"])]

    @property
    def check(self) -> list[str]:
        """The health check's program."""
        return exec_form(self.final.said["HEALTHCHECK"].partition("CMD ")[2])

    def inside(self, *command: str) -> None:
        """Run in the namespace, as root and with this machine's root directory; raises CalledProcessError."""
        subprocess.run(["nsenter", f"--target={self.holder.pid}", "--mount", *command], check=True, capture_output=True, text=True)

    def start(self, volume: Path, log: Path, command: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """The image's command, or another, as ``docker run --read-only --cap-drop ALL --network none --volume VOLUME:...`` starts it."""
        stage, mounted = self.final, exec_form(self.final.said["VOLUME"])[0].lstrip("/")
        script = f"""
            ip link set lo up
            mount --make-rprivate /
            mount --bind '{volume}' '{stage.root / mounted}'
            mount -o remount,bind,ro '{stage.root}'
            exec chroot '{stage.root}' "$@"
        """
        apart = ["nsenter", f"--target={self.holder.pid}", "--mount", "unshare", "--mount", "--net", "sh", "-euc", script, "sh"]
        with log.open("ab") as out:
            return subprocess.Popen([*apart, *self.as_user(), *(command or self.command)], stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def beside(self, process: subprocess.Popen[bytes], command: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """What runs a command of the image in the network and the files of a running one."""
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        return ["nsenter", f"--target={process.pid}", "--mount", "--net", "--root", *self.as_user(), *variables, *command]

    def as_user(self) -> list[str]:
        stage = self.final
        user, _, group = stage.user.partition(":")
        rights = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return ["setpriv", *rights, "env", "--ignore-environment", f"--chdir={stage.workdir}", *stage.variables()]


def base_python() -> Path:
    """This machine's interpreter, as the base image would have it; skips the test when it can't stand in."""
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    if subprocess.run([str(python), "-c", "import pip, venv"], capture_output=True, check=False).returncode:
        pytest.skip("the base interpreter has no pip or no venv, which the base image has")
    return python


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """Build the image below a folder; skips where namespaces or overlays can't be made."""
    if os.geteuid() != 0 or [each for each in PROGRAMS if shutil.which(each) is None]:
        pytest.skip(f"needs root, and {', '.join(PROGRAMS)}")
    script = f"mount -t tmpfs -o size={SIZE} tmpfs '{folder}' && echo ready && exec sleep infinity"
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script]
    holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip("no mount namespace can be made here")
        image, python = Image(holder, folder), base_python()
        for name, arguments in instructions():
            execute(image, name, arguments, python)
        yield image
    finally:
        holder.kill()
        holder.communicate()


def execute(image: Image, name: str, arguments: str, python: Path) -> None:
    """One instruction; an unknown one is an error."""
    match name:
        case "FROM":
            begin(image, arguments.partition(" AS ")[2] or "final", python)
        case "ARG" if not image.stages:
            pass
        case "WORKDIR":
            image.final.workdir = arguments
            image.inside("mkdir", "-p", f"{image.final.root}{arguments}")
        case "ENV":
            for key, value in re.findall(r"(\w+)=(\S+)", arguments):
                image.final.environment[key] = value.replace("${PATH}", image.final.environment["PATH"])
        case "COPY":
            copy(image, arguments)
        case "RUN":
            run(image.final, image, arguments)
        case "USER":
            image.final.user = arguments
        case "ARG" | "LABEL" | "VOLUME" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
            image.final.said[name] = arguments
        case _:
            raise AssertionError(f"{name} is not known here")


def begin(image: Image, name: str, python: Path) -> None:
    """A stage on a fresh overlay, in which `python` is the interpreter of this machine, and every user may start it."""
    upper, work, root = (image.folder / f"{name}-{each}" for each in ("upper", "work", "root"))
    try:
        image.inside("mkdir", str(upper), str(work), str(root))
        image.inside("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(root))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no overlay can be mounted here: {error.stderr.strip()}")
    for each in ("/proc", "/dev"):
        image.inside("mount", "--rbind", each, f"{root}{each}")
    image.inside("chmod", "a+x", *(f"{root}{parent}" for parent in python.parents if parent != Path("/")))
    image.inside("ln", "--symbolic", "--force", python.name, f"{root}{python.with_name('python')}")
    image.stages[name] = Stage(root)


def copy(image: Image, arguments: str) -> None:
    """Files and the content of directories, from the repository or from another stage."""
    *sources, target = (each for each in arguments.split() if not each.startswith("--"))
    stage = re.search(r"--from=(\S+)", arguments)
    place = f"{image.final.root}{Path(image.final.workdir) / target}{'/' if target.endswith('/') else ''}"
    for each in sources:
        source = f"{image.stages[stage[1]].root}{each}" if stage else str(ROOT / each)
        if Path(source).is_dir() or stage:
            image.inside("mkdir", "-p", place)
            image.inside("cp", "-a", f"{source}/.", place)
        else:
            image.inside("mkdir", "-p", str(Path(f"{place}x").parent))
            image.inside("cp", source, place)


def run(stage: Stage, image: Image, script: str) -> None:
    """A shell's script, as root, in the stage."""
    surroundings = [f"{name}={value}" for name, value in os.environ.items() if SURROUNDINGS.fullmatch(name)]
    command = ["chroot", str(stage.root), "env", "--ignore-environment", f"--chdir={stage.workdir}", *stage.variables(), *surroundings]
    try:
        image.inside(*command, "sh", "-c", script)
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"RUN failed: {script}\n{error.stdout[-2000:]}\n{error.stderr[-4000:]}") from error

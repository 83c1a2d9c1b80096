"""Generate sidecar/wire/*_pb2.py and their stubs from proto/; ``--check`` only compares."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "proto"
MODULES = ROOT / "sidecar" / "wire"


def generate(target: Path) -> None:
    """Write the modules of every schema into ``target``; raises CalledProcessError when a schema is wrong."""
    schemas = sorted(path.name for path in SOURCES.glob("*.proto"))
    options = [f"-I{SOURCES}", f"--python_out={target}", f"--pyi_out={target}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, *schemas], check=True)


def stale() -> list[str]:
    """Names of the modules that differ from what their schema gives, that are missing, or whose schema is gone."""
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory)
        generate(fresh)
        names = {path.name for folder in (fresh, MODULES) for path in folder.glob("*_pb2.py*")}
        return sorted(name for name in names if _content(fresh / name) != _content(MODULES / name))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main(arguments: list[str]) -> int:
    """The program; returns its exit code."""
    if arguments == ["--check"]:
        found = stale()
        for name in found:
            print(f"sidecar/wire/{name} is not what proto/ gives: run `make proto`")
        return 1 if found else 0
    if arguments:
        print("usage: python -m scripts.generate_proto [--check]")
        return 2
    generate(MODULES)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

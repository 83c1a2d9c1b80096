"""Rules of the house that are checked instead of remembered."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for path in (ROOT / "sidecar").rglob("*.py") if not path.name.endswith("_pb2.py"))
PROGRAMS = sorted(
    path
    for folder in ("sidecar", "tests", "bench", "scripts", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if not path.name.endswith("_pb2.py")
)
LINES_MAX, LINES_MEDIAN, FUNCTION_LINES_MAX = 500, 200, 70


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


def test_no_module_is_long() -> None:
    lines = {name(path): path.read_text(encoding="utf-8").count("\n") for path in PROGRAMS}

    assert {path: count for path, count in lines.items() if count > LINES_MAX} == {}
    assert statistics.median(count for path, count in lines.items() if path.startswith("sidecar/")) <= LINES_MEDIAN


def test_no_function_is_long() -> None:
    assert [(name(path), function, lines) for path in PROGRAMS for function, lines in functions(path) if lines > FUNCTION_LINES_MAX] == []


def home_of(path: Path) -> Path:
    """``tests/room/test_module.py``; families of dialects are tables with a few rules, which one file and the golden files test together."""
    folder = ROOT / "tests" / path.relative_to(ROOT / "sidecar").parent
    expected = folder / f"test_{path.stem.strip('_')}.py"
    return folder / "test_families.py" if folder.name == "dialects" and not expected.exists() else expected


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_module_has_its_test_file(path: Path) -> None:
    """Packages and values without behaviour need none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    has_behaviour = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))
    expected = home_of(path)

    assert expected.exists() or not has_behaviour, f"{name(expected)} is missing"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_nothing_is_left_for_later_without_an_issue() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

    assert [name(path) for path in PROGRAMS if path != Path(__file__) and pattern.search(path.read_text(encoding="utf-8"))] == []


def test_no_test_sleeps() -> None:
    """Tests wait on conditions with a deadline; fakes and pollers wait in one named place, and in simulations time is virtual."""
    pattern = re.compile(r"\btime\.sleep\(|asyncio\.sleep\((?!0\))")
    waiting = {"tests/fakes", "tests/waiting.py", "tests/processes.py", "tests/simulation"}

    found = [
        name(path)
        for path in PROGRAMS
        if name(path).startswith("tests/") and pattern.search(path.read_text(encoding="utf-8")) and path != Path(__file__)
    ]

    assert [path for path in found if not any(path.startswith(place) for place in waiting)] == []


def test_importing_has_no_effect() -> None:
    """No metric on the default registry, no logger configured, no file made, no environment changed."""
    modules = [name(path)[:-3].replace("/", ".") for path in SOURCES if path.name != "__main__.py"]
    program = f"""
import importlib, logging, os, prometheus_client, asyncio
environment, handlers = dict(os.environ), list(logging.getLogger().handlers)
families = {{family.name for family in prometheus_client.REGISTRY.collect()}}
for module in {modules!r}:
    importlib.import_module(module.removesuffix('.__init__'))
assert dict(os.environ) == environment
assert logging.getLogger().handlers == handlers
assert not logging.getLogger('sidecar').handlers
assert {{family.name for family in prometheus_client.REGISTRY.collect()}} == families
assert os.listdir('.') == []
"""
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run([sys.executable, "-c", program], cwd=empty, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})

    assert done.returncode == 0, done.stderr


def test_the_lock_files_name_no_host_and_pin_every_package_by_hash() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text(encoding="utf-8")

        assert "://" not in text
        pins = re.findall(r"^[A-Za-z0-9_.-]+==\S+", text, re.MULTILINE)
        assert pins
        assert len(pins) == len(re.findall(r"^[A-Za-z0-9_.-]+==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE))

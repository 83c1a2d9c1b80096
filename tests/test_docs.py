"""The documents say what the code does."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import draw_trace, generate_docs

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_generated_pages_are_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == generate_docs.configuration()
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == generate_docs.metrics()


def test_the_picture_of_a_trace_is_what_the_pipeline_makes_of_it_today() -> None:
    assert (ROOT / "docs/trace.svg").read_text(encoding="utf-8") == draw_trace.picture()


def test_every_name_in_the_architecture_exists() -> None:
    """Names in back-quotes such as `receive.intake.Intake` are looked up below the package."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = "|".join(sorted(path.name.removesuffix(".py") for path in (ROOT / "sidecar").iterdir() if path.name[0] not in "_."))

    missing = []
    for found in sorted(set(re.findall(rf"`((?:{rooms})(?:\.[A-Za-z_]+)+)`", text))):
        if found.endswith((".py", ".sql", ".typed")):
            continue
        module, names = found.split("."), list[str]()
        while module:
            try:
                value: object = importlib.import_module(f"sidecar.{'.'.join(module)}")
                break
            except ModuleNotFoundError:
                names.insert(0, module.pop())
        for each in names:
            value = getattr(value, each, None)
        if value is None:
            missing.append(found)

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_file_named_on_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]

    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = set(re.findall(r"\bsidecar (run|validate|print-config|doctor|demo|buffer)\b", text))

    assert [target for target in re.findall(r"\bmake ([a-z]+)\b", text) if f"\n{target}:" not in makefile] == []
    for command in commands:
        done = subprocess.run([sys.executable, "-m", "sidecar", command, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_example_configurations_are_good() -> None:
    from sidecar.loader import load

    for name in ("relay.yaml", "sidecar.yaml"):
        assert load([ROOT / "config" / name], [], {}).config.destinations[0].type == "local"

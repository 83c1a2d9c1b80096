"""`sidecar demo`."""

from __future__ import annotations

from sidecar.demo import Shown, table
from tests.test_cli import sidecar


def test_the_demo_delivers_its_spans_and_shows_them_as_a_tree() -> None:
    done = sidecar("demo", env={"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-canary"})

    assert done.returncode == 0, done.stderr
    assert "5 of 5 spans arrived" in done.stdout
    assert "\ninvoke_agent support" in done.stdout
    assert "\n  execute_tool carrier_eta" in done.stdout
    assert "ERROR carrier API timed out" in done.stdout


def test_children_stand_below_their_parents() -> None:
    spans = [
        Shown("a", "", "root", 1, 2.0, "", {"user.id": "u"}),
        Shown("b", "a", "child", 2, 1.0, "", {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": "3", "gen_ai.usage.output_tokens": "4"}),
        Shown("c", "b", "grandchild", 3, 0.5, "broken", {}),
    ]

    lines = list(table(spans))

    assert [line.split("  ")[0] for line in lines[2:3]] == ["root"]
    assert lines[3].startswith("  child") and "3/4" in lines[3]
    assert lines[4].startswith("    grandchild") and lines[4].endswith("ERROR broken")

"""An application with Langfuse's SDK delivers through the sidecar by nothing but its LANGFUSE_BASE_URL."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.clients.conftest import Relay
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY
from tests.processes import ROOT


def run_program(base_url: str, **environment: str) -> dict[str, str]:
    """What the program recorded: names to ids in hex."""
    program = subprocess.run(
        [sys.executable, "-m", "tests.clients.langfuse_program"],
        env={
            "PATH": os.environ.get("PATH", ""),
            "LANGFUSE_BASE_URL": base_url,
            "LANGFUSE_PUBLIC_KEY": PUBLIC_KEY,
            "LANGFUSE_SECRET_KEY": SECRET_KEY,
            **environment,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    assert "Failed to export" not in program.stderr, program.stderr
    recorded = json.loads(program.stdout.splitlines()[-1])
    assert isinstance(recorded, dict)
    return recorded


@pytest.mark.parametrize(("compression", "slash"), [("gzip", ""), ("none", "/")])
def test_what_the_langfuse_sdk_recorded_arrives(relay: Relay, compression: str, slash: str) -> None:
    """A base URL that ends in a slash makes the SDK post to `//api/public/...`."""
    recorded = run_program(relay.sidecar.http_url + slash, LANGFUSE_OTEL_COMPRESSION=compression)
    trace = bytes.fromhex(recorded.pop("trace"))
    ids = {(trace, bytes.fromhex(span_id)): name for name, span_id in recorded.items()}

    relay.langfuse.seen.block_until(lambda: ids.keys() <= relay.langfuse.seen.ids(), 20, "three observations")

    arrived = relay.langfuse.seen.unique()
    assert {id_: arrived[id_].span.name for id_ in ids} == ids
    by_name = {arrived[id_].span.name: {each.key: each.value.string_value for each in arrived[id_].span.attributes} for id_ in ids}
    assert by_name["answer"]["langfuse.observation.type"] == "generation"
    assert by_name["answer"]["langfuse.observation.model.name"] == "gpt-4o-mini"
    assert json.loads(by_name["answer"]["langfuse.observation.usage_details"]) == {"input": 12, "output": 3}
    assert by_name["lookup order"]["langfuse.observation.level"] == "ERROR"
    assert by_name["lookup order"]["user.id"] == "user-1"
    assert arrived[next(iter(ids))].scope.name == "langfuse-sdk"

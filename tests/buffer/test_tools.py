from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.buffer.control import serve_control
from sidecar.buffer.tools import run_command
from sidecar.clock import SystemClock
from sidecar.config import BufferSettings
from sidecar.errors import BufferError, BufferLocked, BufferUnwritable  # noqa: A004  (the tree's name is the field's)
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest
from sidecar.wire.split import compress
from tests.buffer.builders import LOG, append, buffer, file, row, run, settings
from tests.buffer.test_opening import filled, zeroed_page


def body_of(name: bytes) -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = b"t" * 16, b"s" * 8, name
    return compress(request.SerializeToString())


async def results(path: Path | str, command: str, **options: object) -> list[dict[str, object]]:
    return [result async for result in run_command(settings(path), command, SystemClock(), LOG, **options)]


def test_a_stopped_buffer_is_opened_by_the_command_itself(tmp_path: Path) -> None:
    path = tmp_path / "b.db"

    async def body() -> None:
        async with buffer(path) as found:
            await found.append(append(row(body_of(b"chat"))))
        (exported,) = await results(path, "export", kind="pending", destination=None)
        assert "chat" in repr(exported["otlp"]) and "body" not in exported
        assert (await results(path, "inspect"))[0]["pending_spans"] == 1
        assert await results(path, "purge", kind="pending") == [{"purged_spans": 1}]

    run(body())
    with file(path) as found:
        assert found.clean


def test_a_running_buffer_is_asked(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found, serve_control(found, LOG):
            await found.append(append(row(body_of(b"chat")), row(b"not gzip")))
            good, bad = await results(tmp_path / "b.db", "export", kind="pending")
            assert "chat" in repr(good["otlp"])
            assert "otlp" not in bad and bad["body"] == "bm90IGd6aXA="
            assert await results(tmp_path / "b.db", "replay") == [{"replayed_spans": 0}]
            with pytest.raises(BufferLocked, match="process"):
                await results(tmp_path / "b.db", "repair")

    run(body())


def test_a_damaged_buffer_is_repaired(tmp_path: Path) -> None:
    filled(tmp_path / "b.db")
    zeroed_page(tmp_path / "b.db")

    (result,) = run(results(tmp_path / "b.db", "repair"))

    assert isinstance(result["salvaged_spans"], int) and result["salvaged_spans"] > 0


@pytest.mark.parametrize(
    ("path", "command", "options", "error", "message"),
    [
        ("missing/b.db", "inspect", {}, BufferError, "no buffer at"),
        ("missing/b.db", "repair", {}, BufferError, "no buffer at"),
        (":memory:", "inspect", {}, BufferUnwritable, "memory"),
        ("b.db", "export", {}, ValueError, "say what to export"),
        ("b.db", "repair", {"kind": "dead"}, ValueError, "no options"),
    ],
)
def test_a_command_that_makes_no_sense_changes_nothing(
    tmp_path: Path, path: str, command: str, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(results(path if path == ":memory:" else tmp_path / path, command, **options))

    assert list(tmp_path.iterdir()) == []


def test_defaults_of_the_settings_are_enough(tmp_path: Path) -> None:
    async def body() -> None:
        path = str(tmp_path / "b.db")
        async with buffer(path) as found:
            await found.append(append(row()))
        seen = [result async for result in run_command(BufferSettings(path=path), "inspect", SystemClock(), LOG)]
        assert seen[0]["pending_spans"] == 1

    run(body())

"""`sidecar buffer ...`: asks the running process if there is one, opens the file itself if there is none.

For the command line only. Bodies are decoded here, in the operator's process.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncGenerator
from pathlib import Path

from prometheus_client import CollectorRegistry

from sidecar.buffer.buffer import open_buffer
from sidecar.buffer.commands import Command, answer, parse
from sidecar.buffer.control import ask
from sidecar.buffer.runner import inline
from sidecar.buffer.salvage import repair
from sidecar.clock import Clock
from sidecar.config import BufferSettings
from sidecar.errors import BufferError, BufferLocked, BufferUnwritable  # noqa: A004  (the tree's name is the field's)
from sidecar.observe.metrics import Metrics
from sidecar.wire.otlp_json_out import to_json
from sidecar.wire.split import decompress


async def run_command(
    settings: BufferSettings, command: str, clock: Clock, log: logging.Logger, **options: object
) -> AsyncGenerator[dict[str, object], None]:
    """Carry out inspect, export, replay, purge or repair on the buffer at ``settings.path``; yields JSON objects.

    Options: kind (pending, dead, delivered), destination, trace_id (hex), ids, limit (rows); None is as good as absent.
    An export yields one object a row, its spans as OTLP/JSON under ``otlp``. `repair` needs the running process stopped.
    Raises BufferError, BufferLocked, BufferUnwritable or BufferFull; ValueError for wrong options.
    """
    path = settings.path
    if path == ":memory:":
        raise BufferUnwritable("a buffer in memory can't be reached from outside: set buffer.path to a file")
    given = {name: value for name, value in options.items() if value is not None}
    if command == "repair":
        if given:
            raise ValueError("repair takes no options")
        _exists(path, or_set_aside=True)
        for result in repair(settings, clock.wall_ms, log):
            yield result
        return
    request = parse({"command": command, **given})
    _exists(path, or_set_aside=False)
    finish = _readable if request.command is Command.EXPORT else _as_is
    try:
        async with open_buffer(settings, clock, Metrics(CollectorRegistry()), log, runner=inline) as buffer:
            async for result in answer(buffer, request):
                yield finish(result)
    except BufferLocked:
        async for result in ask(path, {"command": command, **given}):
            yield finish(result)


def _exists(path: str, *, or_set_aside: bool) -> None:
    file = Path(path)
    if file.exists() or (or_set_aside and any(file.parent.glob(f"{file.name}.corrupt-*"))):
        return
    raise BufferError(f"there is no buffer at {path}: give the same configuration as to `sidecar run`")


def _readable(row: dict[str, object]) -> dict[str, object]:
    """A row with its spans as OTLP/JSON instead of compressed bytes; one that can't be decoded keeps its bytes."""
    body = str(row.pop("body", ""))
    try:
        return {**row, "otlp": to_json(decompress(base64.b64decode(body)))}
    except Exception:  # noqa: BLE001  (damaged bytes can fail in gzip, zlib or protobuf; an export goes on)
        return {**row, "body": body}


def _as_is(result: dict[str, object]) -> dict[str, object]:
    return result

"""Logs are events: one JSON object a line on standard error, with constant keys and no payloads.

``log.info("destination is up", extra={"destination": name, "down_s": 12})`` gives
``{"ts": ..., "level": "info", "room": "sidecar.forward", "event": "destination is up", "destination": ..., "down_s": 12}``.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import TextIO

from sidecar.config import Logging
from sidecar.errors import SidecarError

LINE_CHARS_MAX = 16 * 1024
"""A log line is cut here, so that no collector splits or drops it."""

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(settings: Logging, stream: TextIO) -> None:
    """Send every logger's events to ``stream``; called once, by the program, never at import."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("sidecar").setLevel(settings.level.upper())


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What the call site passed as ``extra``."""
    return {key: value for key, value in vars(record).items() if key not in _PLAIN}


def error_text(error: BaseException) -> str:
    """An exception as one line.

    Texts of foreign exceptions may quote payloads, so only their type is shown; our own and the
    operating system's are written for operators.
    """
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}({', '.join(error_text(each) for each in error.exceptions)})"
    return f"{type(error).__name__}: {error}" if isinstance(error, SidecarError | OSError) else type(error).__name__


def stack(error: BaseException) -> list[str]:
    """Where it was raised, innermost last, without source lines or values."""
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-12:]]


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "room": record.name,
            "event": record.getMessage(),
        }
        line.update(fields(record))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = error_text(record.exc_info[1])
            line["stack"] = stack(record.exc_info[1])
        text = json.dumps(line, default=str, ensure_ascii=False)
        if len(text) > LINE_CHARS_MAX:
            text = json.dumps(
                {**{key: line[key] for key in ("ts", "level", "room")}, "event": record.getMessage()[: LINE_CHARS_MAX // 2], "cut": True}
            )
        return text


class TextFormatter(logging.Formatter):
    """The same for people: time, level, event, key=value."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        parts = [f"{time} {record.levelname.lower():<7} {record.getMessage()}"]
        parts += [f"{key}={value}" for key, value in fields(record).items()]
        if record.exc_info and record.exc_info[1] is not None:
            parts += [f"error={error_text(record.exc_info[1])!r}", f"stack={' < '.join(reversed(stack(record.exc_info[1])))}"]
        return " ".join(parts).replace("\n", " ")[:LINE_CHARS_MAX]

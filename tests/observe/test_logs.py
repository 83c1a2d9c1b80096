"""Logs are events."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from sidecar.config import Logging
from sidecar.errors import StartError
from sidecar.observe.logs import LINE_CHARS_MAX, configure


@pytest.fixture(autouse=True)
def unchanged_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, own = root.handlers[:], root.level, logging.getLogger("sidecar").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("sidecar").setLevel(own)


def written(settings: Logging) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    configure(settings, stream)
    return logging.getLogger("sidecar.test"), stream


def test_a_line_is_one_json_object_with_constant_keys_and_the_extra_fields() -> None:
    log, stream = written(Logging())

    log.warning("destination is down", extra={"destination": "default", "down_s": 3})

    line = json.loads(stream.getvalue())
    assert {key: line[key] for key in ("level", "room", "event", "destination", "down_s")} == {
        "level": "warning",
        "room": "sidecar.test",
        "event": "destination is down",
        "destination": "default",
        "down_s": 3,
    }


def test_the_text_of_a_foreign_exception_is_not_written_because_it_may_quote_a_payload() -> None:
    log, stream = written(Logging())

    try:
        raise ValueError("the prompt said canary")
    except ValueError:
        log.exception("a stage failed")

    line = json.loads(stream.getvalue())
    assert line["error"] == "ValueError"
    assert "canary" not in stream.getvalue()
    assert any("test_logs.py" in frame for frame in line["stack"])


def test_the_text_of_our_own_and_of_the_system_s_errors_is_written() -> None:
    log, stream = written(Logging())

    log.error("stopped", exc_info=ExceptionGroup("group", [StartError("port taken"), OSError(28, "No space left")]))

    assert json.loads(stream.getvalue())["error"] == "ExceptionGroup(StartError: port taken, OSError: [Errno 28] No space left)"


def test_a_very_long_line_is_cut_and_stays_json() -> None:
    log, stream = written(Logging())

    log.error("x" * 3 * LINE_CHARS_MAX)

    assert len(stream.getvalue()) <= LINE_CHARS_MAX
    assert json.loads(stream.getvalue())["cut"] is True


def test_the_text_format_is_one_line_for_people() -> None:
    log, stream = written(Logging(format="text"))

    log.info("ready", extra={"http": "127.0.0.1:4318"})

    assert stream.getvalue().endswith("info    ready http=127.0.0.1:4318\n")


def test_the_level_is_followed() -> None:
    log, stream = written(Logging(level="warning"))

    log.info("quiet")

    assert stream.getvalue() == ""

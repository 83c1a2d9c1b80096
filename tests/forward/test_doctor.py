"""`sidecar doctor`, against the fake Langfuse and against what can be wrong."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sidecar.config import BufferSettings, Config, Destination, Secret
from sidecar.forward.doctor import Finding, Level, examine
from tests.fakes.langfuse import FakeLangfuse, langfuse_thread


def config(tmp_path: Path, fake: FakeLangfuse | None = None, *, url: str = "http://127.0.0.1:1", secret: str = "", secret_file: str = "") -> Config:
    public_key, good = next(iter(fake.keys.items())) if fake else ("pk-lf-1", "sk-lf-canary")
    secret_key = Secret("" if secret_file else secret or good)
    destination = Destination(base_url=fake.url if fake else url, public_key=public_key, secret_key=secret_key, secret_key_file=secret_file)
    return Config(buffer=BufferSettings(path=str(tmp_path / "buffer.db"), min_free_mib=1, max_mib=1), destinations=[destination])


def findings(settings: Config, wait_s: float = 5.0) -> list[Finding]:
    return list(examine(settings, wait_s))


def texts(found: list[Finding], level: Level) -> str:
    return "\n".join(each.text for each in found if each.level is level)


def test_all_is_well_when_the_test_trace_comes_back(tmp_path: Path) -> None:
    with langfuse_thread() as fake:
        found = findings(config(tmp_path, fake))

        (span,) = fake.seen.spans()
    assert [each.level for each in found] == [Level.OK] * len(found)
    assert "the keys are good" in texts(found, Level.OK)
    assert "can be read back" in texts(found, Level.OK)
    assert span.span.name == "sidecar doctor"


def test_wrong_keys_are_told_apart_from_an_unreachable_server(tmp_path: Path) -> None:
    with langfuse_thread() as fake:
        wrong = findings(config(tmp_path, fake, secret="sk-lf-canary"))
    gone = findings(config(tmp_path))

    assert "the keys were refused (401)" in texts(wrong, Level.FAIL)
    assert "can't be reached" in texts(gone, Level.FAIL)
    assert "canary" not in f"{wrong}{gone}"


def test_something_else_at_the_address_is_recognised(tmp_path: Path) -> None:
    import http.server
    import threading

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = findings(config(tmp_path, url=f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()
        thread.join()

    assert "not as Langfuse does" in texts(found, Level.FAIL)


def test_a_trace_that_cannot_be_read_back_in_time_is_only_a_warning(tmp_path: Path) -> None:
    with langfuse_thread(remember=False) as fake:
        found = findings(config(tmp_path, fake), wait_s=0)

    assert "could not be read back" in texts(found, Level.WARN)
    assert texts(found, Level.FAIL) == ""


def test_a_buffer_that_would_not_fit_the_disk_is_a_warning_and_one_that_cannot_be_written_a_failure(tmp_path: Path) -> None:
    local = [Destination(type="local")]
    huge = findings(Config(buffer=BufferSettings(path=str(tmp_path / "b.db"), max_mib=1e12), destinations=local))
    none = findings(Config(buffer=BufferSettings(path=str(tmp_path / "b.db"), min_free_mib=1e12), destinations=local))
    memory = findings(Config(buffer=BufferSettings(path=":memory:"), destinations=local))

    assert "a full buffer needs" in texts(huge, Level.WARN)
    assert "every span would be refused" in texts(none, Level.FAIL)
    assert "is :memory:" in texts(memory, Level.WARN)
    assert "nothing is sent" in texts(memory, Level.WARN)


def test_an_unreadable_key_file_is_named(tmp_path: Path) -> None:
    found = findings(config(tmp_path, secret_file=str(tmp_path / "none")))

    assert "secret_key_file can't be read" in texts(found, Level.FAIL)


@pytest.mark.parametrize("path", ["/proc/none/buffer.db"])
def test_a_directory_that_cannot_be_made_is_a_failure_with_what_to_do(path: str) -> None:
    found = findings(Config(buffer=BufferSettings(path=path), destinations=[Destination(type="local")]))

    assert [each.level for each in found if each.check in ("buffer", "disk")] != [Level.OK]
    assert socket.gethostname() not in texts(found, Level.FAIL)

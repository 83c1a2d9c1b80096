"""The disk fills up, breaks or belongs to somebody else: refused clearly, never a crash loop, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.acceptance.sending import Sent, noise, outgoing, over_http, send_now, traces
from tests.fakes.langfuse import FakeLangfuse, langfuse_thread
from tests.fakes.recording import SpanId
from tests.processes import Sidecar, sidecar_process

pytestmark = pytest.mark.acceptance

MIB = 1024 * 1024


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """A file system of that size, mounted below ``folder``; skips the test where that is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small disk needs root: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(sidecar: Sidecar, requests: list[ExportTraceServiceRequest]) -> Sent:
    """Send one after the other until one is refused; gives what was acknowledged, and the refusal."""
    sent = Sent()

    async def scenario() -> None:
        async with over_http(sidecar) as send:
            for request in requests:
                export = outgoing(request, compress=False)
                reason = await send(export)
                if reason:
                    sent.refusals[reason] += 1
                    return
                sent.acknowledge(export)

    asyncio.run(scenario())
    return sent


SMALL = {"buffer": {"min_free_mib": 1}}


def take_all(disk: Path) -> Path:
    """What a neighbour does who writes until there is no room; returns his file."""
    neighbour = disk / "neighbour"
    with neighbour.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return neighbour


def stop_and_start(sidecar: Sidecar, how: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """End it in good order or not, and start it again, on a disk that may be too full for it to become ready."""
    if how == "SIGKILL":
        sidecar.kill()
    else:
        assert sidecar.terminate() == 0
    meanwhile()
    sidecar.start(ready=False)
    sidecar.wait_until(lambda: sidecar.admin("/livez")[0] == 200, 20, "a start on a full disk")


def assert_drains_and_takes_again(sidecar: Sidecar, fake: FakeLangfuse, acknowledged: set[SpanId], make_room: Callable[[], None]) -> None:
    fake.up()
    fake.block_for_spans(len(acknowledged), 60)
    sidecar.settled()
    assert acknowledged - fake.seen.ids() == set()

    make_room()
    sidecar.wait_until(lambda: sidecar.admin("/readyz")[0] == 200, 4, "readiness soon after there is room")
    again = send_now(sidecar, traces(3))
    fake.block_for_spans(len(acknowledged | again), 30)
    sidecar.settled()
    assert fake.seen.duplicates() == 0


def test_a_disk_that_our_own_backlog_filled_refuses_then_drains_and_recovers(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", 48), langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, SMALL) as sidecar:
        fake.down()
        sent = fill(sidecar, noise(2000, bytes_each=60_000))

        assert dict(sent.refusals) == {"503": 1}
        assert len(sent.acknowledged) > 200
        assert sidecar.admin("/livez")[0] == 200
        assert_drains_and_takes_again(sidecar, fake, sent.acknowledged, lambda: None)


def test_a_disk_that_a_neighbour_filled_refuses_then_drains_and_recovers(tmp_path: Path) -> None:
    """Not even a DELETE works on a full disk: draining lives on the reserve, for as long as the neighbour stays."""
    with small_disk(tmp_path / "data", 48) as disk, langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, SMALL) as sidecar:
        fake.down()
        before = fill(sidecar, noise(90, bytes_each=60_000))
        assert not before.refusals
        neighbour = take_all(disk)
        after = fill(sidecar, noise(500, bytes_each=60_000, seed=1))

        assert dict(after.refusals) == {"503": 1}
        assert sidecar.admin("/livez")[0] == 200
        assert_drains_and_takes_again(sidecar, fake, before.acknowledged | after.acknowledged, neighbour.unlink)


ENDINGS = pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])


@ENDINGS
def test_a_sidecar_that_ends_while_its_backlog_fills_the_disk_starts_again_and_drains(tmp_path: Path, how: str) -> None:
    with small_disk(tmp_path / "data", 48), langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, SMALL) as sidecar:
        fake.down()
        sent = fill(sidecar, noise(2000, bytes_each=60_000))
        for _ in range(2):
            stop_and_start(sidecar, how)

        assert sidecar.ledger().pending == len(sent.acknowledged)
        assert_drains_and_takes_again(sidecar, fake, sent.acknowledged, lambda: None)


@ENDINGS
def test_a_sidecar_that_ends_on_a_disk_that_a_neighbour_filled_starts_again_and_drains(tmp_path: Path, how: str) -> None:
    """Both with long rows and with many short ones, whose commits write far more than their bodies."""
    with small_disk(tmp_path / "data", 48) as disk, langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, SMALL) as sidecar:
        fake.down()
        before = fill(sidecar, noise(300, bytes_each=600) + noise(90, bytes_each=60_000, seed=1))
        assert not before.refusals
        neighbour = take_all(disk)
        after = fill(sidecar, noise(5, bytes_each=600, seed=2))
        assert dict(after.refusals) == {"503": 1}
        for _ in range(2):
            stop_and_start(sidecar, how)

        assert_drains_and_takes_again(sidecar, fake, before.acknowledged | after.acknowledged, neighbour.unlink)


@ENDINGS
def test_a_neighbour_who_takes_even_the_reserve_delays_and_loses_nothing(tmp_path: Path, how: str) -> None:
    """With no byte left there is nothing to drain on, and still no crash loop: it waits for room."""
    with small_disk(tmp_path / "data", 48) as disk, langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, SMALL) as sidecar:
        fake.down()
        sent = fill(sidecar, noise(90, bytes_each=60_000))
        take_all(disk)
        assert fill(sidecar, noise(1, bytes_each=600, seed=1)).acknowledged == set()
        stop_and_start(sidecar, how, lambda: take_all(disk))

        assert sidecar.admin("/readyz")[0] == 503
        assert sidecar.ledger().pending == len(sent.acknowledged)
        (disk / "neighbour").unlink()
        assert_drains_and_takes_again(sidecar, fake, sent.acknowledged, lambda: None)


def test_a_full_buffer_refuses_with_503_and_takes_again_once_it_has_drained(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, {"buffer": {"max_mib": 2}}) as sidecar:
        fake.down()
        sent = fill(sidecar, noise(100, bytes_each=60_000))

        assert dict(sent.refusals) == {"503": 1}
        assert 20 < len(sent.acknowledged) <= 2 * MIB // 60_000
        assert sidecar.ledger().pending == len(sent.acknowledged)

        fake.up()
        fake.block_for_spans(len(sent.acknowledged), 30)
        sidecar.settled()
        again = send_now(sidecar, traces(3))
        fake.block_for_spans(len(sent.acknowledged | again), 30)
        sidecar.settled()
        assert fake.seen.duplicates() == 0


def test_a_damaged_file_is_set_aside_and_its_spans_are_counted(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, {"shutdown": {"grace_s": 0.2}}) as sidecar:
        fake.down()
        lost = send_now(sidecar, traces(10))
        assert sidecar.terminate() == 0
        file = sidecar.data_dir / "buffer.db"
        file.write_bytes(b"this is no database" * 1000)

        fake.up()
        sidecar.start()
        sent = send_now(sidecar, traces(5, seed=1))
        fake.block_for_spans(len(sent), 30)
        ledger = sidecar.settled()

        assert fake.seen.ids() == sent
        assert ledger.total("quarantined") == len(lost)
        assert len(list(sidecar.data_dir.glob("buffer.db.corrupt-*"))) >= 1
        assert sidecar.metric("sidecar_buffer_quarantined_files_total") == 1


def test_a_truncated_file_after_a_kill_is_no_crash_loop(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        fake.down()
        send_now(sidecar, noise(100, bytes_each=50_000))
        sidecar.kill()
        file = sidecar.data_dir / "buffer.db"
        os.truncate(file, file.stat().st_size // 2)

        fake.up()
        sidecar.start()
        sent = send_now(sidecar, traces(5, seed=1))
        sidecar.settled()

        assert sent - fake.seen.ids() == set()
        assert fake.seen.lost == []


def test_a_path_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with sidecar_process(tmp_path, "http://127.0.0.1:1", start=False) as sidecar:
        sidecar.start(ready=False)

        assert sidecar.wait_for_exit(20) == 1
        assert str(sidecar.data_dir) in sidecar.log()
        assert "Traceback" not in sidecar.log()


def test_two_processes_never_share_a_buffer(tmp_path: Path) -> None:
    first_folder, second_folder = tmp_path / "first", tmp_path / "second"
    first_folder.mkdir()
    second_folder.mkdir()
    with langfuse_thread() as fake, sidecar_process(first_folder, fake.url) as first:
        shared = {"buffer": {"path": str(first.data_dir / "buffer.db")}}
        with sidecar_process(second_folder, fake.url, shared, start=False) as second:
            second.start(ready=False)

            assert first.process is not None
            assert second.wait_for_exit(20) == 1
            assert str(first.process.pid) in second.log() and "buffer.db" in second.log()
            assert "Traceback" not in second.log()
        sent = send_now(first, traces(3))
        fake.block_for_spans(len(sent), 30)
        first.settled()


def test_what_is_on_disk_is_for_its_owner_only(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        fake.down()
        send_now(sidecar, traces(3))
        modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in sidecar.data_dir.iterdir() if not path.is_dir()}

        assert set(modes.values()) == {"0o600"}, modes
        assert "buffer.db" in modes

"""Start and end: a stop in the middle of everything loses nothing, and what can't start says why."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.sending import Outgoing, Sent, outgoing, over_http, send_now, traces
from tests.fakes.langfuse import langfuse_thread
from tests.processes import Sidecar, sidecar_process

pytestmark = pytest.mark.acceptance


def test_sigterm_delivers_what_fits_and_ends_with_zero(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, {"forward": {"linger_ms": 2000}}) as sidecar:
        sent = send_now(sidecar, traces(20))

        assert sidecar.terminate() == 0
        assert fake.seen.ids() == sent
        assert fake.seen.duplicates() == 0


def test_what_does_not_fit_the_grace_period_is_delivered_after_the_next_start(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, {"shutdown": {"grace_s": 1}}) as sidecar:
        fake.script.fail_always(503)
        sent = send_now(sidecar, traces(20))
        start = time.monotonic()

        assert sidecar.terminate() == 0
        assert time.monotonic() - start < 10
        assert "ledger" in sidecar.log()
        assert fake.seen.ids() == set()

        fake.script.recover()
        sidecar.start()
        fake.block_for_spans(len(sent), 30)
        ledger = sidecar.settled()

        assert fake.seen.ids() == sent
        assert fake.seen.duplicates() == 0
        assert ledger.total("delivered") == len(sent)


def test_sigterm_in_the_middle_of_everything_loses_no_acknowledged_span(tmp_path: Path) -> None:
    exports = [outgoing(request) for request in traces(400)]
    sent = Sent()

    async def send_until_it_is_gone(sidecar: Sidecar) -> None:
        async with over_http(sidecar) as send:

            async def work(waiting: list[Outgoing]) -> None:
                for export in waiting:
                    if reason := await send(export):
                        sent.refusals[reason] += 1
                        return
                    sent.acknowledge(export)

            async with asyncio.TaskGroup() as group:
                for worker in range(4):
                    group.create_task(work(exports[worker::4]))
                await sent.reached(100)
                sidecar.signal(signal.SIGTERM)

    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        fake.slow(0.1)
        asyncio.run(send_until_it_is_gone(sidecar))

        assert sidecar.wait_for_exit(30) == 0
        assert 0 < len(sent.acknowledged) < 400 * 5
        assert set(sent.refusals) <= {"503", "ClientConnectorError", "ServerDisconnectedError", "ClientOSError"}

        sidecar.start()
        fake.block_for_spans(len(sent.acknowledged), 30)
        sidecar.settled()
        assert sent.acknowledged - fake.seen.ids() == set()


def test_the_ledger_survives_restarts_and_kills(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        sent = send_now(sidecar, traces(4))
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()
        sidecar.kill()
        sidecar.start()
        sent |= send_now(sidecar, traces(4, seed=1))
        fake.block_for_spans(len(sent), 30)
        sidecar.settled()
        sidecar.restart()
        ledger = sidecar.settled()

        assert ledger.total("received") == ledger.total("stored") == ledger.total("delivered") == len(sent)


def test_a_taken_port_is_said_at_once(tmp_path: Path) -> None:
    first_folder, second_folder = tmp_path / "first", tmp_path / "second"
    first_folder.mkdir()
    second_folder.mkdir()
    with langfuse_thread() as fake, sidecar_process(first_folder, fake.url) as first:
        ports = {"receivers": {"http": {"endpoint": f"127.0.0.1:{first.http_port}"}}}
        with sidecar_process(second_folder, fake.url, ports, start=False) as second:
            second.start(ready=False)

            assert second.wait_for_exit(20) == 1
            assert str(first.http_port) in second.log() and "receivers.http.endpoint" in second.log()
            assert "Traceback" not in second.log()


def test_a_base_url_that_is_our_own_listener_is_refused(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, "http://127.0.0.1:1", start=False) as sidecar:
        sidecar.command = [
            *sidecar.command,
            "--set",
            f"destinations=[{{name: default, base_url: '{sidecar.http_url}', public_key: a, secret_key: b}}]",
        ]
        sidecar.start(ready=False)

        assert sidecar.wait_for_exit(20) == 2
        assert "destinations" in sidecar.log() and "Traceback" not in sidecar.log()

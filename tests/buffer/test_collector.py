from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from sidecar.buffer.runner import inline
from sidecar.observe.metrics import Metrics
from tests.buffer.builders import append, buffer, row, run
from tests.fakes.clock import FakeClock


def test_a_scrape_shows_the_ledger_and_the_buffer_as_they_are(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FakeClock()
        metrics = Metrics(CollectorRegistry())
        value = metrics.registry.get_sample_value
        async with buffer(tmp_path / "b.db", clock=clock, metrics=metrics, runner=inline, max_mib=1) as found:
            await found.append(append(row(b"12345", spans=3, received_ms=clock.wall_ms()), rejected={"no_id": 2}))
            await clock.advance(7)

            assert value("sidecar_ledger_spans_total", {"state": "received", "reason": ""}) == 5
            assert value("sidecar_ledger_spans_total", {"state": "rejected", "reason": "no_id"}) == 2
            assert value("sidecar_ledger_pending_spans") == 3
            assert value("sidecar_buffer_bytes") == 5
            assert value("sidecar_buffer_limit_bytes") == 1024 * 1024
            assert value("sidecar_buffer_rows", {"destination": "default"}) == 1
            assert value("sidecar_buffer_oldest_seconds") == 7
            assert value("sidecar_buffer_disk_full") == 0
            assert value("sidecar_buffer_dead_letter_rows") == 0

        assert value("sidecar_ledger_pending_spans") is None

    run(body())


def test_a_buffer_set_aside_is_counted(tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "b.db").write_bytes(b"garbage" * 100)
        metrics = Metrics(CollectorRegistry())
        async with buffer(tmp_path / "b.db", metrics=metrics):
            assert metrics.registry.get_sample_value("sidecar_buffer_quarantined_files_total") == 1

    run(body())

"""The buffer's numbers for Prometheus: read when scraped, so that nothing is counted twice or late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.buffer.lanes import Lanes
from sidecar.buffer.ledger import Ledger
from sidecar.clock import Clock
from sidecar.observe.metrics import LEDGER_FAMILIES, Metrics


class Numbers(Protocol):
    """What is shown of a buffer."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def pending_spans(self) -> int: ...
    @property
    def pending_bytes(self) -> int: ...
    @property
    def limit_bytes(self) -> int: ...
    @property
    def disk_full(self) -> bool: ...
    @property
    def dead_rows(self) -> int: ...


class BufferCollector(Collector):
    """``sidecar_ledger_spans_total{state,reason}`` and ``sidecar_ledger_pending_spans``."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        ledger = self._numbers.ledger
        (name, _, labels, text), (pending_name, _, _, pending_text) = LEDGER_FAMILIES
        spans = CounterMetricFamily(name, text, labels=labels.split(", "))
        for (state, reason), count in sorted(ledger.totals.items()):
            spans.add_metric((state, reason), count)
        yield spans
        # Counted by rows: derived from the totals, as `ledger.pending` is, it would prove nothing.
        yield GaugeMetricFamily(pending_name, pending_text, value=self._numbers.pending_spans)


def show(metrics: Metrics, numbers: Numbers, lanes: Lanes, clock: Clock) -> None:
    """Let the gauges read from the buffer."""

    def oldest_s() -> float:
        known = [ms for _, lane in lanes if (ms := lane.status().oldest_received_ms) is not None]
        return max(clock.wall_ms() - min(known), 0) / 1000 if known else 0.0

    def rows(destination: str) -> None:
        metrics.buffer_rows.labels(destination).set_function(lambda: lanes[destination].total)

    lanes.announce(rows)
    metrics.buffer_dead_rows.set_function(lambda: numbers.dead_rows)
    metrics.buffer_bytes.set_function(lambda: numbers.pending_bytes)
    metrics.buffer_limit_bytes.set_function(lambda: numbers.limit_bytes)
    metrics.buffer_oldest_seconds.set_function(oldest_s)
    metrics.buffer_disk_full.set_function(lambda: float(numbers.disk_full))

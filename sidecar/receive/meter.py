"""Counting of requests, alike for both transports.

Owns the label values of ``sidecar_receiver_*``: label children are looked up once, because a request of one
span may cost no more than a few microseconds of counting.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from prometheus_client import Counter

from sidecar.observe.metrics import Metrics

Transport = Literal["http", "grpc"]


class Signal(StrEnum):
    """What a request carries; ``OTHER`` is everything that is answered with an error before that is known."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"
    OTHER = "other"


OK = "ok"
DISCONNECTED = "disconnected"
"""The client went away before its answer; nothing was acknowledged."""


class Meter:
    """The counters of one transport."""

    def __init__(self, metrics: Metrics, transport: Transport) -> None:
        self._transport = transport
        self._requests = metrics.receiver_requests
        self._children: dict[tuple[str, str], Counter] = {}
        self._rejected = metrics.receiver_rejected_spans
        self._mended = metrics.receiver_mended_spans
        self._seconds = metrics.receiver_request_seconds.labels(transport)
        self._bytes = metrics.receiver_request_bytes.labels(transport)
        self._accepted = metrics.receiver_accepted_spans.labels(transport)
        self._discarded = {signal: metrics.receiver_discarded_items.labels(transport, signal.value) for signal in (Signal.LOGS, Signal.METRICS)}

    def answered(self, signal: Signal, outcome: str, seconds: float) -> None:
        """One request was answered; ``outcome`` is ``ok`` or the reason of the error."""
        self.ended(signal, outcome)
        self._seconds.observe(seconds)

    def ended(self, signal: Signal, outcome: str) -> None:
        """One request or connection ended without an answer that is worth timing."""
        child = self._children.get((signal, outcome))
        if child is None:
            child = self._children[signal, outcome] = self._requests.labels(self._transport, signal.value, outcome)
        child.inc()

    def committed(self, body_bytes: int, accepted: int, rejected: Mapping[str, int], mends: Mapping[str, int]) -> None:
        """One request of spans was committed."""
        self._bytes.inc(body_bytes)
        self._accepted.inc(accepted)
        for reason, spans in rejected.items():
            self._rejected.labels(self._transport, reason).inc(spans)
        for mend, count in mends.items():
            self._mended.labels(mend).inc(count)

    def discarded(self, signal: Signal, body_bytes: int) -> None:
        """One request of logs or metrics was taken and dropped."""
        self._bytes.inc(body_bytes)
        self._discarded[signal].inc()

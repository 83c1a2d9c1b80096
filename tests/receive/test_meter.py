from __future__ import annotations

from prometheus_client import CollectorRegistry

from sidecar.observe.metrics import Metrics
from sidecar.receive.meter import Meter, Signal


def test_requests_are_counted_by_signal_and_outcome_and_timed_by_transport() -> None:
    registry = CollectorRegistry()
    meter = Meter(Metrics(registry), "http")
    for outcome, seconds in (("ok", 0.1), ("ok", 0.2), ("malformed", 0.3)):
        meter.answered(Signal.TRACES, outcome, seconds)
    meter.ended(Signal.OTHER, "timeout")
    labels = {"transport": "http", "signal": "traces"}
    assert registry.get_sample_value("sidecar_receiver_requests_total", labels | {"outcome": "ok"}) == 2
    assert registry.get_sample_value("sidecar_receiver_requests_total", labels | {"outcome": "malformed"}) == 1
    assert registry.get_sample_value("sidecar_receiver_requests_total", labels | {"signal": "other", "outcome": "timeout"}) == 1
    assert registry.get_sample_value("sidecar_receiver_request_seconds_count", {"transport": "http"}) == 3


def test_spans_are_counted_by_what_became_of_them() -> None:
    registry = CollectorRegistry()
    meter = Meter(Metrics(registry), "grpc")
    meter.committed(1000, 7, {"invalid_span_id": 2}, {"end_time": 3})
    assert registry.get_sample_value("sidecar_receiver_request_bytes_total", {"transport": "grpc"}) == 1000
    assert registry.get_sample_value("sidecar_receiver_accepted_spans_total", {"transport": "grpc"}) == 7
    assert registry.get_sample_value("sidecar_receiver_rejected_spans_total", {"transport": "grpc", "reason": "invalid_span_id"}) == 2
    assert registry.get_sample_value("sidecar_receiver_mended_spans_total", {"mend": "end_time"}) == 3


def test_both_transports_share_one_registry() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for transport in ("http", "grpc"):
        Meter(metrics, transport).discarded(Signal.LOGS, 10)
        labels = {"transport": transport, "signal": "logs"}
        assert registry.get_sample_value("sidecar_receiver_discarded_items_total", labels) == 1

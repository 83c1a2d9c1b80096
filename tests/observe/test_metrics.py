"""The metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from sidecar.observe.metrics import Metrics


def metrics() -> list[MetricWrapperBase]:
    return [each for each in vars(Metrics(CollectorRegistry())).values() if isinstance(each, MetricWrapperBase)]


def test_every_metric_has_the_prefix_a_unit_or_a_plain_count_and_a_sentence() -> None:
    units = (
        "_seconds",
        "_bytes",
        "_rows",
        "_spans",
        "_requests",
        "_retries",
        "_items",
        "_calls",
        "_messages",
        "_media",
        "_values",
        "_failures",
        "_files",
        "_state",
        "_info",
        "_paused",
        "_full",
        "_reloads",
        "_pressure",
        "_probability",
        "_cap",
        "_traces",
        "_rescues",
    )

    for each in metrics():
        (family,) = each.describe()
        assert family.name.startswith("sidecar_")
        assert family.name.endswith(units), family.name
        assert family.documentation.endswith("."), family.name


def test_two_registries_do_not_share_a_metric() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    Metrics(first).buffer_commit_rows.inc()
    Metrics(second)

    assert first.get_sample_value("sidecar_buffer_committed_rows_total") == 1
    assert second.get_sample_value("sidecar_buffer_committed_rows_total") == 0

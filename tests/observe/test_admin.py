"""The admin listener."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from sidecar.config import Admin, Endpoint
from sidecar.errors import StartError
from sidecar.observe.admin import open_admin
from sidecar.observe.health import Health, Phase
from sidecar.observe.metrics import Metrics

ANY_PORT = Admin(endpoint=Endpoint("127.0.0.1", 0))


def fetch(path: str, health: Health, metrics: Metrics, accept: str = "*/*") -> tuple[int, str, str]:
    async def ask() -> tuple[int, str, str]:
        async with (
            open_admin(ANY_PORT, metrics, health) as endpoint,
            aiohttp.ClientSession() as client,
            client.get(f"http://{endpoint}{path}", headers={"Accept": accept}) as answer,
        ):
            return answer.status, answer.headers["Content-Type"], await answer.text()

    return asyncio.run(ask())


def test_metrics_are_served_as_prometheus_text() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.receiver_accepted_spans.labels("http").inc(3)

    status, content_type, text = fetch("/metrics", Health(), metrics)

    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert any(sample.name == "sidecar_receiver_accepted_spans_total" and sample.value == 3 for sample in samples)


def test_metrics_are_served_as_openmetrics_when_asked() -> None:
    status, content_type, text = fetch("/metrics", Health(), Metrics(CollectorRegistry()), "application/openmetrics-text; version=1.0.0")

    assert (status, content_type.split(";")[0], text.endswith("# EOF\n")) == (200, "application/openmetrics-text", True)


def test_liveness_is_unconditional_and_readiness_says_why_not() -> None:
    health = Health()
    metrics = Metrics(CollectorRegistry())
    starting = fetch("/readyz", health, metrics)
    health.phase = Phase.READY

    assert fetch("/livez", health, metrics)[0] == 200
    assert (starting[0], starting[2]) == (503, "starting\n")
    assert fetch("/readyz", health, metrics)[0] == 200


def test_a_taken_port_is_named_with_its_key() -> None:
    async def open_twice(endpoint: Endpoint) -> None:
        async with open_admin(Admin(endpoint=endpoint), Metrics(CollectorRegistry()), Health()):
            pass

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StartError, match=r"admin\.endpoint: can't listen on 127\.0\.0\.1"):
        asyncio.run(open_twice(Endpoint("127.0.0.1", taken.getsockname()[1])))


def test_it_can_listen_on_a_unix_socket_and_can_be_disabled(tmp_path: Path) -> None:
    async def opened(admin: Admin) -> Endpoint | None:
        async with open_admin(admin, Metrics(CollectorRegistry()), Health()) as endpoint:
            return endpoint

    path = str(tmp_path / "admin.sock")
    assert asyncio.run(opened(Admin(endpoint=Endpoint(path=path)))) == Endpoint(path=path)
    assert asyncio.run(opened(Admin(enabled=False))) is None

"""The admin listener."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Exemplar, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from sidecar.config import Admin, Endpoint
from sidecar.errors import StartError
from sidecar.observe.admin import SLICE, open_admin, written
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


class Many(Collector):
    """A histogram of so many agents, and a family after it."""

    def __init__(self, agents: int) -> None:
        self._agents = agents

    def collect(self) -> Iterator[Metric]:
        many = HistogramMetricFamily("many_seconds", "Of # many\nagents.", labels=("agent",))
        for number in range(self._agents):
            many.add_metric((f"agent {number}",), (("0.1", 1, Exemplar({"trace_id": "a" * 32}, 0.05)), ("+Inf", 2)), 2.0)
        yield many
        yield Metric("nothing", "Of nothing.", "gauge")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
@pytest.mark.parametrize("agents", [0, 1, SLICE // 4, SLICE])
def test_a_scrape_in_slices_is_what_it_would_be_at_once(accept: str, agents: int) -> None:
    registry = CollectorRegistry()
    registry.register(Many(agents))
    encode, _ = choose_encoder(accept)

    assert asyncio.run(written(registry, encode)) == encode(registry)


def test_others_have_their_turn_during_a_long_scrape() -> None:
    registry = CollectorRegistry()
    registry.register(Many(SLICE))
    turns = 0

    async def scenario() -> None:
        nonlocal turns
        scrape = asyncio.create_task(written(registry, choose_encoder("")[0]))
        while not scrape.done():
            turns += 1
            await asyncio.sleep(0)

    asyncio.run(scenario())

    assert turns > 3


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

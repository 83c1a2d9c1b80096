"""A bad network between the sidecar and Langfuse: nothing is lost, and what comes twice was counted as ambiguous."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.sending import Sent, corpus_requests, ids_of, outgoing, over_http, send_all, traces
from tests.fakes.langfuse import FakeLangfuse, fake_langfuse
from tests.fakes.proxy import Proxy, proxy
from tests.processes import Sidecar, sidecar_process
from tests.waiting import pause

pytestmark = pytest.mark.acceptance

Scenario = Callable[[FakeLangfuse, Proxy, Sidecar], Awaitable[None]]


def through_a_proxy(folder: Path, scenario: Scenario, **forward: object) -> None:
    """Run with the fake and the proxy on this loop, and the sidecar in its process."""

    async def run() -> None:
        async with fake_langfuse() as fake:
            host, port = urlsplit(fake.url).hostname, urlsplit(fake.url).port
            assert host is not None and port is not None
            async with proxy(host, port) as between:
                with sidecar_process(folder, between.url, {"forward": forward}, start=False) as sidecar:
                    await asyncio.to_thread(sidecar.start)
                    await scenario(fake, between, sidecar)
                    assert fake.seen.lost == [] and fake.seen.oddities == []

    asyncio.run(run())


def ambiguous(sidecar: Sidecar) -> float:
    return sidecar.metric("sidecar_forward_ambiguous_spans_total")


def test_a_network_that_stalls_delays_and_loses_nothing(tmp_path: Path) -> None:
    async def scenario(fake: FakeLangfuse, between: Proxy, sidecar: Sidecar) -> None:
        sent = Sent()
        async with over_http(sidecar) as send:
            await send_all(send, map(outgoing, traces(5)), sent)
            await fake.wait_for_spans(25, 20)
            between.stall()
            await send_all(send, map(outgoing, traces(20, seed=1)), sent)
            await asyncio.to_thread(sidecar.wait_until, lambda: ambiguous(sidecar) > 0, 30, "a send without an answer")
            between.resume()
            await fake.wait_for_spans(len(sent.acknowledged), 30)
            await asyncio.to_thread(sidecar.settled)

        assert fake.seen.ids() == sent.acknowledged
        assert fake.seen.duplicates() <= await asyncio.to_thread(ambiguous, sidecar)

    through_a_proxy(tmp_path, scenario, timeout_s=2)


@pytest.mark.parametrize("seed", [1])
def test_connections_that_are_cut_again_and_again_lose_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def scenario(fake: FakeLangfuse, between: Proxy, sidecar: Sidecar) -> None:
        sent = Sent()
        requests = corpus_requests()

        async def cut_now_and_then() -> None:
            for _ in range(40):
                await pause(chance.uniform(0.02, 0.2))
                between.cut()

        async with over_http(sidecar) as send, asyncio.TaskGroup() as group:
            group.create_task(cut_now_and_then())
            group.create_task(send_all(send, map(outgoing, requests), sent))
        await fake.wait_for_spans(len(ids_of(requests)), 60)
        await asyncio.to_thread(sidecar.settled)

        assert fake.seen.ids() == sent.acknowledged == ids_of(requests)
        assert fake.seen.duplicates() <= await asyncio.to_thread(ambiguous, sidecar)

    through_a_proxy(tmp_path, scenario)

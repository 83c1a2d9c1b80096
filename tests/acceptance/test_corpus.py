"""What real frameworks sent arrives span for span, through outages and kills."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.acceptance.sending import Outgoing, Send, Sent, content, corpus_requests, ids_of, outgoing, over_grpc, over_http, send_all
from tests.fakes.langfuse import FakeLangfuse, langfuse_thread
from tests.fakes.langfuse_rules import flatten
from tests.processes import Sidecar, sidecar_process
from tests.waiting import pause

pytestmark = pytest.mark.acceptance

KILLS = 20
OUTAGE_S = 20.0

Connect = Callable[[Sidecar], AbstractAsyncContextManager[Send]]
Encode = Callable[[ExportTraceServiceRequest], Outgoing]

TRANSPORTS: dict[str, tuple[Connect, Encode]] = {
    "http-protobuf": (over_http, outgoing),
    "http-json": (over_http, lambda request: outgoing(request, json=True)),
    "grpc": (over_grpc, lambda request: outgoing(request, compress=False)),
}


def differing(fake: FakeLangfuse, requests: list[ExportTraceServiceRequest]) -> list[str]:
    """Names of the spans that are missing or came in another form than they were sent; the corpus needs no mends."""
    arrived = fake.seen.unique()
    return [
        sent.span.name for request in requests for sent in flatten(request) if sent.id not in arrived or content(arrived[sent.id]) != content(sent)
    ]


def assert_complete(fake: FakeLangfuse, requests: list[ExportTraceServiceRequest]) -> None:
    assert ids_of(requests) - fake.seen.ids() == set()
    assert fake.seen.ids() - ids_of(requests) == set()
    assert differing(fake, requests) == []
    assert fake.seen.lost == []
    assert fake.seen.oddities == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_corpus_arrives_once_and_as_it_was_sent(tmp_path: Path, transport: str) -> None:
    connect, encode = TRANSPORTS[transport]
    requests = corpus_requests()
    sent = Sent()

    async def scenario(sidecar: Sidecar) -> None:
        async with connect(sidecar) as send:
            await send_all(send, map(encode, requests), sent)

    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        asyncio.run(scenario(sidecar))
        fake.block_for_spans(len(ids_of(requests)), 60)
        ledger = sidecar.settled()

        assert_complete(fake, requests)
        assert fake.seen.duplicates() == 0
        assert not sent.refusals
        assert ledger.total("delivered") == ledger.total("received") == len(ids_of(requests))


def test_the_corpus_arrives_once_around_an_outage_of_langfuse(tmp_path: Path) -> None:
    requests = corpus_requests()
    third = len(requests) // 3
    sent = Sent()

    async def scenario(sidecar: Sidecar, fake: FakeLangfuse) -> None:
        async with over_http(sidecar) as send:
            await send_all(send, map(outgoing, requests[:third]), sent)
            await asyncio.to_thread(sidecar.settled)
            await asyncio.to_thread(fake.down)
            await send_all(send, map(outgoing, requests[third : 2 * third]), sent)
            await pause(OUTAGE_S)
            assert (await asyncio.to_thread(sidecar.admin, "/readyz"))[0] == 200
            await asyncio.to_thread(fake.up)
            await send_all(send, map(outgoing, requests[2 * third :]), sent)

    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        asyncio.run(scenario(sidecar, fake))
        fake.block_for_spans(len(ids_of(requests)), 60)
        sidecar.settled()

        assert_complete(fake, requests)
        assert fake.seen.duplicates() == 0
        assert not sent.refusals


@pytest.mark.parametrize("seed", [1])
def test_no_acknowledged_span_is_lost_to_kills_at_random_moments(tmp_path: Path, seed: int, record_property: Callable[[str, object], None]) -> None:
    """What may come twice: what was being answered or sent at the moment of a kill."""
    requests = corpus_requests()
    chance = random.Random(seed)
    sent = Sent()

    async def killer(sidecar: Sidecar) -> None:
        step = len(requests) / (KILLS + 1)
        for number in range(1, KILLS + 1):
            await sent.reached(step * number)
            await pause(chance.uniform(0, 0.1))
            assert sent.requests < len(requests), "every kill is to meet traffic"
            await asyncio.to_thread(sidecar.kill)
            await asyncio.to_thread(sidecar.start)

    async def scenario(sidecar: Sidecar) -> None:
        async with over_http(sidecar) as send, asyncio.TaskGroup() as group:
            group.create_task(killer(sidecar))
            group.create_task(send_all(send, map(outgoing, requests), sent, patience_s=400, pause_s=lambda: chance.uniform(0, 0.06)))

    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        fake.slow(0.02)
        asyncio.run(scenario(sidecar))
        fake.block_for_spans(len(ids_of(requests)), 60)
        ledger = sidecar.settled()
        record_property("duplicates", fake.seen.duplicates())
        print(f"{KILLS} kills, {fake.seen.duplicates()} spans of {len(fake.seen.received)} twice, refusals {dict(sent.refusals)}")

        assert sent.acknowledged - fake.seen.ids() == set()
        assert_complete(fake, requests)
        assert ledger.total("buried", "expired", "quarantined", "purged") == 0

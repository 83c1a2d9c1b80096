"""A client that keeps what it was not told is safe: sends, retries until acknowledged, and remembers what was acknowledged."""

from __future__ import annotations

import asyncio
import gzip
import io
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from tests import corpus, spans
from tests.fakes import otlp_json
from tests.fakes.langfuse_rules import ReceivedSpan, flatten
from tests.fakes.recording import SpanId
from tests.processes import Sidecar
from tests.waiting import pause

RETRY_S = 0.1
GRPC_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One export as it will be sent, and the spans in it."""

    ids: frozenset[SpanId]
    body: bytes
    headers: tuple[tuple[str, str], ...]


@dataclass
class Sent:
    """What was acknowledged, and what the refusals were."""

    acknowledged: set[SpanId] = field(default_factory=set)
    requests: int = 0
    """Acknowledged."""
    refusals: Counter[str] = field(default_factory=Counter)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledge(self, export: Outgoing) -> None:
        self.acknowledged |= export.ids
        self.requests += 1
        self._more.set()

    async def reached(self, requests: float) -> None:
        """Return as soon as so many requests were acknowledged."""
        while self.requests < requests:
            self._more.clear()
            await self._more.wait()


Send = Callable[[Outgoing], Awaitable[str]]
"""Sends one export; gives an empty text for success, else why it was refused."""


def outgoing(request: ExportTraceServiceRequest, *, json: bool = False, compress: bool = True) -> Outgoing:
    """A request as an HTTP export."""
    body = otlp_json.to_json(request) if json else request.SerializeToString()
    headers = {"Content-Type": corpus.JSON if json else corpus.PROTOBUF}
    if compress:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, compresslevel=1)
    return Outgoing(frozenset(span.id for span in flatten(request)), body, tuple(headers.items()))


def corpus_requests() -> list[ExportTraceServiceRequest]:
    """The whole corpus, parsed by the official classes."""
    return [otlp_json.from_json(each.body) if each.is_json else ExportTraceServiceRequest.FromString(each.body) for each in corpus.trace_requests()]


def traces(n: int, *, spans_each: int = 5, bytes_each: int = 2000, seed: int = 0) -> list[ExportTraceServiceRequest]:
    """``n`` requests of one trace each."""
    return [spans.many(1, spans_each, bytes_each, seed=seed * 1_000_003 + index) for index in range(n)]


def noise(n: int, *, bytes_each: int, seed: int = 0) -> list[ExportTraceServiceRequest]:
    """``n`` requests of one span that no compressor makes smaller: for filling disks."""
    chance = random.Random(f"noise {seed}")
    return [
        spans.request(
            spans.span(trace_id=chance.randbytes(16), span_id=chance.randbytes(8), attributes={"payload": chance.randbytes(bytes_each)}),
        )
        for _ in range(n)
    ]


def ids_of(requests: Iterable[ExportTraceServiceRequest]) -> set[SpanId]:
    return {span.id for request in requests for span in flatten(request)}


def content(received: ReceivedSpan) -> tuple[bytes, ...]:
    """Everything that must survive the way, as bytes that compare equal when the messages do."""
    return (
        received.span.SerializeToString(deterministic=True),
        received.resource.SerializeToString(deterministic=True),
        received.scope.SerializeToString(deterministic=True),
        received.resource_schema_url.encode(),
        received.scope_schema_url.encode(),
    )


@asynccontextmanager
async def over_http(sidecar: Sidecar) -> AsyncIterator[Send]:
    """Send over HTTP, to the standard path."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as client:

        async def send(export: Outgoing) -> str:
            try:
                async with client.post(sidecar.traces_url, data=io.BytesIO(export.body), headers=dict(export.headers)) as response:
                    answer = await response.read()
                    if response.status != 200:
                        return f"{response.status}"
                    assert answer in (b"", b"{}"), f"not a full success: {answer!r}"
                    return ""
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                return type(error).__name__

        yield send


@asynccontextmanager
async def over_grpc(sidecar: Sidecar) -> AsyncIterator[Send]:
    """Send the same bytes over gRPC, without generated stubs."""
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
    async with grpc.aio.insecure_channel(sidecar.grpc_target, options=options) as channel:
        export_call = channel.unary_unary(GRPC_METHOD)

        async def send(export: Outgoing) -> str:
            try:
                answer = await export_call(export.body, timeout=30)
            except grpc.aio.AioRpcError as error:
                return str(error.code())
            assert ExportTraceServiceResponse.FromString(answer) == ExportTraceServiceResponse()
            return ""

        yield send


async def send_all(
    send: Send, exports: Iterable[Outgoing], sent: Sent, *, workers: int = 4, patience_s: float = 120.0, pause_s: Callable[[], float] = float
) -> None:
    """Send every export, again and again until it is acknowledged, with a pause before the next; raises TimeoutError when one never is."""
    waiting = iter(exports)

    async def work() -> None:
        for export in waiting:
            while reason := await send(export):
                sent.refusals[reason] += 1
                await pause(RETRY_S)
            sent.acknowledge(export)
            await pause(pause_s())

    async with asyncio.timeout(patience_s), asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())


def send_now(sidecar: Sidecar, requests: Iterable[ExportTraceServiceRequest]) -> set[SpanId]:
    """Send over HTTP from a test without a loop, at once, with nothing refused; gives the ids."""

    async def scenario() -> Sent:
        sent = Sent()
        async with over_http(sidecar) as send:
            await send_all(send, [outgoing(request) for request in requests], sent)
        return sent

    sent = asyncio.run(scenario())
    assert not sent.refusals, f"refused: {dict(sent.refusals)}"
    return sent.acknowledged

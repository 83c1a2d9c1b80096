"""A receiver under test: real listeners on free ports over a real intake, with a buffer that is a list.

Owns what every test of this room needs and nothing that only one needs.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import logging
import ssl
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest
import trustme
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry
from yarl import URL

from sidecar.buffer.leases import Append
from sidecar.clock import SystemClock
from sidecar.config import Auth, Endpoint, HttpReceiver, Tls
from sidecar.enrich.completer import Completed, Counted
from sidecar.observe.metrics import Metrics
from sidecar.receive.auth import Guard
from sidecar.receive.budget import InFlight
from sidecar.receive.http import run_http
from sidecar.receive.intake import Intake, Process
from sidecar.receive.pipeline import Processed
from sidecar.wire import answer_pb2
from sidecar.wire.batch import SpanBatch
from sidecar.wire.encoding import Encoding
from sidecar.wire.shallow_pb2 import ResourceSpans
from tests.spans import request, span
from tests.waiting import DEADLINE_S

T = TypeVar("T")

MIB = 1024 * 1024
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
INSTANCE = "instance-under-test"
LOG = logging.getLogger("sidecar.receive")


def run(scene: Coroutine[object, object, T]) -> T:
    """Run a scene to its end, within a minute."""
    return asyncio.run(asyncio.wait_for(scene, 60))


@dataclass
class ListBuffer:
    """A buffer that keeps what it is given. ``gate`` holds commits back while it is clear; ``error`` refuses them."""

    appends: list[Append] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    waiting: int = 0
    hastened: list[set[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def append(self, append: Append) -> None:
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error
        self.appends.append(append)

    def hasten(self, trace_ids: Collection[bytes]) -> None:
        self.hastened.append(set(trace_ids))

    @property
    def names(self) -> Counter[str]:
        """The names of the stored spans."""
        names: Counter[str] = Counter()
        for append in self.appends:
            for row in append.rows:
                for resource_spans in ExportTraceServiceRequest.FromString(gzip.decompress(row.body)).resource_spans:
                    names.update(span.name for scope_spans in resource_spans.scope_spans for span in scope_spans.spans)
        return names

    @property
    def ledger(self) -> Counter[str]:
        """Spans by what became of them; ``received`` and ``rescued`` must be the sum of the others."""
        ledger: Counter[str] = Counter()
        for append in self.appends:
            ledger["received"] += append.received
            ledger["filtered"] += append.filtered
            ledger["stored"] += sum(row.spans for row in append.rows)
            ledger["rescued"] += append.rescued
            ledger.update(append.rejected)
            ledger.update({f"sampled/{reason}": spans for reason, spans in append.sampled.items()})
        return +ledger


class OneDestination:
    """Sends everything to one destination and remembers the public keys that came."""

    def __init__(self) -> None:
        self.public_keys: list[str | None] = []

    def destination_of(self, public_key: str | None) -> Callable[[ResourceSpans], str]:
        self.public_keys.append(public_key)
        return lambda _: "default"


@dataclass
class Rig:
    """What a scene plays with."""

    buffer: ListBuffer
    route: OneDestination
    metrics: Metrics
    intake: Intake
    budget: InFlight

    def count(self, name: str, **labels: str) -> float:
        """The value of a metric; 0 when it was never touched."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def outcomes(self, transport: str) -> Counter[tuple[str, str]]:
        """Requests by (signal, outcome)."""
        found: Counter[tuple[str, str]] = Counter()
        for family in self.metrics.registry.collect():
            for sample in family.samples:
                if sample.name == "sidecar_receiver_requests_total" and sample.labels["transport"] == transport:
                    found[sample.labels["signal"], sample.labels["outcome"]] += int(sample.value)
        return found


class Steps:
    """Processes a batch by plain functions, in their order."""

    def __init__(self, steps: Sequence[Callable[[SpanBatch], None]]) -> None:
        self.steps = steps
        self.logs: list[bytes] = []

    async def process(self, batch: SpanBatch, body: bytes, now_ms: int) -> Processed:  # noqa: ARG002  (as the protocol has it)
        for step in self.steps:
            step(batch)
        return Processed(Completed())

    def count(self, counted: Iterable[Counted]) -> None:
        assert not list(counted), "nothing was processed that could count"

    async def take_logs(self, body: bytes, encoding: Encoding, now_ms: int) -> None:  # noqa: ARG002  (as the protocol has it)
        self.logs.append(body)


def make_rig(
    steps: Sequence[Callable[[SpanBatch], None]] = (), *, process: Process | None = None, discard: bool = False, in_flight_bytes: int = 16 * MIB
) -> Rig:
    """The parts below a transport; ``process`` wins over ``steps``."""
    buffer, route, metrics = ListBuffer(), OneDestination(), Metrics(CollectorRegistry())
    intake = Intake(buffer, route, process or Steps(steps), SystemClock(), metrics, LOG, discard=discard)
    return Rig(buffer, route, metrics, intake, InFlight(in_flight_bytes))


@dataclass
class HttpRig(Rig):
    """The same with an HTTP receiver and a client."""

    endpoint: Endpoint
    session: aiohttp.ClientSession

    async def post(
        self, path: str = "/v1/traces", body: bytes = b"", content_type: str | None = PROTOBUF, method: str = "POST", **headers: str
    ) -> Answer:
        """Send one request; underscores in header names become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            named["Content-Type"] = content_type
        skip = () if content_type is not None else ("Content-Type",)
        url = f"http://{self.endpoint}{path}"
        async with self.session.request(
            method, URL(url, encoded=True), data=io.BytesIO(body) if len(body) > MIB else body, headers=named, skip_auto_headers=skip
        ) as response:
            return Answer(response.status, response.headers.get("Content-Type", ""), await response.read(), dict(response.headers))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection."""
        return await asyncio.open_connection(self.endpoint.host, self.endpoint.port)

    async def raw(self, request: bytes) -> bytes:
        """Send raw bytes and read until the server closes."""
        reader, writer = await self.connect()
        writer.write(request)
        async with asyncio.timeout(DEADLINE_S):
            answer = await reader.read()
        writer.close()
        return answer


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str]


@asynccontextmanager
async def http_rig(
    settings: HttpReceiver | None = None, *, auth: Auth | None = None, drain_s: float = 5.0, rig: Rig | None = None
) -> AsyncIterator[HttpRig]:
    """An HTTP receiver on a free port."""
    parts = make_rig() if rig is None else rig
    settings = settings or HttpReceiver(endpoint=Endpoint("127.0.0.1", 0))
    guard = Guard(auth, "receivers.http.auth")
    served = run_http(settings, parts.intake, guard, parts.budget, LOG, instance_id=INSTANCE, drain_s=drain_s)
    async with aiohttp.ClientSession(auto_decompress=False) as session, served as endpoint:
        yield HttpRig(parts.buffer, parts.route, parts.metrics, parts.intake, parts.budget, endpoint, session)


def loopback(**changes: object) -> HttpReceiver:
    """HTTP settings on a free port."""
    return HttpReceiver(endpoint=Endpoint("127.0.0.1", 0), **changes)  # type: ignore[arg-type]  # the settings' own fields


Scene = Callable[[HttpRig], Awaitable[None]]


def on_http(scene: Scene, settings: HttpReceiver | None = None, *, auth: Auth | None = None, rig: Callable[[], Rig] = make_rig) -> None:
    """Play a scene against an HTTP receiver."""

    async def play() -> None:
        async with http_rig(settings, auth=auth, rig=rig()) as http:
            await scene(http)

    run(play())


SPANS = request(span(name="chat"))
AS_PROTOBUF = SPANS.SerializeToString()
AS_JSON = json.dumps(
    {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "0102030405060708090A0B0C0D0E0F10", "spanId": "0102030405060708", "name": "chat"}]}]}]}
).encode()
BODIES = {PROTOBUF: AS_PROTOBUF, JSON: AS_JSON}
BOTH = pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
PACK: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
PATHS = ["/v1/traces", "/v1/logs", "/v1/metrics", "/api/public/otel/v1/traces"]


def status_of(answer: Answer) -> answer_pb2.Status:
    """The google.rpc.Status of an error answer in either encoding."""
    if answer.content_type == PROTOBUF:
        return answer_pb2.Status.FromString(answer.body)
    assert answer.content_type == JSON
    tree = json.loads(answer.body)
    return answer_pb2.Status(code=tree["code"], message=tree["message"])


def assert_refused(answer: Answer, status: int, code: int, content_type: str = PROTOBUF) -> answer_pb2.Status:
    assert (answer.status, answer.content_type) == (status, content_type)
    body = status_of(answer)
    assert body.code == code
    assert body.message
    return body


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def tls_files(folder: Path, authority: trustme.CA, *, client_ca: trustme.CA | None = None) -> Tls:
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    if client_ca is not None:
        client_ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    return Tls(
        cert_file=str(folder / "cert.pem"), key_file=str(folder / "key.pem"), client_ca_file="" if client_ca is None else str(folder / "ca.pem")
    )


def client_context(trusted: trustme.CA | None, identity: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if trusted is not None:
        trusted.configure_trust(context)
    if identity is not None:
        identity.issue_cert("agent").configure_cert(context)
    return context


AUTHORITY, STRANGER = trustme.CA(), trustme.CA()

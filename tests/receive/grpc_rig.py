"""A gRPC receiver under test, with a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from grpc import aio

from sidecar.config import Auth, Endpoint, GrpcReceiver
from sidecar.receive.auth import Guard
from sidecar.receive.grpc import READING, Reading, run_grpc
from sidecar.wire import answer_pb2
from tests.receive.rig import INSTANCE, LOG, Rig, make_rig, run
from tests.spans import request, span

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
BODY = request(span(name="chat")).SerializeToString()
Pairs = tuple[tuple[str, str], ...]


@dataclass
class GrpcRig(Rig):
    """A rig with a gRPC receiver and a channel to it."""

    endpoint: Endpoint
    channel: aio.Channel

    async def export(self, body: bytes = BODY, method: str = TRACES, metadata: Pairs = (), compression: object = None) -> bytes:
        """One call; raises aio.AioRpcError."""
        answer = await self.channel.unary_unary(method)(body, metadata=metadata, compression=compression, timeout=20)
        assert isinstance(answer, bytes)
        return answer

    async def refused(self, body: bytes = BODY, method: str = TRACES, metadata: Pairs = (), compression: object = None) -> Refusal:
        """One call that must fail."""
        with pytest.raises(aio.AioRpcError) as failed:
            await self.export(body, method, metadata, compression)
        error = failed.value
        trailers = dict(error.trailing_metadata() or ())
        details = trailers.get("grpc-status-details-bin")
        return Refusal(error.code(), error.details() or "", None if details is None else answer_pb2.Status.FromString(details))


@dataclass(frozen=True)
class Refusal:
    """An error as a client sees it."""

    code: grpc.StatusCode
    message: str
    status: answer_pb2.Status | None


def loopback(**changes: object) -> GrpcReceiver:
    """Settings on a free port."""
    return GrpcReceiver(endpoint=Endpoint("127.0.0.1", 0), **changes)  # type: ignore[arg-type]  # the settings' own fields


@asynccontextmanager
async def grpc_rig(
    receiver_settings: GrpcReceiver | None = None,
    *,
    auth: Auth | None = None,
    rig: Rig | None = None,
    reading: Reading = READING,
    credentials: grpc.ChannelCredentials | None = None,
) -> AsyncIterator[GrpcRig]:
    """A gRPC receiver and a channel."""
    parts = rig or make_rig()
    guard = Guard(auth, "receivers.grpc.auth")
    async with run_grpc(receiver_settings or loopback(), parts.intake, guard, parts.budget, LOG, instance_id=INSTANCE, reading=reading) as endpoint:
        target = f"unix:{endpoint.path}" if endpoint.path else f"localhost:{endpoint.port}"
        options = [("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]
        opened = aio.insecure_channel(target, options) if credentials is None else aio.secure_channel(target, credentials, options)
        async with opened as channel:
            yield GrpcRig(parts.buffer, parts.route, parts.metrics, parts.intake, parts.budget, endpoint, channel)


Scene = Callable[[GrpcRig], Awaitable[None]]


def on_grpc(
    scene: Scene,
    receiver_settings: GrpcReceiver | None = None,
    *,
    auth: Auth | None = None,
    rig: Callable[[], Rig] = make_rig,
    reading: Reading = READING,
) -> None:
    """Play a scene against a gRPC receiver."""

    async def play() -> None:
        async with grpc_rig(receiver_settings, auth=auth, rig=rig(), reading=reading) as target:
            await scene(target)

    run(play())

"""OTLP over gRPC: the Export methods of traces, logs and metrics on raw bytes.

Owns the protocol between a client and the intake: OTLP 1.11, section "OTLP/gRPC". Nothing else imports grpc,
and only an enabled receiver imports this module: it costs about 15 MiB.

Methods are registered as stream-unary, which is the same on the wire as unary for a client that sends one
message. It lets the server check credentials first and read messages a few at a time, whereas a unary method
has its message in memory before anyone is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from grpc import aio

from sidecar.config import Endpoint, GrpcReceiver
from sidecar.errors import IntakeError, Overloaded, RequestTimeout, StartError, TooLarge
from sidecar.receive.auth import PUBLIC_KEY_HEADER, Guard, public_key_of
from sidecar.receive.budget import InFlight
from sidecar.receive.echo import INSTANCE_HEADER, EchoDetector
from sidecar.receive.intake import Accepted, Intake, Payload
from sidecar.receive.meter import DISCONNECTED, OK, Signal
from sidecar.receive.sockets import check_free, private_files, remove_socket
from sidecar.receive.tls import pem_files
from sidecar.wire.answers import export_response, grpc_status_details
from sidecar.wire.encoding import Encoding

SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": Signal.TRACES,
    "opentelemetry.proto.collector.logs.v1.LogsService": Signal.LOGS,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": Signal.METRICS,
}
STREAMS_MAX = 64
"""Calls at once on one connection; a client holds back the rest."""
METADATA_BYTES_MAX = 16 * 1024
HANDSHAKE_TIMEOUT_MS = 10_000
PING_INTERVAL_MIN_MS = 10_000
"""Clients that ping more often are disconnected; gRPC's own default of 5 minutes cuts clients with common keep-alive settings."""
DRAIN_S = 5.0
"""How long calls may go on after the listener closed; they commit within milliseconds."""
DETAILS_TRAILER = "grpc-status-details-bin"

Export = Callable[[object, aio.ServicerContext], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Reading:
    """Bounds of what is read before its size is known."""

    at_once: int = 8
    """Messages. 8 x 4 MiB = 32 MiB of the largest common ones."""
    wait_s: float = 5.0
    """How long a call waits for its turn to be read; half of what exporters wait for an answer (10 s)."""
    timeout_s: float = 30.0
    """A client that has not sent its message by then is answered DEADLINE_EXCEEDED."""


READING = Reading()


@asynccontextmanager
async def run_grpc(
    settings: GrpcReceiver,
    intake: Intake,
    guard: Guard,
    budget: InFlight,
    log: logging.Logger,
    *,
    instance_id: str,
    key: str = "receivers.grpc",
    drain_s: float = DRAIN_S,
    reading: Reading = READING,
) -> AsyncIterator[Endpoint]:
    """Serve while the context is open; gives the bound address.

    Raises StartError, naming ``key``, when the address can't be bound or the certificate can't be used. Leaving stops accepting, lets
    calls finish for ``drain_s`` seconds and cancels what is left: nothing reaches the intake afterwards.
    """
    limit_bytes = int(settings.max_body_mib * 1024 * 1024)
    exchange = GrpcExchange(limit_bytes, intake, guard, budget, EchoDetector(instance_id, log), reading)
    server = aio.server(options=_options(limit_bytes))
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(service, {"Export": grpc.stream_unary_rpc_method_handler(exchange.export(signal))})
            for service, signal in SERVICES.items()
        )
    )
    bound = _bind(server, settings, key)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(drain_s)
        await exchange.finish()
        if settings.endpoint.path:
            remove_socket(settings.endpoint.path)


def _options(limit_bytes: int) -> list[tuple[str, int]]:
    """The size of a message is checked by gRPC itself, before and after decompression; it answers RESOURCE_EXHAUSTED."""
    return [
        ("grpc.max_receive_message_length", limit_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", STREAMS_MAX),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MIN_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MIN_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _bind(server: aio.Server, settings: GrpcReceiver, key: str) -> Endpoint:
    endpoint, where = settings.endpoint, f"{key}.endpoint"
    credentials = None
    if settings.tls is not None:
        private_key, chain, client_ca = pem_files(settings.tls, f"{key}.tls")
        credentials = grpc.ssl_server_credentials([(private_key, chain)], client_ca, require_client_auth=client_ca is not None)
    # gRPC removes a unix socket even when somebody listens there, and binds a part of the addresses of a name without a word.
    check_free(endpoint, where)
    address = f"unix:{endpoint.path}" if endpoint.path else str(endpoint if endpoint.host else Endpoint("::", endpoint.port))
    try:
        with private_files():
            port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    except RuntimeError:
        raise StartError(f"{where}: can't listen on {endpoint}; is another process listening there?") from None
    return endpoint if endpoint.path else Endpoint(endpoint.host, port)


class GrpcExchange:
    """From a call to its answer."""

    def __init__(self, limit_bytes: int, intake: Intake, guard: Guard, budget: InFlight, echoes: EchoDetector, reading: Reading) -> None:
        self._limit_bytes = limit_bytes
        self._intake = intake
        self._meter = intake.meter("grpc")
        self._guard = guard
        self._budget = budget
        self._echoes = echoes
        self._reading = reading
        self._reads = asyncio.Semaphore(reading.at_once)
        self._submits: set[asyncio.Task[Accepted]] = set()
        self._loop = asyncio.get_running_loop()

    def export(self, signal: Signal) -> Export:
        """The handler of one service's Export."""

        async def handle(_: object, context: aio.ServicerContext) -> bytes:
            started = self._loop.time()
            outcome = DISCONNECTED
            try:
                answer = await self._answer(signal, context)
                outcome = OK
            except IntakeError as error:
                outcome = error.reason
                return await _abort(context, error)
            except Exception as error:  # noqa: BLE001  (the call must be answered whatever our mistake)
                failure = self._intake.unexpected(error)
                outcome = failure.reason
                return await _abort(context, failure)
            finally:
                self._meter.answered(signal, outcome, self._loop.time() - started)
            return answer

        return handle

    async def finish(self) -> None:
        """End the commits whose calls are gone."""
        for task in self._submits:
            task.cancel()
        if self._submits:
            await asyncio.wait(self._submits)

    async def _answer(self, signal: Signal, context: aio.ServicerContext) -> bytes:
        metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        self._echoes.check(metadata.get(INSTANCE_HEADER))
        self._guard.check(metadata.get("authorization"))
        body = await self._read(context)
        if signal is Signal.METRICS:
            self._intake.discard(signal, "grpc", len(body))
            return export_response(Encoding.PROTOBUF, 0, "")
        if signal is Signal.LOGS:
            async with self._budget.take(len(body)):
                await self._intake.submit_logs(Payload(body, Encoding.PROTOBUF, "grpc"))
            return export_response(Encoding.PROTOBUF, 0, "")
        public_key = public_key_of(metadata.get(PUBLIC_KEY_HEADER), metadata.get("authorization")) or None
        # A client that gives up cancels this handler. The commit goes on, so that a repeat of the request is known as one.
        task = asyncio.create_task(self._submit(Payload(body, Encoding.PROTOBUF, "grpc", public_key)))
        self._submits.add(task)
        task.add_done_callback(self._submitted)
        accepted = await asyncio.shield(task)
        return export_response(Encoding.PROTOBUF, accepted.rejected, accepted.message)

    async def _submit(self, payload: Payload) -> Accepted:
        async with self._budget.take(len(payload.body)):
            return await self._intake.submit(payload)

    def _submitted(self, task: asyncio.Task[Accepted]) -> None:
        self._submits.discard(task)
        if not task.cancelled():
            task.exception()  # seen: when the client is gone nobody else looks at it

    async def _read(self, context: aio.ServicerContext) -> bytes:
        bounds = self._reading
        try:
            async with asyncio.timeout(bounds.wait_s):
                await self._reads.acquire()
        except TimeoutError:
            raise Overloaded(f"{bounds.at_once} requests are being read and this one waited {bounds.wait_s:g} s; send it again later") from None
        try:
            async with asyncio.timeout(bounds.timeout_s):
                message = await context.read()
        except TimeoutError:
            raise RequestTimeout(f"the message was not complete after {bounds.timeout_s:g} s") from None
        finally:
            self._reads.release()
        if not isinstance(message, bytes):
            # Over the limit, before or after decompression: gRPC has answered already, and only a client without any message sees this.
            raise TooLarge(f"no message of at most {self._limit_bytes / 1024 / 1024:g} MiB (max_body_mib) came; send smaller batches")
        return message


async def _abort(context: aio.ServicerContext, error: IntakeError) -> bytes:
    """Answer with an error: code, message, and the whole google.rpc.Status (with RetryInfo, where there is one) as a trailer."""
    code = next(code for code in grpc.StatusCode if code.value[0] == error.grpc_code)
    await context.abort(code, error.message, ((DETAILS_TRAILER, grpc_status_details(error)),))
    raise AssertionError("abort raises")

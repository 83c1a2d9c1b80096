"""OTLP over HTTP: the paths, the answers and the lifetime of the listener.

Owns the protocol between a client and the intake: OTLP 1.11, sections "OTLP/HTTP Request" and "Response".
It must not look into bodies. Every 4xx and 5xx carries a ``google.rpc.Status`` in the request's encoding; in JSON
when the request has none of OTLP's content types, because then it is a person or a probe that reads it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.web_protocol import RequestPayloadError

from sidecar.config import Endpoint, HttpReceiver
from sidecar.errors import (
    IntakeError,
    MalformedPayload,
    MethodNotAllowed,
    NotServed,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    UnknownPath,
    Unsupported,
)
from sidecar.receive.auth import PUBLIC_KEY_HEADER, Guard, public_key_of
from sidecar.receive.budget import InFlight, Share
from sidecar.receive.connections import Connection, HttpServer
from sidecar.receive.cors import CorsPolicy
from sidecar.receive.echo import INSTANCE_HEADER, EchoDetector
from sidecar.receive.inflate import ACCEPT_ENCODING, coding, inflate
from sidecar.receive.intake import Accepted, Intake, Payload
from sidecar.receive.meter import DISCONNECTED, OK, Signal
from sidecar.receive.sockets import listening_sockets, remove_socket
from sidecar.receive.tls import server_context
from sidecar.wire.answers import export_response, status_body
from sidecar.wire.encoding import Encoding

LANGFUSE_PREFIX = "/api/public/"
PATHS = {
    "/v1/traces": Signal.TRACES,
    "/v1/logs": Signal.LOGS,
    "/v1/metrics": Signal.METRICS,
    "/api/public/otel/v1/traces": Signal.TRACES,
    "/api/public/otel/v1/logs": Signal.LOGS,
    "/api/public/otel/v1/metrics": Signal.METRICS,
}
DRAIN_S = 5.0
"""How long requests may go on after the listener closed; they commit within milliseconds."""

_CONTENT_TYPES = {encoding.content_type: encoding for encoding in Encoding}
_SERVER_NAME = "langfuse-sidecar"


@asynccontextmanager
async def run_http(
    settings: HttpReceiver,
    intake: Intake,
    guard: Guard,
    budget: InFlight,
    log: logging.Logger,
    *,
    instance_id: str,
    key: str = "receivers.http",
    drain_s: float = DRAIN_S,
) -> AsyncIterator[Endpoint]:
    """Serve while the context is open; gives the bound address.

    Raises StartError, naming ``key``, when the address can't be bound or the certificate can't be used. Leaving stops accepting, lets
    requests finish for ``drain_s`` seconds and cancels what is left: nothing reaches the intake afterwards.
    """
    tls = server_context(settings.tls, f"{key}.tls")
    receiver = HttpExchange(settings, intake, guard, budget, log, instance_id)
    sockets = listening_sockets(settings.endpoint, f"{key}.endpoint")
    server = HttpServer(
        receiver.handle,
        bad_head=receiver.bad_head,
        cut=receiver.cut,
        refused=receiver.refused,
        header_timeout_s=settings.header_timeout_s,
    )
    loop = asyncio.get_running_loop()
    handshake_s = settings.header_timeout_s if tls else None
    create = loop.create_unix_server if settings.endpoint.path else loop.create_server
    listeners = [await create(server, sock=sock, ssl=tls, ssl_handshake_timeout=handshake_s) for sock in sockets]
    bound = settings.endpoint if settings.endpoint.path else Endpoint(settings.endpoint.host, sockets[0].getsockname()[1])
    try:
        yield bound
    finally:
        for listener in listeners:
            listener.close()
        await server.drain(drain_s)
        if settings.endpoint.path:
            remove_socket(settings.endpoint.path)


@dataclass(slots=True)
class _Request:
    """What is known of a request so far; an error is answered and counted with it."""

    signal: Signal = Signal.OTHER
    encoding: Encoding | None = None


class HttpExchange:
    """From a request to its answer."""

    def __init__(self, settings: HttpReceiver, intake: Intake, guard: Guard, budget: InFlight, log: logging.Logger, instance_id: str) -> None:
        self._limit_bytes = int(settings.max_body_mib * 1024 * 1024)
        self._body_timeout_s = settings.body_timeout_s
        self._intake = intake
        self._meter = intake.meter("http")
        self._guard = guard
        self._budget = budget
        self._echoes = EchoDetector(instance_id, log)
        self._cors = CorsPolicy(settings.cors)
        self._loop = asyncio.get_running_loop()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """The answer to one request; counts it. Raises nothing but what ends the connection."""
        started = self._loop.time()
        known = _Request()
        outcome = DISCONNECTED
        try:
            response = await self._answer(request, known)
            outcome = OK
        except IntakeError as error:
            response = self._refuse(request, known, error)
            outcome = error.reason
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  (the connection must not die of our mistakes)
            failure = self._intake.unexpected(error)
            response = self._refuse(request, known, failure)
            outcome = failure.reason
        finally:
            self._meter.answered(known.signal, outcome, self._loop.time() - started)
        self._cors.allow(request.headers, response.headers)
        return response

    def bad_head(self) -> web.Response:
        """The answer to what is not HTTP, or whose head is over the bounds; the encoding is not known then."""
        self._meter.ended(Signal.OTHER, MalformedPayload.reason)
        return _status(MalformedPayload("the request head is not valid HTTP/1.1 or too large"), Encoding.JSON)

    def cut(self) -> None:
        """Count a connection whose request head did not come in time."""
        self._meter.ended(Signal.OTHER, RequestTimeout.reason)

    def refused(self) -> None:
        """Count a connection that was one too many."""
        self._meter.ended(Signal.OTHER, "connections")

    async def _answer(self, request: web.BaseRequest, known: _Request) -> web.Response:
        headers = request.headers
        content_type = headers.get(hdrs.CONTENT_TYPE, "")
        known.encoding = _CONTENT_TYPES.get(content_type) or _CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower())
        known.signal = _signal(request.raw_path)
        if request.method == hdrs.METH_OPTIONS and self._cors.is_preflight(headers):
            return web.Response(status=204, headers={hdrs.SERVER: _SERVER_NAME, **self._cors.preflight(headers)})
        if request.method != hdrs.METH_POST:
            raise MethodNotAllowed(f"{request.method} is not served at this path; OTLP is sent with POST")
        self._echoes.check(headers.get(INSTANCE_HEADER))
        authorization = headers.get(hdrs.AUTHORIZATION)
        self._guard.check(authorization)
        if known.encoding is None:
            raise Unsupported(
                f"the request needs a Content-Type: one of {' and '.join(_CONTENT_TYPES)}"
                if not content_type
                else f"this Content-Type is not supported; send {' or '.join(_CONTENT_TYPES)}"
            )
        encoding = coding(headers.get(hdrs.CONTENT_ENCODING, ""))
        length = int(headers.get(hdrs.CONTENT_LENGTH, 0))
        if length > self._limit_bytes:
            raise self._too_large()
        async with self._budget.take() as share:
            if length:
                await share.expect(length)
            body = await self._read(request, share)
            if known.signal is Signal.METRICS:
                self._intake.discard(known.signal, "http", len(body))
                return _success(known.encoding, Accepted())
            if known.signal is Signal.LOGS:
                await self._take_logs(body, known.encoding, encoding, share)
                return _success(known.encoding, Accepted())
            if encoding:
                body = await self._inflate(body, encoding, share)
            public_key = public_key_of(headers.get(PUBLIC_KEY_HEADER), authorization) or None
            return _success(known.encoding, await self._intake.submit(Payload(body, known.encoding, "http", public_key)))

    async def _take_logs(self, body: bytes, encoding: Encoding, content_coding: str, share: Share) -> None:
        try:
            content = await self._inflate(body, content_coding, share) if content_coding else body
        except IntakeError:
            self._intake.discard(Signal.LOGS, "http", len(body))
        else:
            await self._intake.submit_logs(Payload(content, encoding, "http"))

    async def _read(self, request: web.BaseRequest, share: Share) -> bytes:
        """The body as it was sent. Its bytes are taken from the budget as they come: an announced length alone holds nothing."""
        content = request.content
        try:
            if content.is_eof():
                body = content.read_nowait(-1)
                await share.resize(self._bounded(len(body)))
                return body
            if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= HttpVersion11:
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # aiohttp counts from here what belongs to the answer
            chunks: list[bytes] = []
            size = 0
            async with asyncio.timeout(self._body_timeout_s):
                while chunk := await content.readany():
                    size += len(chunk)
                    await share.resize(self._bounded(size))
                    chunks.append(chunk)
        except TimeoutError:
            raise RequestTimeout(f"the body was not complete after {self._body_timeout_s:g} s") from None
        except RequestPayloadError:
            raise MalformedPayload("the body does not follow its Transfer-Encoding or Content-Length") from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _inflate(self, body: bytes, encoding: str, share: Share) -> bytes:
        if not body:
            return body  # an empty request succeeds, whatever it claims to be
        pieces: list[bytes] = []
        size = 0
        for piece in inflate(body, encoding, self._limit_bytes):
            if pieces:
                await asyncio.sleep(0)
            size += len(piece)
            await share.resize(len(body) + size)
            pieces.append(piece)
        whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        await share.resize(len(whole))
        return whole

    def _bounded(self, size: int) -> int:
        if size > self._limit_bytes:
            raise self._too_large()
        return size

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._limit_bytes / 1024 / 1024:g} MiB (max_body_mib); send smaller batches")

    def _refuse(self, request: web.BaseRequest, known: _Request, error: IntakeError) -> web.Response:
        response = _status(error, known.encoding or Encoding.JSON)
        if isinstance(error, MethodNotAllowed):
            response.headers[hdrs.ALLOW] = hdrs.METH_POST
        elif isinstance(error, Unauthenticated):
            response.headers[hdrs.WWW_AUTHENTICATE] = self._guard.challenge
        elif isinstance(error, Unsupported):
            response.headers[hdrs.ACCEPT_ENCODING] = ACCEPT_ENCODING
        elif isinstance(error, TooLarge):
            response.force_close()
        elif isinstance(error, RequestTimeout):
            response.force_close()
            if isinstance(request.protocol, Connection):
                request.protocol.cut_after_answer()
        return response


def _signal(raw_path: str) -> Signal:
    """What is served at a path. Raises NotServed and UnknownPath."""
    signal = PATHS.get(raw_path)
    if signal is not None:
        return signal
    # Langfuse's SDKs append "/api/public/..." to a base URL that may end with a slash.
    path = re.sub(r"/{2,}", "/", re.sub(r"^https?://[^/?#]*", "", raw_path, flags=re.IGNORECASE).partition("?")[0]).rstrip("/")
    signal = PATHS.get(path)
    if signal is not None:
        return signal
    if path.startswith(LANGFUSE_PREFIX):
        raise NotServed(
            "the sidecar takes spans only: this part of Langfuse's API (scores, prompts, media, ...) is not served here; send it to Langfuse itself"
        )
    raise UnknownPath("nothing is served at this path; OTLP is taken at /v1/traces, /v1/logs and /v1/metrics")


def _success(encoding: Encoding, accepted: Accepted) -> web.Response:
    return web.Response(
        body=export_response(encoding, accepted.rejected, accepted.message),
        headers={hdrs.CONTENT_TYPE: encoding.content_type, hdrs.SERVER: _SERVER_NAME},
    )


def _status(error: IntakeError, encoding: Encoding) -> web.Response:
    response = web.Response(
        status=error.http_status,
        body=status_body(encoding, error),
        headers={hdrs.CONTENT_TYPE: encoding.content_type, hdrs.SERVER: _SERVER_NAME},
    )
    if error.retry_after_s is not None:
        # RFC 9110, section 10.2.3: whole seconds. A client that reads 0 comes back at once.
        response.headers[hdrs.RETRY_AFTER] = str(max(1, math.ceil(error.retry_after_s)))
    return response

"""A fake Langfuse server: `async with fake_langfuse() as fake`, `with langfuse_thread() as fake`, or `python -m tests.fakes.langfuse`.

Owns the sockets and the order of the checks (authentication, reading and decompression, content type, parsing, validation,
ingestion version); the rules themselves are in langfuse_rules.py, what it is told in script.py, what it saw in recording.py.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes import langfuse_rules as rules
from tests.fakes.listener import HOST, HeldPort
from tests.fakes.recording import Recorded, Recording
from tests.fakes.script import Kind, Script

PUBLIC_KEY = "pk-lf-00000000-0000-4000-8000-000000000001"
SECRET_KEY = "sk-lf-00000000-0000-4000-8000-000000000002"
TRACES_PATH = "/api/public/otel/v1/traces"
VERSION = "4.16.0"

_TOO_LARGE = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Export:
    """One trace export, decoded once, whatever becomes of it."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.body = body
        self.request = ExportTraceServiceRequest()
        self.raw_bytes = 0
        self.public_key = rules.public_key(headers.get("Authorization"))
        self._headers = headers
        self._undecodable: rules.Refusal | None = None
        try:
            self.request, self.raw_bytes = rules.decode(body, headers.get("Content-Encoding", ""), headers.get("Content-Type", ""))
        except rules.Refusal as refusal:
            self._undecodable = refusal
        self.spans = list(rules.flatten(self.request))

    def check(self, keys: Mapping[str, str], poisons: list[rules.Predicate]) -> None:
        """What the server checks before it answers 200, in its order; raises Refusal."""
        rules.authenticate(self._headers.get("Authorization"), keys)
        if self._undecodable:
            raise self._undecodable
        rules.validate(self.request, poisons)
        rules.check_version(self._headers.get("x-langfuse-ingestion-version"))


class FakeLangfuse:
    """The server's state: what it was told (``script``, ``keys``, ...), and what it saw (``seen``). Safe to use from any thread."""

    def __init__(self, port: HeldPort, *, remember: bool) -> None:
        self.url = f"http://{HOST}:{port.port}"
        self.keys = {PUBLIC_KEY: SECRET_KEY}
        """Public key -> secret key."""
        self.max_body_bytes: int | None = None
        """Larger bodies, as sent, are answered 413 by a proxy that reads none of them."""
        self.script = Script()
        self.seen = Recording(remember=remember)
        self._poisons: list[rules.Predicate] = []
        self._slow_s = 0.0
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._web = web.Server(self._answer, auto_decompress=False, access_log=None)
        self._leaving = asyncio.Event()

    def reject_if(self, predicate: Callable[[Span], bool]) -> None:
        """Answer 400 to every export that holds a span for which this is true."""
        self._poisons.append(predicate)

    def slow(self, seconds: float) -> None:
        """Answer every export that much later; 0 ends it."""
        self._slow_s = seconds

    def down(self) -> None:
        """Stop listening and cut every connection; the port refuses from now on."""
        self._on_loop(self._close)

    def up(self) -> None:
        """Listen again, on the same port. Connections are queued as soon as this returns."""
        listener = self._port.listen()
        self._on_loop(lambda: setattr(self, "_opening", self._loop.create_task(self._open(listener))))

    async def wait_for_spans(self, n: int, deadline_s: float = 10.0) -> None:
        """Return when ``n`` different spans have been taken; raises TimeoutError."""
        await self.seen.wait_until(lambda: len(self.seen.received) >= n, deadline_s, f"{n} spans")

    def block_for_spans(self, n: int, deadline_s: float = 10.0) -> None:
        """The same for a test that runs no event loop."""
        self.seen.block_until(lambda: len(self.seen.received) >= n, deadline_s, f"{n} spans")

    def exports(self, status: int | None = 200) -> list[Recorded]:
        """The trace exports that were answered so."""
        return [request for request in tuple(self.seen.requests) if request.path == TRACES_PATH and request.status == status]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve. A script step that no request used is an error of the test, unless it failed already."""
        await self._open(self._port.listen())
        try:
            yield
        finally:
            self._leaving.set()
            self._close()
            await self._web.shutdown(timeout=1)
        unused = self.script.unused()
        assert not unused, f"{len(unused)} script steps were never used: {unused[:3]}"

    async def _open(self, listener: socket.socket) -> None:
        self._server = await self._loop.create_server(self._web, sock=listener)

    def _close(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for connection in self._web.connections:
            if connection.transport:
                connection.transport.abort()

    def _on_loop(self, action: Callable[[], None]) -> None:
        """Run on the server's loop, and return when it is done."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            action()
            return
        done = threading.Event()

        def act() -> None:
            try:
                action()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        route = (request.method, request.path)
        if request.path == TRACES_PATH and request.method == "POST":
            return await self._export(request)
        if route == ("GET", "/api/public/health"):
            return self._plain(request, 200, {"status": "OK", "version": VERSION})
        if request.path == TRACES_PATH:
            return self._plain(request, 405, {"message": "Method not allowed", "error": "MethodNotAllowedError"})
        if request.path.startswith("/__control__/"):
            return self._plain(request, 200, control(self, request.path.removeprefix("/__control__/"), await request.read()))
        try:
            rules.authenticate(request.headers.get("Authorization"), self.keys)
        except rules.Refusal as refusal:
            return self._plain(request, refusal.status, refusal.body)
        if route == ("GET", "/api/public/projects"):
            project = {"id": "project-1", "name": "fake", "organization": {"id": "org-1", "name": "fake"}, "metadata": {}}
            return self._plain(request, 200, {"data": [project]})
        if route == ("GET", "/api/public/v2/observations"):
            return self._plain(request, 200, self._observations(request.query.get("traceId")))
        if route == ("POST", "/api/public/otel/v1/metrics"):
            return self._plain(request, 200, {"message": "OK"})
        return self._plain(request, 404, {"message": "Not Found", "error": "NotFoundError"})

    async def _export(self, request: web.BaseRequest) -> web.StreamResponse:
        step = self.script.next()
        if step and step.kind is Kind.RESET_EARLY:
            self._record(request, None)
            raise _reset(request)
        limit = self.max_body_bytes
        if limit is not None and (request.content_length or 0) > limit:
            self._record(request, 413)
            return web.Response(status=413, body=_TOO_LARGE, content_type="text/html")
        try:
            body = b"".join([chunk async for chunk in request.content.iter_any()])
        except (OSError, web.RequestPayloadError):
            raise _reset(request) from None
        if self._slow_s:
            await asyncio.sleep(self._slow_s)
        export = Export(body, request.headers)
        if limit is not None and len(body) > limit:
            return self._reply(request, export, 413, _TOO_LARGE, {"Content-Type": "text/html"})
        refused = self._take(export) if step is None or step.keep else None
        if step is None:
            status, answer = refused or (200, rules.job(len(self.seen.requests), export.public_key) if export.spans else b"{}")
            return self._reply(request, export, status, answer, {"Content-Type": "application/json; charset=utf-8"})
        if step.kind is Kind.ANSWER:
            return self._reply(request, export, step.status, step.body, step.headers)
        self._record(request, None, export)
        if step.kind is Kind.HANG:
            await self._leaving.wait()
        raise _reset(request)

    def _take(self, export: Export) -> tuple[int, bytes] | None:
        """The server's checks in their order, then the worker's; keeps the spans. Gives the refusal, if it is one."""
        try:
            export.check(self.keys, self._poisons)
        except rules.Refusal as refusal:
            return refusal.status, json.dumps(refusal.body).encode()
        self.seen.oddities.extend(rules.oddities(export.request))
        reason = rules.loss(export.request)
        if reason:
            self.seen.lost.append(reason)
        elif export.spans:
            self.seen.add_spans(export.spans)
        return None

    def _observations(self, trace_id: str | None) -> dict[str, object]:
        data = [
            {
                "id": received.span.span_id.hex(),
                "traceId": received.span.trace_id.hex(),
                "parentObservationId": received.span.parent_span_id.hex() or None,
                "name": received.span.name,
                "type": "SPAN",
                "projectId": "project-1",
                "startTime": datetime.fromtimestamp(received.span.start_time_unix_nano / 1e9, UTC).isoformat(),
            }
            for received in self.seen.unique().values()
            if trace_id in (None, received.span.trace_id.hex())
        ]
        return {"data": data, "meta": {}}

    def _plain(self, request: web.BaseRequest, status: int, body: Mapping[str, object]) -> web.Response:
        self._record(request, status)
        return web.json_response(body, status=status)

    def _reply(self, request: web.BaseRequest, export: Export, status: int, answer: bytes, headers: Mapping[str, str]) -> web.Response:
        self._record(request, status, export)
        return web.Response(status=status, body=answer, headers=headers)

    def _record(self, request: web.BaseRequest, status: int | None, export: Export | None = None) -> None:
        self.seen.add_request(
            Recorded(
                method=request.method,
                path=request.path,
                headers={name.lower(): value for name, value in request.headers.items() if name.lower() != "authorization"},
                public_key=rules.public_key(request.headers.get("Authorization")),
                body_bytes=len(export.body) if export else 0,
                raw_bytes=export.raw_bytes if export else 0,
                digest=hashlib.sha256(export.body).hexdigest() if export else "",
                spans=len(export.spans) if export else 0,
                status=status,
                at=time.monotonic(),
            )
        )


def _reset(request: web.BaseRequest) -> asyncio.CancelledError:
    """Close the connection with a TCP reset; what is returned ends the handler without an answer."""
    transport = request.transport
    if transport:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return asyncio.CancelledError()


@asynccontextmanager
async def fake_langfuse(port: int = 0, *, remember: bool = True) -> AsyncIterator[FakeLangfuse]:
    """A fake on this event loop. ``remember=False`` counts spans and keeps none, for long runs."""
    with HeldPort(port) as held:
        fake = FakeLangfuse(held, remember=remember)
        async with fake.running():
            yield fake


@contextmanager
def langfuse_thread(port: int = 0, *, remember: bool = True) -> Iterator[FakeLangfuse]:
    """A fake on an event loop in a thread of its own, for tests that run no loop."""
    started: list[FakeLangfuse] = []
    failures: list[BaseException] = []
    ready, leave = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with fake_langfuse(port, remember=remember) as fake:
            started.append(fake)
            ready.set()
            await leave.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  (handed to the thread that waits)
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="fake-langfuse", daemon=True)
    thread.start()
    ready.wait()
    if failures:
        raise failures[0]
    fake = started[0]
    failed = True
    try:
        yield fake
        failed = False
    finally:
        fake._loop.call_soon_threadsafe(leave.set)
        thread.join(10)
        if failures and not failed:
            raise failures[0]


def control(fake: FakeLangfuse, name: str, body: bytes) -> dict[str, object]:
    """One command over HTTP, for the program: POST /__control__/<script method | slow | state> with its arguments as a JSON object."""
    arguments = json.loads(body or b"{}")
    if name == "slow":
        fake.slow(**arguments)
    elif name in {"fail_next", "fail_always", "recover", "hang_next", "reset_next", "html_next", "redirect_next"}:
        getattr(fake.script, name)(**arguments)
    elif name != "state":
        return {"error": f"no command {name}"}
    seen = fake.seen
    return {
        "requests": len(seen.requests),
        "spans": len(seen.received),
        "duplicates": seen.duplicates(),
        "lost": seen.lost,
        "oddities": seen.oddities,
        "unused": len(fake.script.unused()),
    }


async def _serve(port: int, public_key: str, secret_key: str, *, remember: bool) -> None:
    async with fake_langfuse(port, remember=remember) as fake:
        fake.keys = {public_key: secret_key}
        print(fake.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted; the first line on standard output is the address."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.langfuse", description="A fake Langfuse server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--public-key", default=PUBLIC_KEY)
    parser.add_argument("--secret-key", default=SECRET_KEY)
    parser.add_argument("--count-only", action="store_true", help="count spans and keep none")
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options.port, options.public_key, options.secret_key, remember=not options.count_only))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()

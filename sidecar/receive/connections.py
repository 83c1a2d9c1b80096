"""HTTP connections: aiohttp's low-level server with what it lacks.

Owns the deadline of a request head, the bound of connections, the answer to what is not HTTP, and draining at
the end. It must not look at requests; they go to the handler that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

CONNECTIONS_MAX = 1024
"""Idle ones cost 10 KiB each, 10 MiB together; what a busy one reads ahead is bounded by READ_AHEAD_BYTES."""
READ_AHEAD_BYTES = 64 * 1024
"""aiohttp stops reading from a connection at twice this; the rest of a body is taken as the in-flight budget allows."""
HEAD_LINE_BYTES_MAX = 8190
HEAD_FIELDS_MAX = 64
"""With the line bound: 0.5 MiB of head at most. Exporters send some ten fields."""
KEEP_ALIVE_S = 120.0
"""Longer than the interval of any batch exporter (5 s) and of metric readers (60 s)."""
LINGER_S = 2.0
"""After an early answer (413, 408), how long the rest of the body is read and dropped, so that the client sees the answer and not a reset."""
CANCEL_S = 1.0
"""How long a cancelled request may take to end."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpServer(web.Server):
    """The connections of one listener.

    ``bad_head`` makes the answer to a request head that can't be parsed; ``cut`` is called when a connection is
    closed because its head did not come in time, ``refused`` when there are too many.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        bad_head: Callable[[], web.Response],
        cut: Callable[[], None],
        refused: Callable[[], None],
        header_timeout_s: float,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        super().__init__(self._run)
        self.bad_head = bad_head
        self.cut = cut
        self.refused = refused
        self.header_timeout_s = header_timeout_s
        self.connections_max = connections_max
        self.open: set[Connection] = set()
        self.draining = False
        self._handle = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_closed = asyncio.Event()

    def __call__(self) -> RequestHandler:
        """One more connection; the event loop calls it."""
        return Connection(self, asyncio.get_running_loop())

    async def drain(self, drain_s: float) -> None:
        """Close idle connections, let busy ones finish their request for ``drain_s`` seconds, then cancel what is left.

        Nothing is handled any more after it returned. The listening sockets are closed before.
        """
        self.draining = True
        for connection in tuple(self.open):
            if connection.is_idle:
                connection.force_close()
        await self._wait_closed(drain_s)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)
        for connection in tuple(self.open):
            connection.force_close()
        await self._wait_closed(CANCEL_S)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self.open.discard(connection)
        if not self.open:
            self._all_closed.set()

    async def _wait_closed(self, timeout_s: float) -> None:
        self._all_closed.clear()
        if self.open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._all_closed.wait()

    async def _run(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            response = await self._handle(request)
        finally:
            self._tasks.discard(task)
        if self.draining:
            response.force_close()
        return response


class Connection(RequestHandler):
    """One connection. A head that has begun, or a new connection, has ``header_timeout_s`` to bring a whole head."""

    __slots__ = ("_head_timer", "_server")

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=KEEP_ALIVE_S,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for no access log
            max_line_size=HEAD_LINE_BYTES_MAX,
            max_field_size=HEAD_LINE_BYTES_MAX,
            max_headers=HEAD_FIELDS_MAX,
            lingering_time=LINGER_S,
            read_bufsize=READ_AHEAD_BYTES,
            auto_decompress=False,
        )
        self._server = server
        self._head_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """No whole request head is here. Between a head and its handler, aiohttp has neither waiter nor request."""
        return self._current_request is None and not self._messages and (self._waiter is not None or self._request_count == 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = self._server
        server.open.add(self)
        if server.draining or len(server.open) > server.connections_max:
            server.refused()
            self.force_close()
            return
        self._start_head_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages or self._current_request is not None:
            if self._head_timer is not None:
                self._stop_head_timer()
        elif data and self._head_timer is None and self._waiter is not None:
            self._start_head_timer()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  (aiohttp's signature)
        status: int = 500,  # noqa: ARG002
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """The answer to a head that can't be parsed; nothing of it is logged. The handler itself raises only when its client is gone."""
        if isinstance(exc, ConnectionError):
            raise exc
        response = self._server.bad_head()
        response.force_close()
        return response

    def cut_after_answer(self) -> None:
        """Close after the answer without waiting for the rest of the body."""
        self._lingering_time = 0.0

    def log_exception(self, *args: object, **kw: object) -> None:
        """Nothing: aiohttp would write parts of the request into the log."""

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(self._server.header_timeout_s, self._cut)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut(self) -> None:
        self._head_timer = None
        if self.is_idle:
            self._server.cut()
            self.force_close()

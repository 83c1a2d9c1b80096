"""A TCP proxy that goes bad on demand: stalls, cuts and restores, for what happens between two machines."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes.listener import HOST, HeldPort

_CHUNK_BYTES = 64 * 1024


class Proxy:
    """Everything between clients and one upstream. Use it from its own event loop only."""

    def __init__(self, port: HeldPort, upstream: tuple[str, int]) -> None:
        self.host, self.port = HOST, port.port
        self.url = f"http://{HOST}:{port.port}"
        self.connections = 0
        """Accepted so far."""
        self._held = port
        self._upstream = upstream
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def stall(self) -> None:
        """Accept and hold every byte back, in both directions, as a network that drops packets does."""
        self._flows.clear()

    def resume(self) -> None:
        """Let the held bytes and all others pass."""
        self._flows.set()

    def cut(self) -> None:
        """Reset every connection; new ones are still accepted."""
        for writer in tuple(self._writers):
            peer = writer.transport.get_extra_info("socket")
            if peer is not None and not writer.transport.is_closing():
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def refuse(self) -> None:
        """Cut every connection and refuse new ones, until ``restore``."""
        if self._server:
            self._server.close()
            self._server = None
        self.cut()

    async def restore(self) -> None:
        """Accept on the same port again, and let everything pass."""
        self.resume()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=self._held.listen())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.restore()
        try:
            yield
        finally:
            self.refuse()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """No coroutine: a stream server would report its cancellation at the end as an error."""
        self.connections += 1
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            try:
                back, forth = await asyncio.open_connection(*self._upstream)
            except OSError:
                return
            self._writers.add(forth)
            try:
                await asyncio.gather(self._pass_on(reader, forth), self._pass_on(back, writer))
            finally:
                forth.close()
                self._writers.discard(forth)
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy one direction until its end, and pass the end on."""
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._flows.wait()
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.transport.abort()


@asynccontextmanager
async def proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of ``host:port``."""
    with HeldPort() as held:
        one = Proxy(held, (host, port))
        async with one.running():
            yield one

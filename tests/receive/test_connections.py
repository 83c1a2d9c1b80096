from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.receive.connections import HttpServer
from tests.receive.rig import run
from tests.waiting import DEADLINE_S, until

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Served:
    """A server whose handler waits for ``gate``, and what it reported."""

    server: HttpServer
    port: int
    gate: asyncio.Event
    handled: int = 0
    cuts: int = 0
    refusals: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that is closed at the end of the scene, if not before."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(sent)
        return reader, writer


@asynccontextmanager
async def serving(*, connections_max: int = 10, header_timeout_s: float = 10.0) -> AsyncIterator[Served]:
    async def handle(_: web.BaseRequest) -> web.Response:
        served.handled += 1
        await served.gate.wait()
        return web.Response(text="done")

    def cut() -> None:
        served.cuts += 1

    def refused() -> None:
        served.refusals += 1

    server = HttpServer(
        handle,
        bad_head=lambda: web.Response(status=400, text="bad head"),
        cut=cut,
        refused=refused,
        header_timeout_s=header_timeout_s,
        connections_max=connections_max,
    )
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    served = Served(server, listener.sockets[0].getsockname()[1], asyncio.Event())
    served.gate.set()
    try:
        yield served
    finally:
        listener.close()
        await server.drain(0.01)
        for writer in served.writers:
            writer.close()


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes; a reset (it closed with unread bytes) is a close too."""
    async with asyncio.timeout(DEADLINE_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


def test_connections_over_the_bound_are_closed_and_counted_and_the_others_live() -> None:
    async def scene() -> None:
        async with serving(connections_max=2) as served:
            first, second = await served.connect(), await served.connect()
            await until(lambda: len(served.server.open) == 2)
            third, _ = await served.connect()
            assert await all_of(third) == b""
            assert served.refusals == 1
            for reader, each in (first, second):
                each.write(REQUEST)
                assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")
            first[1].close()
            await until(lambda: len(served.server.open) == 1)
            fourth, _ = await served.connect(REQUEST)
            assert (await fourth.readuntil(b"done")).startswith(b"HTTP/1.1 200")

    run(scene())


def test_a_silent_connection_is_cut_once() -> None:
    async def scene() -> None:
        async with serving(header_timeout_s=0.02) as served:
            reader, _ = await served.connect()
            assert await all_of(reader) == b""
            assert (served.cuts, served.handled) == (1, 0)

    run(scene())


def test_a_slow_handler_is_not_a_slow_head() -> None:
    async def scene() -> None:
        async with serving(header_timeout_s=0.02) as served:
            served.gate.clear()
            reader, _ = await served.connect(REQUEST)
            await until(lambda: served.handled == 1)
            silent, _ = await served.connect()
            assert await all_of(silent) == b""
            served.gate.set()
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")
            assert served.cuts == 1

    run(scene())


def test_draining_closes_idle_connections_at_once_and_busy_ones_after_their_answer() -> None:
    async def scene() -> None:
        async with serving() as served:
            served.gate.clear()
            busy, _ = await served.connect(REQUEST)
            idle, _ = await served.connect()
            half, _ = await served.connect(b"POST / HT")
            await until(lambda: served.handled == 1 and len(served.server.open) == 3)
            draining = asyncio.create_task(served.server.drain(DEADLINE_S))
            assert await all_of(idle) == b""
            assert await all_of(half) == b""
            assert not draining.done()
            served.gate.set()
            answer = await all_of(busy)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"Connection: close" in answer
            await draining
            assert not served.server.open

    run(scene())


def test_requests_behind_one_another_on_a_draining_connection_are_not_begun() -> None:
    async def scene() -> None:
        async with serving() as served:
            served.gate.clear()
            reader, _ = await served.connect(REQUEST * 3)
            await until(lambda: served.handled == 1)
            draining = asyncio.create_task(served.server.drain(DEADLINE_S))
            await asyncio.sleep(0)
            served.gate.set()
            assert (await all_of(reader)).count(b"HTTP/1.1 200") == 1
            await draining
            assert served.handled == 1

    run(scene())


def test_draining_cancels_handlers_that_take_too_long() -> None:
    async def scene() -> None:
        async with serving() as served:
            served.gate.clear()
            reader, _ = await served.connect(REQUEST)
            await until(lambda: served.handled == 1)
            await served.server.drain(0.02)
            assert not served.server.open
            with pytest.raises(asyncio.IncompleteReadError):
                await reader.readexactly(1)

    run(scene())


@settings(max_examples=50, deadline=None)
@given(
    noise=st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([REQUEST, b"\r\n", b"POST / HTTP/1.1\r\n", b"X: y\r\n", b"\0" * 50])), max_size=6
    )
)
def test_no_noise_stops_the_server(noise: list[bytes]) -> None:
    async def scene() -> None:
        async with serving() as served:
            _, noisy = await served.connect()
            for each in noise:
                noisy.write(each)
            noisy.write_eof()
            reader, _ = await served.connect(REQUEST)
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")

    run(scene())

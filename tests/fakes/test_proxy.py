"""The proxy passes bytes on, and goes bad when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

import pytest

from tests.fakes.proxy import Proxy, proxy


def run(coroutine: Coroutine[None, None, None]) -> None:
    asyncio.run(coroutine)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1000):
        writer.write(chunk)
    writer.close()


@asynccontextmanager
async def echo_behind_proxy() -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, proxy(*server.sockets[0].getsockname()) as between:
        yield between


async def said_back(between: Proxy, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(between.host, between.port)
    writer.write(text)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.transport.abort()


def test_bytes_pass_in_both_directions() -> None:
    async def scenario() -> None:
        async with echo_behind_proxy() as between:
            assert await said_back(between, b"hello") == b"hello"

    run(scenario())


def test_a_stalled_proxy_holds_bytes_back_until_it_resumes() -> None:
    async def scenario() -> None:
        async with echo_behind_proxy() as between:
            between.stall()
            waiting = asyncio.create_task(said_back(between, b"hello"))
            done, _ = await asyncio.wait([waiting], timeout=0.1)
            assert not done
            between.resume()
            assert await waiting == b"hello"

    run(scenario())


def test_a_cut_resets_open_connections_and_takes_new_ones() -> None:
    async def scenario() -> None:
        async with echo_behind_proxy() as between:
            reader, writer = await asyncio.open_connection(between.host, between.port)
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            between.cut()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.transport.abort()
            assert await said_back(between, b"again") == b"again"

    run(scenario())


def test_a_refusing_proxy_refuses_until_it_is_restored() -> None:
    async def scenario() -> None:
        async with echo_behind_proxy() as between:
            between.refuse()
            with pytest.raises(ConnectionRefusedError):
                await said_back(between, b"x")
            await between.restore()
            assert await said_back(between, b"x") == b"x"

    run(scenario())

"""Load over HTTP/1.1 keep-alive: as fast as answers come (closed loop), or at a fixed rate (open loop)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Result:
    """What a run did."""

    requests: int = 0
    refused: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        """Latency that ``share`` of the requests stay under."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def post(self, body: bytes) -> int:
        """Send one request and return the status of its answer."""
        head = f"POST /v1/traces HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        await self._reader.readexactly(length)
        return int(answer[9:12])


async def saturate(port: int, bodies: Iterator[bytes], requests: int, connections: int) -> Result:
    """Send ``requests`` over ``connections``, each as soon as its last one is answered."""
    result, left = Result(), iter(range(requests))

    async def one() -> None:
        async with Client(port) as client:
            for _ in left:
                await _timed(client, next(bodies), time.perf_counter(), result)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one())
    result.seconds = time.perf_counter() - started
    return result


async def at_rate(port: int, bodies: Iterator[bytes], requests: int, per_second: float, connections: int) -> Result:
    """Send ``requests`` at a fixed rate; latency counts from the moment a request was due, so waiting is not hidden."""
    result, started = Result(), time.perf_counter()
    free: asyncio.LifoQueue[Client] = asyncio.LifoQueue()

    async def one(due: float) -> None:
        client = await free.get()
        await _timed(client, next(bodies), due, result)
        free.put_nowait(client)

    clients = [Client(port) for _ in range(connections)]
    for each in clients:
        free.put_nowait(await each.__aenter__())
    async with asyncio.TaskGroup() as group:
        for n in range(requests):
            due = started + n / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(due))
    result.seconds = time.perf_counter() - started
    for each in clients:
        await each.__aexit__()
    return result


async def _timed(client: Client, body: bytes, since: float, result: Result) -> None:
    status = await client.post(body)
    result.latencies_s.append(time.perf_counter() - since)
    result.requests += 1
    result.refused += status != 200

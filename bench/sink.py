"""A server that takes every POST and answers as Langfuse does, without looking: the cheapest possible destination."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

BODY = b'{"name":"otel-ingestion-job","id":"0","data":{}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Sink(asyncio.Protocol):
    """Counts body bytes by Content-Length; nothing is kept."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's transports are of no asyncio class

    def data_received(self, data: bytes) -> None:
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                if not self._left:
                    self._answer()
                continue
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = bytes(self._head[:end]).lower(), bytes(self._head[end + 4 :])
            self._head.clear()
            self._left = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if not self._left:
                self._answer()

    def _answer(self) -> None:
        assert self._transport is not None
        self._transport.write(ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        uvloop.run(main())
    except KeyboardInterrupt:
        sys.exit(0)

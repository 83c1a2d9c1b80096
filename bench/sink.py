"""The cheapest possible destination: takes every POST, answers as Langfuse does, and counts the spans in it.

``GET /count`` answers with the spans so far; ``GET /refuse`` lets it answer 503 until ``GET /accept``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop
from isal import igzip

from sidecar.wire.batch import count_spans
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest

BODY = b'{"name":"otel-ingestion-job","id":"0","data":{}}'
ANSWER = b"HTTP/1.1 %b\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%b"


class Count:
    """What all connections share."""

    spans = 0
    refuses = False


class Sink(asyncio.Protocol):
    """One connection; nothing is kept."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._head = bytearray()
        self._body = bytearray()
        self._left = 0
        self._is_gzip = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's transports are of no asyncio class

    def data_received(self, data: bytes) -> None:
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                self._body += data[:taken]
                data = data[taken:]
                if not self._left:
                    self._take()
                continue
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = bytes(self._head[:end]).lower(), bytes(self._head[end + 4 :])
            self._head.clear()
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if head.startswith(b"get "):
            self._count.refuses = path == b"/refuse" or (self._count.refuses and path != b"/accept")
            self._answer(b"200 OK", str(self._count.spans).encode())
            return
        self._is_gzip = b"content-encoding: gzip" in head
        self._left = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if not self._left:
            self._take()

    def _take(self) -> None:
        if self._count.refuses:
            self._answer(b"503 Service Unavailable", b"{}")
        else:
            body: bytes = igzip.decompress(self._body) if self._is_gzip else bytes(self._body)  # type: ignore[no-untyped-call]
            self._count.spans += count_spans(ExportTraceServiceRequest.FromString(body))
            self._answer(b"200 OK", BODY)
        self._body.clear()

    def _answer(self, status: bytes, body: bytes) -> None:
        assert self._transport is not None
        self._transport.write(ANSWER % (status, len(body), body))


async def main() -> None:
    count = Count()
    server = await asyncio.get_running_loop().create_server(lambda: Sink(count), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        uvloop.run(main())
    except KeyboardInterrupt:
        sys.exit(0)

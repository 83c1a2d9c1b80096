"""The admin listener: /metrics, /livez, /readyz. It opens first and closes last, so that a drain can be watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from sidecar.config import Admin, Endpoint
from sidecar.errors import StartError
from sidecar.observe.health import Health
from sidecar.observe.metrics import Metrics

CLOSE_S = 2.0
"""A scrape takes milliseconds; a client that hangs longer is cut at shutdown."""
SLICE = 500
"""Lines of a scrape that are written at a time: up to 6 ms as OpenMetrics, then others have their turn. Agents can make it 20,000 lines."""
_END = b"# EOF\n"


@asynccontextmanager
async def open_admin(settings: Admin, metrics: Metrics, health: Health) -> AsyncIterator[Endpoint | None]:
    """Serve until left; yields where it listens, or None when disabled. Raises StartError when the port is taken."""
    if not settings.enabled:
        yield None
        return

    async def show_metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=await written(metrics.registry, encode), headers={"Content-Type": content_type})

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        refusals = health.refusals()
        return web.Response(text="ready\n") if not refusals else web.Response(status=503, text="".join(f"{each}\n" for each in refusals))

    app = web.Application()
    app.add_routes([web.get("/metrics", show_metrics), web.get("/livez", livez), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
    await runner.setup()
    try:
        endpoint = settings.endpoint
        site: web.BaseSite = web.UnixSite(runner, endpoint.path) if endpoint.path else web.TCPSite(runner, endpoint.host, endpoint.port)
        try:
            await site.start()
        except OSError as error:
            raise StartError(f"admin.endpoint: can't listen on {endpoint}: {error.strerror}; is another sidecar running?") from error
        address = runner.addresses[0]
        yield endpoint if isinstance(address, str) else Endpoint(address[0], address[1])
    finally:
        await runner.cleanup()


class _Slice(Collector):
    """A part of one family, as the encoders take it."""

    def __init__(self, family: Metric, samples: list[Sample]) -> None:
        self._family = Metric(family.name, family.documentation, family.type, family.unit)
        self._family.samples = samples

    def collect(self) -> Iterator[Metric]:
        yield self._family


async def written(registry: CollectorRegistry, encode: Callable[[Collector], bytes]) -> bytes:
    """What ``encode`` would write of the registry at once, written a slice at a time."""
    parts: list[bytes] = []
    is_open = False
    lines = 0
    for family in registry.collect():
        samples = iter(family.samples)
        is_first = True
        while (piece := list(islice(samples, SLICE))) or is_first:
            text = encode(_Slice(family, piece))
            is_open = text.endswith(_END)
            text = text.removesuffix(_END)
            parts.append(text if is_first else _without_head(text))
            is_first = False
            lines += len(piece)
            if lines >= SLICE:
                lines = 0
                await asyncio.sleep(0)
    return b"".join((*parts, _END)) if is_open else b"".join(parts)


def _without_head(text: bytes) -> bytes:
    """A slice that continues a family: the family's name, type and unit were written before."""
    while text.startswith(b"#"):
        text = text.partition(b"\n")[2]
    return text

"""The admin listener: /metrics, /livez, /readyz. It opens first and closes last, so that a drain can be watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from sidecar.config import Admin, Endpoint
from sidecar.errors import StartError
from sidecar.observe.health import Health
from sidecar.observe.metrics import Metrics

CLOSE_S = 2.0
"""A scrape takes milliseconds; a client that hangs longer is cut at shutdown."""


@asynccontextmanager
async def open_admin(settings: Admin, metrics: Metrics, health: Health) -> AsyncIterator[Endpoint | None]:
    """Serve until left; yields where it listens, or None when disabled. Raises StartError when the port is taken."""
    if not settings.enabled:
        yield None
        return

    async def show_metrics(request: web.Request) -> web.Response:
        # Rendered in one piece on the loop: a few hundred series take about a millisecond.
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

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

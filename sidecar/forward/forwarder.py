"""All destinations: opens their senders, runs them, and lets them send what fits when the program ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from sidecar.clock import Clock
from sidecar.config import Config
from sidecar.forward.local import LocalSender
from sidecar.forward.retry import Chance
from sidecar.forward.sender import SenderStatus, open_langfuse
from sidecar.forward.source import Source
from sidecar.observe.metrics import Metrics
from sidecar.sample.pressure import Pulse
from sidecar.waiting import first


class Sender(Protocol):
    """One destination at work."""

    async def run(self) -> None:
        """Send until cancelled; then give every lease back."""

    async def drain(self) -> None:
        """Return when nothing is left to send, or nothing can be sent now."""

    def reload_keys(self) -> None:
        """Read keys again and probe at once."""

    def pulse(self) -> Pulse:
        """Whether it takes spans, and how fast it answers."""

    def status(self) -> SenderStatus:
        """How it goes."""


class Forwarder:
    """What the rest of the program may ask of the destinations."""

    def __init__(self, senders: Sequence[Sender]) -> None:
        self._senders = tuple(senders)

    def reload_keys(self) -> None:
        """SIGHUP: read key files again; paused destinations are probed at once."""
        for sender in self._senders:
            sender.reload_keys()

    def pulses(self) -> tuple[Pulse, ...]:
        """How each destination does, in the order of the configuration."""
        return tuple(sender.pulse() for sender in self._senders)

    def status(self) -> tuple[SenderStatus, ...]:
        """One entry a destination, in the order of the configuration."""
        return tuple(sender.status() for sender in self._senders)


@asynccontextmanager
async def run_forwarder(
    config: Config,
    source: Source,
    clock: Clock,
    metrics: Metrics,
    rng: Chance,
    log: logging.Logger,
    instance_id: str,
    deadline: Callable[[], float] | None = None,
) -> AsyncIterator[Forwarder]:
    """Deliver from ``source`` while the block runs.

    Leaving it normally sends what is left until ``deadline()`` (asked then; seconds of the monotonic clock; without it,
    ``shutdown.grace_s`` from then on), and gives back the rest. Leaving it by an exception gives everything back
    at once. Raises StartError or ConfigError when a destination can't be used as configured.
    """
    async with AsyncExitStack() as stack:
        senders: list[Sender] = []
        for each in config.destinations:
            if each.type == "local":
                senders.append(LocalSender(each, source, clock, metrics))
            else:
                opened = open_langfuse(each, config.forward, source, clock, metrics, rng, log, instance_id)
                senders.append(await stack.enter_async_context(opened))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(sender.run(), name="sender") for sender in senders]
            yield Forwarder(senders)
            until_s = clock.monotonic() + config.shutdown.grace_s if deadline is None else deadline()
            await first(clock.sleep(max(0.0, until_s - clock.monotonic())), _drain(senders))
            for task in tasks:
                task.cancel()


async def _drain(senders: Sequence[Sender]) -> None:
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.drain())

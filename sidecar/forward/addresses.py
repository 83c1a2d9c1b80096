"""Tells whether a destination is this very process: spans would go round for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from sidecar.config import Destination, Endpoint
from sidecar.errors import ConfigError

RESOLVE_S = 2.0
"""A name server that takes longer is not waited for: the request header still catches a loop."""
_ANY = ("0.0.0.0", "::", "")  # noqa: S104  (compared with, not bound)


async def own_address_check(destinations: Sequence[Destination], listeners: Sequence[Endpoint]) -> None:
    """Raise ConfigError when a ``base_url`` leads to one of our own ``listeners``. Names that don't resolve are no problem of this check."""
    problems = []
    for i, each in enumerate(destinations):
        if each.type == "local":
            continue
        url = urlsplit(each.base_url)
        port = url.port or (443 if url.scheme == "https" else 80)
        targets = await _addresses(url.hostname or "", port)
        for listener in listeners:
            if listener.port == port and not listener.path and await _is_among(targets, listener):
                problems.append(
                    f"destinations[{i}].base_url: {each.base_url} is this sidecar's own listener {listener}; spans would go round for ever. "
                    "Set it to Langfuse's address"
                )
    if problems:
        raise ConfigError(problems)


async def _is_among(targets: set[str], listener: Endpoint) -> bool:
    if listener.host in _ANY:
        return any(_is_ours(target) for target in targets)
    return bool(targets & await _addresses(listener.host, listener.port))


async def _addresses(host: str, port: int) -> set[str]:
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(each[4][0]) for each in found}


def _is_ours(address: str) -> bool:
    """True if a socket can be bound to it: the addresses of this machine, and no others."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True

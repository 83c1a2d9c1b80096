"""Requests that come again: an exporter that gave up waiting sends the same body once more.

Owns what was committed in the last minutes and what is being committed now. It must not keep bodies:
a body is known by its length, a SipHash of 64 bits (Python's keyed hash of bytes, 6 GB/s) and a CRC32.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from isal import isal_zlib

from sidecar.clock import Clock

T = TypeVar("T")

REMEMBER_S = 300.0
"""Exporters retry within a minute (OTLP: exponential backoff); an agent that restarts its exporter takes longer."""
ENTRIES_MAX = 8192
"""8,192 x 450 bytes = 3.6 MiB. At 100 requests a second that is 80 s of them."""


def fingerprint(body: bytes, *context: Hashable) -> Hashable:
    """What makes two requests the same: the body and its ``context`` (encoding, public key).

    Two different bodies of one length share it with a probability of 2^-96, and nobody outside this process can compute it.
    """
    return (hash(body), isal_zlib.crc32(body), len(body), *context)


class Repeats(Generic[T]):
    """Runs each request once. Belongs to one event loop."""

    def __init__(self, clock: Clock, remember_s: float = REMEMBER_S, entries_max: int = ENTRIES_MAX) -> None:
        self._clock = clock
        self._remember_s = remember_s
        self._entries_max = entries_max
        self._committed: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._in_flight: dict[Hashable, asyncio.Future[T]] = {}

    def __len__(self) -> int:
        return len(self._committed)

    async def once(self, key: Hashable, commit: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """``(outcome, is_repeat)``: run ``commit``, or answer with what it gave for the same key.

        While the first request is still in its commit, a repeat awaits it and shares its failure; a failure is not
        remembered. When the first one is cancelled, its outcome is unknown and the repeat runs by itself.
        """
        self._forget()
        while True:
            known = self._committed.get(key)
            if known is not None:
                return known[1], True
            first = self._in_flight.get(key)
            if first is None:
                return await self._commit(key, commit), False
            await asyncio.wait((first,))
            if not first.cancelled():
                return first.result(), True

    async def _commit(self, key: Hashable, commit: Callable[[], Awaitable[T]]) -> T:
        mine = self._in_flight[key] = asyncio.get_running_loop().create_future()
        try:
            outcome = await commit()
        except Exception as error:
            mine.set_exception(error)
            mine.exception()  # seen: without a repeat nobody else looks at it
            raise
        except BaseException:
            mine.cancel()
            raise
        else:
            mine.set_result(outcome)
            self._committed[key] = (self._clock.monotonic(), outcome)
            return outcome
        finally:
            del self._in_flight[key]

    def _forget(self) -> None:
        oldest_kept = self._clock.monotonic() - self._remember_s
        while self._committed:
            key, (committed_at, _) = next(iter(self._committed.items()))
            if committed_at >= oldest_kept and len(self._committed) < self._entries_max:
                return
            del self._committed[key]

"""The in-flight budget: how many bytes of requests may be in memory at once, over all receivers.

Owns the arithmetic and the turns of large bodies. It must not read, decode or keep bodies.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from sidecar.errors import Overloaded

TURN_WAIT_S = 5.0
"""How long a large body waits for its turn. Exporters give up after 10 s (OTLP's default), so half of that leaves time to process."""


class InFlight:
    """``max_bytes`` of bodies at once. A body of more than a quarter of it is not counted against the rest: it takes its turn alone.

    So memory is bounded by ``max_bytes`` of small bodies and one large one, and a body larger than
    the whole budget still gets in. What is read of a body before it is known to be large stays
    counted until its turn comes. Belongs to one event loop.
    """

    def __init__(self, max_bytes: int, turn_wait_s: float = TURN_WAIT_S) -> None:
        self.max_bytes = max_bytes
        self.large_bytes = max_bytes // 4
        self._turn_wait_s = turn_wait_s
        self._turn = asyncio.Lock()
        self._small = 0
        self._large = 0

    @property
    def bytes(self) -> int:
        """Bytes held now, small and large bodies together."""
        return self._small + self._large

    @property
    def fraction(self) -> float:
        """Of ``max_bytes``, held by small bodies: a large one takes its turn beside them."""
        return self._small / self.max_bytes

    def take(self, size: int = 0) -> Share:
        """``async with budget.take(size) as share``: hold ``size`` bytes; raises Overloaded when there is no room."""
        return Share(self, size)

    def _resize_small(self, old: int, new: int) -> None:
        if self._small - old + new > self.max_bytes:
            raise Overloaded(
                f"{self._small} bytes of requests are being processed and receivers.in_flight_mib allows {self.max_bytes}; send this one again later"
            )
        self._small += new - old

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(self._turn_wait_s):
                await self._turn.acquire()
        except TimeoutError:
            raise Overloaded(
                f"bodies of more than {self.large_bytes} bytes (a quarter of receivers.in_flight_mib) take turns and this one waited "
                f"{self._turn_wait_s:g} s for its own; send it again later"
            ) from None

    def _hold_large(self, size: int) -> None:
        self._large = size

    def _end_turn(self) -> None:
        self._large = 0
        self._turn.release()


class Share:
    """The bytes that one request holds; given back when its ``async with`` ends."""

    __slots__ = ("_budget", "_has_turn", "_size")

    def __init__(self, budget: InFlight, size: int) -> None:
        self._budget = budget
        self._size = size
        self._has_turn = False

    async def __aenter__(self) -> Self:
        size, self._size = self._size, 0
        if size:
            await self.resize(size)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._has_turn:
            self._budget._end_turn()  # noqa: SLF001  (a share is the budget's other half)
        else:
            self._budget._resize_small(self._size, 0)  # noqa: SLF001
        self._has_turn, self._size = False, 0

    async def expect(self, size: int) -> None:
        """Announce a size: a large body waits for its turn before it is read, a small one holds nothing until its bytes are there."""
        if size > self._budget.large_bytes:
            await self._become_large()

    async def resize(self, size: int) -> None:
        """Hold ``size`` bytes from now on; raises Overloaded when there is no room or no turn in time."""
        budget = self._budget
        if not self._has_turn:
            if size <= budget.large_bytes:
                budget._resize_small(self._size, size)  # noqa: SLF001
                self._size = size
                return
            await self._become_large()
        self._size = size
        budget._hold_large(size)  # noqa: SLF001

    async def _become_large(self) -> None:
        if not self._has_turn:
            await self._budget._take_turn()  # noqa: SLF001
            self._has_turn = True
            self._budget._resize_small(self._size, 0)  # noqa: SLF001
            self._budget._hold_large(self._size)  # noqa: SLF001

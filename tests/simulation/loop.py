"""An event loop whose time passes only while everybody waits, and in which nothing depends on the machine.

Time jumps to the next timer; threads' work is done at once, in its place; tasks hash by their number, so that sets of them
have one order. When nobody will ever wake again that is an error, not a hang.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(AssertionError):
    """Every task waits for another one."""


class _NoSockets(selectors.DefaultSelector):
    """Nothing ever comes from outside: waiting for it passes the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nobody will ever wake again")
        self.now_s += max(0.0, timeout)
        return []


class _Task(asyncio.Task[T]):
    numbers = count()

    def __init__(self, coroutine: Coroutine[object, object, T] | Generator[object, None, T], **options: Any) -> None:
        self._number = next(_Task.numbers)
        super().__init__(coroutine, **options)  # type: ignore[arg-type]  # (as asyncio's own default factory does)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Seconds since its start are ``time()``."""

    def __init__(self) -> None:
        self._without_sockets = _NoSockets()
        super().__init__(self._without_sockets)
        self.set_task_factory(_task)  # type: ignore[arg-type]  # (as asyncio types it, a factory makes tasks of one type)

    def time(self) -> float:
        return self._without_sockets.now_s

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # noqa: ARG002  (there are no threads)
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (it belongs to whoever awaits)
            future.set_exception(error)
        return future


def _task(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[object, object, T], *, context: Context | None = None, **options: Any) -> _Task[T]:
    return _Task(coroutine, loop=loop, context=context, **options)


def simulate(main: Coroutine[object, object, T]) -> T:
    """Run to its end on virtual time. Raises Deadlock."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)


class LoopClock:
    """A ``sidecar.clock.Clock`` on the running loop's time; the wall clock can be set."""

    def __init__(self, start_ms: int) -> None:
        self.offset_ms = start_ms

    def wall_ms(self) -> int:
        return self.offset_ms + round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

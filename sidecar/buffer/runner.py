"""Where the core runs: on the event loop, or on a thread of its own. Nothing else is decided here.

A commit under ``synchronous=NORMAL`` copies pages into the kernel's cache and waits for no disk: on the loop it takes
less CPU and, while the loop is busy, a third of the time that a thread takes, which waits for the interpreter lock at
each step. What may wait for the disk (checkpoints, cold reads, commits under FULL) belongs on the thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ParamSpec, Protocol, TypeVar

import aiosqlite

P = ParamSpec("P")
T = TypeVar("T")


class Runner(Protocol):
    """Runs one synchronous call of the core at a time."""

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a call that works in memory; raises what it raises."""

    async def run_waiting(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a call that may wait for the disk; raises what it raises."""


RunnerFactory = Callable[[sqlite3.Connection], AbstractAsyncContextManager[Runner]]


class InlineRunner:
    """Runs everything where it is: cheapest, and the loop stands still until it is done."""

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)

    async def run_waiting(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)


class ThreadRunner(aiosqlite.Connection):
    """Runs everything on aiosqlite's thread; one hand-over a call instead of one a statement."""

    def __init__(self, db: sqlite3.Connection) -> None:
        super().__init__(lambda: db, iter_chunk_size=64)

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run_waiting(call, *args, **kwargs)

    async def run_waiting(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        answer: T = await self._execute(call, *args, **kwargs)  # type: ignore[no-untyped-call]  # (aiosqlite's own hook for one call on its thread)
        return answer

    async def close(self) -> None:
        """End the thread; the connection stays open, it belongs to whoever opened it."""
        self._connection = None
        stopped = self.stop()
        if stopped is not None:
            await stopped


class HybridRunner(ThreadRunner):
    """Runs on the loop what works in memory and on the thread what may wait for the disk."""

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)


@asynccontextmanager
async def inline(_db: sqlite3.Connection) -> AsyncIterator[Runner]:
    """For tools, tests and comparison."""
    yield InlineRunner()


@asynccontextmanager
async def threaded(db: sqlite3.Connection) -> AsyncIterator[Runner]:
    """A thread that lives as long as the block and runs everything: for `durability: full`, where every commit syncs."""
    runner = ThreadRunner(db)
    async with runner:
        yield runner


@asynccontextmanager
async def hybrid(db: sqlite3.Connection) -> AsyncIterator[Runner]:
    """A thread that lives as long as the block, for what may wait for the disk."""
    runner = HybridRunner(db)
    async with runner:
        yield runner

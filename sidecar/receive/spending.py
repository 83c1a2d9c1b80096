"""What was spent of the budgets, kept over restarts: in a small file beside the buffer, and only in memory beside ``:memory:``.

Owns that file and when it is written. It must not know what a budget is for.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from sidecar.buffer.opening import write_private
from sidecar.clock import Clock
from sidecar.enrich.agents import AgentRules
from sidecar.enrich.budgets import Account, Accounts, Books, Line, limits_of
from sidecar.enrich.measured import Spent
from sidecar.observe.logs import error_text

SUFFIX = ".budgets"
WRITE_S = 10.0
"""A kill forgets at most what was spent in this time."""
FILE_BYTES_MAX = 8 * 1024 * 1024
"""2,000 budgets with names of 256 characters of at most six bytes, and 150 bytes for three periods, are 3.4 MB."""


class Spending:
    """The accounts of a process and their file."""

    def __init__(self, rules: AgentRules, clock: Clock, log: logging.Logger, buffer_path: str) -> None:
        path = None if buffer_path == ":memory:" else Path(buffer_path + SUFFIX)
        self._accounts = Accounts(limits_of(rules))
        self._clock = clock
        self._log = log
        self._path = path
        self._writing = threading.Lock()
        self._changed = False
        self._failed = False

    def use(self, rules: AgentRules) -> None:
        """Follow the budgets of these rules from now on."""
        self._accounts.use(limits_of(rules))

    def add(self, spent: Mapping[Account, Spent]) -> None:
        """Take from budgets."""
        now_ms = self._clock.wall_ms()
        for account, each in spent.items():
            self._accounts.spend(account, each, now_ms)
            self._changed = True

    def lines(self) -> Iterator[Line]:
        """Every limit and what is spent of it now."""
        return self._accounts.lines(self._clock.wall_ms())

    def read(self) -> None:
        """Add what was spent before this process. A file that can't be read counts as nothing spent, and the log says so."""
        if self._path is None or not self._path.exists():
            return
        try:
            with self._path.open("rb") as file:
                books = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Books)
        except (OSError, msgspec.MsgspecError):
            self._log.warning("what was spent of the budgets can't be read and counts as nothing", extra={"file": str(self._path)})
            return
        self._accounts.add_books(books)

    async def write(self) -> None:
        """Write the file if anything was spent since the last time. Where it can't be written, memory goes on counting."""
        if self._path is None or not self._changed:
            return
        self._changed = False
        try:
            await asyncio.to_thread(self._put, self._path, msgspec.json.encode(self._accounts.books()).decode())
        except (OSError, UnicodeError) as error:
            self._changed = True
            if not self._failed:
                self._log.warning("what was spent of the budgets can't be written and is forgotten at a restart", extra={"error": error_text(error)})
            self._failed = True
        else:
            self._failed = False

    def _put(self, path: Path, text: str) -> None:
        with self._writing:  # a write that was cancelled goes on in its thread
            write_private(path, text)


@asynccontextmanager
async def keep_spending(spending: Spending, clock: Clock) -> AsyncIterator[None]:
    """Read the file, write it every ten seconds, and when left. The buffer's lock must be held: one process writes."""

    async def write_on() -> None:
        while True:
            await clock.sleep(WRITE_S)
            await spending.write()

    spending.read()
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(write_on(), name="budgets")
            yield
            task.cancel()
    finally:
        await spending.write()

"""A disk of a given size under a real SQLite file, which fails when it is told to, and a process that can die at any COMMIT.

Sizes are virtual: a commit takes some pages of the log, a checkpoint gives them back, so that a few KB of spans fill a disk and
cause checkpoints. What SQLite does with its file is real; what a kill leaves is a copy of the file and its log at that moment,
with some bytes of a commit that was never finished behind it.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.buffer.disk import MIB

RESERVE_BYTES = 6 * MIB
COMMIT_BYTES = 192 * 1024
"""Of the log, for each commit: one in twenty is followed by a checkpoint."""
SUFFIXES = ("", "-wal", ".ledger.json")
FULL, IO_ERROR = sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE


class Killed(BaseException):
    """The process died here."""


@dataclass
class VirtualDisk:
    """Room and faults; outlives the processes that use it."""

    path: Path
    chance: random.Random
    room_bytes: int = 1 << 40
    """For the log and the reserve together."""
    has_reserve: bool = False
    log_bytes_used: int = 0
    fails_in: int | None = None
    """Statements until one fails; None: none does."""
    code: int = IO_ERROR
    kills_in: int | None = None
    """Commits until the process dies at one; None: at none."""
    on_kill: Callable[[], None] = field(default=lambda: None)
    faults: int = 0
    _connection: _Connection | None = None

    def free_bytes(self) -> int:
        return max(0, self.room_bytes - self.log_bytes_used - (RESERVE_BYTES if self.has_reserve else 0))

    def log_bytes(self) -> int:
        return self.log_bytes_used

    def missing_bytes(self) -> int:
        return 0 if self.has_reserve else RESERVE_BYTES

    def make_reserve(self) -> bool:
        self.has_reserve = self.has_reserve or self.free_bytes() >= RESERVE_BYTES
        return self.has_reserve

    def free_reserve(self) -> bool:
        had, self.has_reserve = self.has_reserve, False
        return had

    def connect(self, path: str) -> sqlite3.Connection:
        """As ``sidecar.buffer.opening.connect``, with the faults of this disk."""
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64, factory=_Connection)
        connection.disk = self
        self._connection = connection
        return connection

    @property
    def is_open(self) -> bool:
        """A process has the file open, or is about to."""
        return self._connection is not None

    def closed(self) -> None:
        """The process is gone, however it ended."""
        self._connection = None

    def die(self) -> dict[str, bytes]:
        """The process is dead: what it left, which nothing that unwinds may change, delay or die at again. Put it back with ``restore``."""
        assert self._connection is not None
        self._connection.is_alive = False
        return self.image()

    def image(self) -> dict[str, bytes]:
        """The files as a kill leaves them: whatever was written, and a part of a commit that was not."""
        found = {suffix: file.read_bytes() for suffix in SUFFIXES if (file := Path(f"{self.path}{suffix}")).exists()}
        if "-wal" in found and self.chance.random() < 0.5:
            found["-wal"] += self.chance.randbytes(self.chance.randrange(1, 20_000))
        return found

    def restore(self, image: dict[str, bytes]) -> None:
        """Put an image back, as the next process finds it."""
        for suffix in SUFFIXES:
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        for suffix, content in image.items():
            Path(f"{self.path}{suffix}").write_bytes(content)


class _Connection(sqlite3.Connection):
    disk: VirtualDisk
    is_alive = True

    def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
        disk = self.disk
        if not self.is_alive:
            return super().execute(sql, parameters)  # type: ignore[arg-type]  # (as below)
        if disk.fails_in is not None:
            disk.fails_in -= 1
            if disk.fails_in < 0 and not sql.startswith("ROLLBACK"):
                disk.fails_in = None
                self._refuse(disk.code)
        if sql == "COMMIT":
            return self._commit()
        if "wal_checkpoint" in sql:
            disk.log_bytes_used = 0
        return super().execute(sql, parameters)  # type: ignore[arg-type]  # (whatever sqlite3 takes)

    def _commit(self) -> sqlite3.Cursor:
        disk = self.disk
        if disk.free_bytes() < COMMIT_BYTES:
            self._refuse(FULL)
        if disk.kills_in is not None:
            disk.kills_in -= 1
            if disk.kills_in < 0:
                return self._die()
        disk.log_bytes_used += COMMIT_BYTES
        return super().execute("COMMIT")

    def _die(self) -> sqlite3.Cursor:
        """Before the COMMIT, or between it and the answer."""
        disk = self.disk
        disk.kills_in = None
        if disk.chance.random() < 0.5:
            super().execute("COMMIT")
        disk.on_kill()
        raise Killed

    def _refuse(self, code: int) -> None:
        self.disk.faults += 1
        if self.in_transaction:
            super().execute("ROLLBACK")  # as SQLite does by itself for these codes
        error = sqlite3.OperationalError("injected")
        error.sqlite_errorcode = code
        error.sqlite_errorname = "INJECTED"
        raise error

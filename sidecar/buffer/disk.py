"""The disk beneath the buffer: free room, the log's size, and the reserve file that is given up when there is no room.

SQLite can't even DELETE at ENOSPC: WAL frames and checkpoints need room. Freeing a file that was allocated
beforehand gives that room back. Nothing here decides when; ``core.py`` does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

MIB = 1024 * 1024


class Disk(Protocol):
    """What the core asks of the disk. Injected, so that faults can be."""

    def free_bytes(self) -> int:
        """Room that this user can still take."""

    def log_bytes(self) -> int:
        """Size of the write-ahead log's file: no less than what lies in it."""

    def missing_bytes(self) -> int:
        """What the reserve lacks; 0: it is there."""

    def make_reserve(self) -> bool:
        """Allocate the reserve unless it exists; False: there is no room for it."""

    def free_reserve(self) -> bool:
        """Give the reserve back; False: there was none."""


class FileDisk:
    """The file system that holds the buffer file."""

    def __init__(self, path: Path, reserve_bytes: int) -> None:
        self._folder = path.parent
        self._path = path.with_name(path.name + ".reserve")
        self._log = path.with_name(path.name + "-wal")
        self._reserve_bytes = reserve_bytes

    def free_bytes(self) -> int:
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def missing_bytes(self) -> int:
        try:
            return max(0, self._reserve_bytes - self._path.stat().st_size)
        except OSError:
            return self._reserve_bytes

    def make_reserve(self) -> bool:
        if self.missing_bytes() == 0:
            return True
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                _allocate(descriptor, self._reserve_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True

    def free_reserve(self) -> bool:
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


class NoDisk:
    """For a buffer in memory: nothing to watch, nothing to reserve."""

    def free_bytes(self) -> int:
        return 1 << 62

    def log_bytes(self) -> int:
        return 0

    def missing_bytes(self) -> int:
        return 0

    def make_reserve(self) -> bool:
        return True

    def free_reserve(self) -> bool:
        return False


def _allocate(descriptor: int, size: int) -> None:
    """Take ``size`` bytes for real: blocks, not a sparse file. macOS has no posix_fallocate."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    left = size
    while left > 0:
        left -= os.write(descriptor, os.urandom(min(left, MIB)))
    os.fsync(descriptor)

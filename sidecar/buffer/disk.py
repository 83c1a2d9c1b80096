"""The disk beneath the buffer: free room, and the reserve file that is given up when there is none.

SQLite can't even DELETE at ENOSPC: WAL frames and checkpoints need room. Freeing a file that was allocated
beforehand gives that room back. Nothing here decides when; ``core.py`` does.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

MIB = 1024 * 1024


class Disk(Protocol):
    """What the core asks of the disk. Injected, so that faults can be."""

    def free_bytes(self) -> int:
        """Room that this user can still take."""

    def make_reserve(self) -> bool:
        """Allocate the reserve unless it exists; False: there is no room for it."""

    def free_reserve(self) -> bool:
        """Give the reserve back; False: there was none."""


class FileDisk:
    """The file system that holds the buffer file."""

    def __init__(self, path: Path, reserve_bytes: int) -> None:
        self._path = path.with_name(path.name + ".reserve")
        self._reserve_bytes = reserve_bytes

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._path.parent).free

    def make_reserve(self) -> bool:
        if self._reserve_bytes == 0:
            return True
        try:
            if self._path.exists() and self._path.stat().st_size == self._reserve_bytes:
                return True
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

"""Where triggers fire, found with Hyperscan: all triggers in one pass, 300 MB/s and more.

Owns the compiled database and its cache file, which spares a start the compilation (a quarter of a second). It must not
know detectors, windows or policies.

Bytes in, ends out: no start of match, no UTF-8 mode, every match reported. Hyperscan calls back once for each fired trigger.
"""

from __future__ import annotations

import contextlib
import hashlib
import sysconfig
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import hyperscan

from sidecar.mask.stdlib_engine import StdlibScanner
from sidecar.mask.triggers import Trigger
from sidecar.mask.windows import WorkLimit

_DIGEST_BYTES = 32
_FORMAT = 1
"""Part of the file's name: raise it when the layout of the file changes."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A database, and the numbers of the triggers that Hyperscan does not take."""

    database: hyperscan.Database | None
    """None when it takes none of them."""
    refused: tuple[int, ...]


def compile_triggers(triggers: Sequence[Trigger]) -> Compiled:
    """All triggers in one database. When that fails they are tried one by one: a few milliseconds each."""
    numbers = range(len(triggers))
    try:
        return Compiled(_database(triggers, numbers), ())
    except hyperscan.error:
        refused = tuple(number for number in numbers if not _taken(triggers, number))
    return Compiled(_database(triggers, [number for number in numbers if number not in refused]), refused)


def _database(triggers: Sequence[Trigger], numbers: Sequence[int]) -> hyperscan.Database | None:
    if not numbers:
        return None
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[triggers[number][0].encode() for number in numbers],
        ids=list(numbers),
        elements=len(numbers),
        flags=[hyperscan.HS_FLAG_CASELESS if triggers[number][1] else 0 for number in numbers],
    )
    return database


def _taken(triggers: Sequence[Trigger], number: int) -> bool:
    try:
        _database(triggers, [number])
    except hyperscan.error:
        return False
    return True


class DatabaseFile:
    """A compiled database in a directory. Mode 0600, written whole or not at all.

    Layout: SHA-256 of the rest, the refused triggers as decimal numbers and a line end, the serialized database. Hyperscan itself
    doesn't notice every damage. The name holds platform, version and a hash of the triggers: after an update a start finds no file
    rather than a wrong one.
    """

    def __init__(self, directory: Path, triggers: Sequence[Trigger]) -> None:
        rules = hashlib.sha256(repr((_FORMAT, list(triggers))).encode()).hexdigest()[:24]
        self.path = directory / f"triggers-{sysconfig.get_platform()}-{version('hyperscan')}-{rules}.hsdb"

    def load(self) -> Compiled | None:
        """None when there is no file, or one that others can touch, or that is damaged or of another platform."""
        try:
            if self.path.is_symlink() or self.path.stat().st_mode & 0o077:
                return None
            content = self.path.read_bytes()
        except OSError:
            return None
        digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(rest).digest() != digest:
            return None
        refused, _, serialized = rest.partition(b"\n")
        try:
            database = hyperscan.loadb(serialized, hyperscan.HS_MODE_BLOCK) if serialized else None
        except hyperscan.error:
            return None
        return Compiled(database, tuple(map(int, refused.split())))

    def save(self, compiled: Compiled) -> None:
        """Write it beside and rename. OSError when the directory can't be written. Files of other rules and versions go."""
        serialized = b"" if compiled.database is None else hyperscan.dumpb(compiled.database)
        rest = b" ".join(b"%d" % number for number in compiled.refused) + b"\n" + serialized
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=".triggers-", delete=False) as file:
            beside = Path(file.name)
            try:
                file.write(hashlib.sha256(rest).digest() + rest)
                file.flush()
                beside.replace(self.path)
            except OSError:
                beside.unlink(missing_ok=True)
                raise
        for other in self.path.parent.glob("triggers-*.hsdb"):
            if other != self.path:
                other.unlink(missing_ok=True)


def open_triggers(triggers: Sequence[Trigger], directory: Path | None) -> Compiled:
    """From the cache file or compiled. A directory that can't be written costs the compilation at each start, nothing else."""
    if directory is None:
        return compile_triggers(triggers)
    file = DatabaseFile(directory, triggers)
    compiled = file.load()
    if compiled is None:
        compiled = compile_triggers(triggers)
        with contextlib.suppress(OSError):
            file.save(compiled)
    return compiled


class _PerThread(threading.local):
    """Hyperscan's working memory, one for each thread: two scans can't share one."""

    def __init__(self, database: hyperscan.Database) -> None:
        self.scratch = hyperscan.Scratch(database)


class HyperscanScanner:
    """Places where triggers fire."""

    name = "hyperscan"

    def __init__(self, triggers: Sequence[Trigger], directory: Path | None = None) -> None:
        """``directory`` keeps the compiled database; without one it is compiled each time."""
        compiled = open_triggers(triggers, directory)
        self._scan = compiled.database.scan if compiled.database else None
        self._local = _PerThread(compiled.database) if compiled.database else None
        self._rest = StdlibScanner(triggers, compiled.refused) if compiled.refused else None

    def places(self, text: bytes, most: int) -> dict[int, list[int]]:
        """Ends of all matches of each trigger; WorkLimit beyond ``most`` of them."""
        found = self._rest.places(text, most) if self._rest else {}
        if not self._scan or not self._local:
            return found
        fired: list[tuple[int, int]] = []
        add = fired.append
        most -= sum(map(len, found.values()))

        def on_match(number: int, _start: int, end: int, _flags: int, _context: object) -> bool:
            add((number, end))
            return len(fired) > most

        try:
            self._scan(text, match_event_handler=on_match, scratch=self._local.scratch)
        except hyperscan.ScanTerminated:
            raise WorkLimit("work") from None
        for number, end in fired:
            if number in found:
                found[number].append(end)
            else:
                found[number] = [end]
        return found

"""Where triggers fire, found with Hyperscan: three passes, together 500 MB/s and more over clean text.

Owns the compiled databases and their cache file, which spares a start the compilation (a second). It must not
know detectors, windows or policies.

Three databases, because Hyperscan runs each kind of trigger fast, but not together: most behind its search for literals, those
that begin at an edge as one small automaton, those with a long repeat too as another. In one database the automata multiply:
17 instead of 2 us/KB. Another pass over a text costs 1 us.

Bytes in, ends out: no start of match, no UTF-8 mode, every match reported. Hyperscan calls back once for each fired trigger.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import stat
import sysconfig
import tempfile
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import hyperscan

from sidecar.mask.stdlib_engine import StdlibScanner
from sidecar.mask.triggers import Trigger
from sidecar.mask.windows import WorkLimit

_DIGEST_BYTES = 32
_LENGTH_BYTES = 8
_FORMAT = 2
"""Part of the file's name: raise it when the layout of the file changes."""
_EDGE = "(?:^|[^0-9"
"""How triggers begin that ask for the edge of a number or word."""
_LONG_REPEAT = re.compile(r"\{(?:1[6-9]|[2-9][0-9])\}")
"""Sixteen times or more: so many states that an automaton of many triggers grows too large."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Databases, and the numbers of the triggers that Hyperscan does not take."""

    databases: tuple[hyperscan.Database, ...]
    """None of them is empty; none at all when Hyperscan takes no trigger."""
    refused: tuple[int, ...]


def compile_triggers(triggers: Sequence[Trigger]) -> Compiled:
    """All triggers, by kind. When a database fails, its triggers are tried one by one: a few milliseconds each."""
    databases: list[hyperscan.Database] = []
    refused: list[int] = []
    for kind in (0, 1, 2):
        numbers = [number for number, trigger in enumerate(triggers) if _kind(trigger) == kind]
        try:
            database = _database(triggers, numbers)
        except hyperscan.error:
            bad = [number for number in numbers if not _taken(triggers, number)]
            refused += bad
            database = _database(triggers, [number for number in numbers if number not in bad])
        if database is not None:
            databases.append(database)
    return Compiled(tuple(databases), tuple(sorted(refused)))


def _kind(trigger: Trigger) -> int:
    """In which database it goes: 0 without an edge, 1 with one, 2 with one and a long repeat."""
    expression, _ = trigger
    return 0 if not expression.startswith(_EDGE) else 2 if _LONG_REPEAT.search(expression) else 1


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

    Layout: SHA-256 of the rest, the refused triggers as decimal numbers and a line end, each serialized database behind its length
    (8 bytes, big-endian). Hyperscan itself doesn't notice every damage. The name holds platform, version and a hash of the triggers: after an update a start finds no file
    rather than a wrong one.
    """

    def __init__(self, directory: Path, triggers: Sequence[Trigger], name: str = "triggers") -> None:
        """``name`` tells files of the same directory apart that hold different things."""
        self._name = name
        rules = hashlib.sha256(repr((_FORMAT, list(triggers))).encode()).hexdigest()[:24]
        self.path = directory / f"{name}-{sysconfig.get_platform()}-{version('hyperscan')}-{rules}.hsdb"

    def load(self) -> Compiled | None:
        """None when there is no file, or one that others can touch or that belongs to another user than its directory, or that is damaged or of another platform."""
        try:
            found = self.path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != self.path.parent.stat().st_uid:
                return None
            content = self.path.read_bytes()
        except OSError:
            return None
        digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(rest).digest() != digest:
            return None
        refused, _, serialized = rest.partition(b"\n")
        databases: list[hyperscan.Database] = []
        while serialized:
            length, serialized = int.from_bytes(serialized[:_LENGTH_BYTES], "big"), serialized[_LENGTH_BYTES:]
            try:
                databases.append(hyperscan.loadb(serialized[:length], hyperscan.HS_MODE_BLOCK))
            except hyperscan.error:
                return None
            serialized = serialized[length:]
        return Compiled(tuple(databases), tuple(map(int, refused.split())))

    def save(self, compiled: Compiled) -> None:
        """Write it beside and rename. OSError when the directory can't be written. Files of other rules and versions go."""
        parts = [hyperscan.dumpb(database) for database in compiled.databases]
        rest = b" ".join(b"%d" % number for number in compiled.refused) + b"\n"
        rest += b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=f".{self._name}-", delete=False) as file:
            beside = Path(file.name)
            try:
                file.write(hashlib.sha256(rest).digest() + rest)
                file.flush()
                beside.replace(self.path)
            except OSError:
                beside.unlink(missing_ok=True)
                raise
        for other in self.path.parent.glob(f"{self._name}-*.hsdb"):
            if other != self.path:
                other.unlink(missing_ok=True)


def open_triggers(triggers: Sequence[Trigger], directory: Path | None, name: str = "triggers") -> Compiled:
    """From the cache file or compiled. A directory that can't be written costs the compilation at each start, nothing else."""
    if directory is None:
        return compile_triggers(triggers)
    file = DatabaseFile(directory, triggers, name)
    compiled = file.load()
    if compiled is None:
        compiled = compile_triggers(triggers)
        with contextlib.suppress(OSError):
            file.save(compiled)
    return compiled


class _PerThread(threading.local):
    """Hyperscan's working memory, one for each thread: two scans can't share one."""

    def __init__(self, databases: Sequence[hyperscan.Database]) -> None:
        self.scans = [(database.scan, hyperscan.Scratch(database)) for database in databases]


class HyperscanScanner:
    """Places where triggers fire."""

    name = "hyperscan"

    def __init__(self, triggers: Sequence[Trigger], directory: Path | None = None, name: str = "triggers") -> None:
        """``directory`` keeps the compiled databases under ``name``; without one they are compiled each time."""
        compiled = open_triggers(triggers, directory, name)
        self._local = _PerThread(compiled.databases)
        self._rest = StdlibScanner(triggers, compiled.refused) if compiled.refused else None

    def places(self, text: bytes, most: int) -> Mapping[int, list[int]]:
        """Ends of all matches of each trigger; WorkLimit beyond ``most`` of them."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        if self._rest:
            found.update(self._rest.places(text, most))
            most -= sum(map(len, found.values()))
        fired = itertools.count(1).__next__

        def on_match(number: int, _start: int, end: int, _flags: int, _context: object) -> bool:
            found[number].append(end)
            return fired() > most

        try:
            for scan, scratch in self._local.scans:
                scan(text, match_event_handler=on_match, scratch=scratch)
        except hyperscan.ScanTerminated:
            raise WorkLimit("work") from None
        return found

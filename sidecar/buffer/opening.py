"""Opening and closing the buffer file: the lock, the schema, what an unclean stop left, and damaged files.

Owns every file beside the buffer: ``.lock`` (who holds it), ``.reserve`` (see ``disk.py``), ``.ledger.json`` (the
ledger's checkpoint) and ``.corrupt-<UTC>`` (damaged files, set aside). It never deletes a span, and never touches a
file that is not a buffer of ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from sidecar.buffer.core import LOG_BYTES, PAGE_SIZE, Bounds, BufferCore, CoreState, Draft
from sidecar.buffer.disk import MIB, Disk, FileDisk, NoDisk
from sidecar.buffer.ledger import Ledger, Move, Transition, from_json, to_json
from sidecar.buffer.records import Totals
from sidecar.buffer.statements import AMBIGUOUS, SEALED, SETTLING
from sidecar.config import BufferSettings
from sidecar.errors import BufferBroken, BufferError, BufferFull, BufferLocked, BufferUnwritable  # noqa: A004  (the tree's name is the field's)

MEMORY = ":memory:"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x4C465342
"""Marks our files ("LFSB"), so that another program's database is never taken for a damaged buffer."""
CORRUPT_KEPT = 5
"""Damaged files that are kept; the oldest give way."""
PAGE_CACHE_KIB = 4096
"""SQLite's own cache: the pages of some hundred rows; more would only double the kernel's."""

Connect = Callable[[str], sqlite3.Connection]


@dataclass(frozen=True, slots=True)
class Opened:
    """An open buffer: the core, and what the opening found."""

    core: BufferCore
    path: str
    buffer_id: str
    clean: bool
    """The last stop was a clean one (or there was none)."""
    set_aside: Path | None
    """Where the damaged file lies that was found instead of a buffer."""
    ambiguous_spans: Mapping[str, int]
    """By destination: being sent when the process died, so that they may have arrived; not those known to be ambiguous before."""

    def write_checkpoint(self) -> None:
        """Write the ledger beside the file, atomically. Raises OSError."""
        if self.path != MEMORY:
            write_private(checkpoint_path(self.path), to_json(self.core.ledger, broken=self.core.broken))


def connect(path: str) -> sqlite3.Connection:
    """The one connection. Any one thread at a time may use it; the shell sees to that."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)


@contextmanager
def opened(
    settings: BufferSettings,
    wall_ms: Callable[[], int],
    log: logging.Logger,
    disk: Disk | None = None,
    connector: Connect = connect,
    *,
    verify: bool = False,
) -> Iterator[Opened]:
    """Hold the buffer file open; leaving the block checkpoints it, and marks it clean unless SQLite reported damage.

    ``verify`` checks the file even after a clean stop.

    Raises BufferUnwritable, BufferLocked (with the holder's process id) or BufferError (a newer schema).
    """
    with contextlib.ExitStack() as stack:
        path = settings.path
        if path != MEMORY:
            path = str(Path(path).resolve())
            stack.enter_context(locked(path))
        if disk is None:
            disk = NoDisk() if path == MEMORY else FileDisk(Path(path), reserve_bytes(settings))
        buffer = _open(settings, path, wall_ms, log, disk, connector, verify=verify)
        stack.callback(buffer.core.db.close)
        try:
            yield buffer
        finally:
            _close(buffer)


def reserve_bytes(settings: BufferSettings) -> int:
    """Size of the reserve file; see LOG_BYTES. Without ``reserve_mib`` nothing is reserved: a full disk then drains only once it has other room."""
    return LOG_BYTES + int(settings.reserve_mib * MIB) if settings.reserve_mib else 0


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock of a buffer file. The kernel lets go of it when the process dies, however that happens.

    Raises BufferLocked or BufferUnwritable.
    """
    lock = Path(path + ".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise BufferLocked(
                f"{path} is held by process {pid}: two sidecars can't share a buffer; stop the other one or give this one its own buffer.path"
            ) from error
        except OSError as error:
            raise BufferUnwritable(f"{path} can't be locked ({error.strerror}): use a file system with locks, not a network share") from error
        ours = str(os.getpid()).encode()
        # written over the last one, which needs no room; on a full disk a new file stays without: the lock holds all the same
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, os.pwrite(descriptor, ours, 0))
        yield
    finally:
        os.close(descriptor)


def checkpoint_path(path: str) -> Path:
    return Path(path + ".ledger.json")


def read_checkpoint(path: str, log: logging.Logger) -> tuple[Ledger, bool]:
    """The ledger beside the file and its ``broken`` mark; an empty one if there is none or it can't be read."""
    try:
        return from_json(checkpoint_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Ledger(), False
    except (OSError, ValueError, TypeError, AttributeError):
        log.warning("the ledger's checkpoint can't be read; counts begin at zero if the buffer is damaged too")
        return Ledger(), False


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner may read it. Raises OSError."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def set_aside(path: str, now_ms: int) -> Path:
    """Rename a damaged file with its write-ahead log; returns the new name. Keeps CORRUPT_KEPT of them."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ms / 1000)) + f"{now_ms % 1000:03d}Z"
    target = Path(f"{path}.corrupt-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(path + suffix).rename(f"{target}{suffix}")
    for old in set_aside_files(path)[:-CORRUPT_KEPT]:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{old}{suffix}").unlink(missing_ok=True)
    return target


def set_aside_files(path: str) -> list[Path]:
    """Damaged files that still wait for a repair, oldest first."""
    base = Path(path)
    found = base.parent.glob(f"{base.name}.corrupt-*Z")
    return sorted(found)


def _open(
    settings: BufferSettings, path: str, wall_ms: Callable[[], int], log: logging.Logger, disk: Disk, connector: Connect, *, verify: bool
) -> Opened:
    checkpoint, broken = (Ledger(), False) if path == MEMORY else read_checkpoint(path, log)
    aside: Path | None = None
    db: sqlite3.Connection | None = None
    try:
        db = _connected(path, settings, connector)
        clean = _inspect(db, path, trusted=not broken, verify=verify)
    except BufferBroken:
        if db is not None:
            db.close()
        aside = set_aside(path, wall_ms())
        lost = checkpoint.pending
        checkpoint.apply(checkpoint.after([Move(Transition.QUARANTINE, max(lost, 0))]))
        log.error(  # noqa: TRY400  (a stack says nothing of a damaged file)
            "the buffer file is damaged: it was set aside and an empty one takes its place; `sidecar buffer repair` salvages what is readable",
            extra={"set_aside": str(aside), "quarantined_spans": lost},
        )
        db = _connected(path, settings, connector)
        clean = _inspect(db, path, trusted=True, verify=False)
    except BaseException:
        if db is not None:
            db.close()
        raise
    try:
        return _load(db, settings, path, wall_ms, disk, clean=clean, aside=aside, ledger=checkpoint if aside else None, log=log)
    except BaseException:
        db.close()
        raise


def _connected(path: str, settings: BufferSettings, connector: Connect) -> sqlite3.Connection:
    if path != MEMORY:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise _unwritable(path, error) from error
    try:
        db = connector(path)
    except sqlite3.OperationalError as error:
        raise BufferUnwritable(f"{path} can't be opened: check that it is a file in a directory that this user may write") from error
    try:
        # before the first read, so that there is never a -shm file, which a full disk has no room for
        db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        vacuum = db.execute("PRAGMA auto_vacuum").fetchone()[0]
        for pragma in (
            # Debian builds SQLite with secure_delete on: every DELETE would then write zeros through the log
            "secure_delete = OFF",
            f"page_size = {PAGE_SIZE}",
            # setting it, even to what it is, writes a page, which a full disk has no room for
            *(() if vacuum else ("auto_vacuum = FULL",)),
            "journal_mode = WAL",
            f"synchronous = {'FULL' if settings.durability == 'full' else 'NORMAL'}",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {LOG_BYTES}",
            f"cache_size = -{PAGE_CACHE_KIB}",
            "mmap_size = 0",
            "temp_store = MEMORY",
            "fullfsync = ON",
        ):
            db.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.Error as error:
        db.close()
        raise _opening_error(path, error) from error
    except BaseException:
        db.close()
        raise
    return db


def _inspect(db: sqlite3.Connection, path: str, *, trusted: bool, verify: bool) -> bool:
    """Make the schema in an empty file, or check what is there; returns whether the last stop was clean."""
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        application = db.execute("PRAGMA application_id").fetchone()[0]
        if version == 0 and application == 0 and db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0] == 0:
            _create(db)
            return True
        if application != APPLICATION_ID:
            raise BufferUnwritable(f"{path} is another program's SQLite file: give the buffer a path of its own (buffer.path)")
        if version > SCHEMA_VERSION:
            raise BufferError(
                f"{path} was written by a newer sidecar (schema {version}, this one knows {SCHEMA_VERSION}): run that one, or move the file"
            )
        if not trusted:
            raise BufferBroken(f"{path} was reported damaged by the last run")
        clean = _meta(db, "clean") == "1"
        if (verify or not clean) and db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise BufferBroken(f"{path} is damaged")
        return clean
    except sqlite3.Error as error:
        raise _opening_error(path, error) from error


def _create(db: sqlite3.Connection) -> None:
    schema = resources.files("sidecar.buffer").joinpath("schema.sql").read_text(encoding="utf-8")
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    db.executescript(f"BEGIN IMMEDIATE; {schema} {marks} INSERT INTO meta VALUES ('buffer_id', '{uuid.uuid4()}'); COMMIT;")  # noqa: S608  (constants and a uuid)


def _load(
    db: sqlite3.Connection,
    settings: BufferSettings,
    path: str,
    wall_ms: Callable[[], int],
    disk: Disk,
    *,
    clean: bool,
    aside: Path | None,
    ledger: Ledger | None,
    log: logging.Logger,
) -> Opened:
    try:
        state = CoreState(
            ledger=ledger or Ledger({(name, reason): spans for name, reason, spans in db.execute("SELECT state, reason, spans FROM ledger")}),
            totals=_totals(db, clean=clean),
            next_id=1 + int(db.execute("SELECT MAX(COALESCE((SELECT MAX(id) FROM rows), 0), ?)", (int(_meta(db, "last_id") or 0),)).fetchone()[0]),
            dead_bytes=int(db.execute("SELECT COALESCE(SUM(body_bytes), 0) FROM dead").fetchone()[0]),
            dead_rows=int(db.execute("SELECT COUNT(*) FROM dead").fetchone()[0]),
            kept_spans=dict(db.execute("SELECT destination, SUM(spans) FROM delivered GROUP BY destination")),
        )
        buffer_id = _meta(db, "buffer_id") or ""
        bounds = Bounds(int(settings.max_mib * MIB), int(settings.min_free_mib * MIB), int(settings.dead_letter_mib * MIB))
        core = BufferCore(db, wall_ms=wall_ms, disk=disk, bounds=bounds, state=state)
        core.look_at_disk()
        ambiguous = _take_in(core, log)
    except sqlite3.Error as error:
        raise _opening_error(path, error) from error
    buffer = Opened(core, path, buffer_id, clean, aside, ambiguous)
    if aside is not None:
        with contextlib.suppress(OSError):
            buffer.write_checkpoint()
    return buffer


def _take_in(core: BufferCore, log: logging.Logger) -> dict[str, int]:
    """What was being sent when the process died may have arrived: its spans, by destination. From here on the file counts as unclean."""
    difference = core.pending_spans - core.ledger.pending
    if difference:
        log.error("the ledger and the rows disagree; the difference is counted", extra={"rows_minus_ledger": difference})

    ranges = "SELECT r.id FROM in_flight AS f JOIN rows AS r ON r.id BETWEEN f.first_row AND f.last_row AND r.destination = f.destination"
    sent = f"state = {SEALED} AND id IN ({ranges})"
    ambiguous = dict(core.db.execute(f"SELECT destination, SUM(spans) FROM rows WHERE {sent} GROUP BY destination").fetchall())  # noqa: S608  (constants only)

    def work(draft: Draft) -> None:
        core.db.execute(f"UPDATE rows SET state = {AMBIGUOUS} WHERE {sent}")  # noqa: S608  (constants only)
        core.db.execute("DELETE FROM in_flight")
        core.db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '0')")
        core.db.executemany("INSERT OR REPLACE INTO ledger VALUES (?, ?, ?)", [(*key, spans) for key, spans in core.ledger.totals.items()])
        if difference:
            draft.moves.append(Move(Transition.REPLAY if difference > 0 else Transition.QUARANTINE, abs(difference)))

    core.owe(work)
    return ambiguous


def _totals(db: sqlite3.Connection, *, clean: bool) -> dict[str, Totals]:
    """By destination: as the last clean stop wrote them, else counted by a scan of the whole table."""
    known = _meta(db, "totals") if clean else None
    if known is not None:
        return {destination: Totals(*values) for destination, values in json.loads(known).items()}
    query = f"SELECT destination, COUNT(*), SUM(spans), SUM(body_bytes), SUM(state = {SETTLING}) FROM rows GROUP BY destination"  # noqa: S608  (a constant)
    return {destination: Totals(*values) for destination, *values in db.execute(query)}


def _meta(db: sqlite3.Connection, key: str) -> str | None:
    found = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if found is None else str(found[0])


def _close(buffer: Opened) -> None:
    core = buffer.core
    with contextlib.suppress(OSError):
        buffer.write_checkpoint()
    if core.broken:
        return
    try:
        core.pay()
    except (BufferFull, BufferError):
        # what the opening owed was never written: the next one finds the file as this one did
        return
    totals = {name: [t.rows, t.spans, t.body_bytes, t.settling] for name, t in core.totals.items() if t.rows}
    try:
        core.db.execute("BEGIN IMMEDIATE")
        core.db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("totals", json.dumps(totals)), ("last_id", str(core.next_id - 1)), ("clean", "1")]
        )
        core.db.execute("COMMIT")
        core.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:
        # a disk without room: the file stays marked unclean and the next start checks it
        if core.db.in_transaction:
            core.db.execute("ROLLBACK")


def _unwritable(path: str, error: OSError) -> BufferUnwritable:
    return BufferUnwritable(
        f"{path} can't be written ({error.strerror}): make its directory writable for user {os.getuid()}, mount a volume there,"
        " or set buffer.path (or SIDECAR_DATA_DIR) to another place; ':memory:' works without a disk but keeps nothing"
    )


def _opening_error(path: str, error: sqlite3.Error) -> BufferError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return BufferBroken(f"{path} is damaged or is no SQLite file")
    if code == sqlite3.SQLITE_BUSY:
        return BufferLocked(f"{path} is open in another program (a SQLite shell?): close it")
    return BufferUnwritable(f"{path} can't be used ({getattr(error, 'sqlite_errorname', 'SQLite error')}): check the file's permissions and the disk")

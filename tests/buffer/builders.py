"""Rows, appends and open buffers for the buffer's tests."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry

from sidecar.buffer.buffer import Buffer, open_buffer
from sidecar.buffer.core import BufferCore
from sidecar.buffer.disk import Disk
from sidecar.buffer.leases import Append, Lane, Lease, LeaseLimit
from sidecar.buffer.opening import Connect, Opened, connect, opened
from sidecar.buffer.reading import choose, fetch
from sidecar.buffer.records import Backlog
from sidecar.buffer.runner import RunnerFactory
from sidecar.buffer.tending import Seal
from sidecar.clock import Clock, SystemClock
from sidecar.config import BufferSettings
from sidecar.observe.metrics import Metrics
from sidecar.wire.rows import NewRow

LOG = logging.getLogger("tests.buffer")
NOW_MS = 1_700_000_000_000
ANY = LeaseLimit(max_bytes=1 << 40, max_raw_bytes=1 << 40, max_spans=1 << 40)
T = TypeVar("T")


def run(coroutine: Coroutine[object, object, T], timeout_s: float = 20.0) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(timeout_s):
            return await coroutine

    return asyncio.run(bounded())


def row(
    body: bytes = b"body",
    *,
    destination: str = "default",
    trace: int = 1,
    spans: int = 1,
    raw_bytes: int | None = None,
    received_ms: int = NOW_MS,
    seal_at_ms: int | None = None,
    randomness: int = 7,
    priority: int = 0,
    threshold: int = 0,
) -> NewRow:
    return NewRow(
        destination,
        trace.to_bytes(16, "big"),
        randomness,
        priority,
        threshold,
        spans,
        5 * len(body) if raw_bytes is None else raw_bytes,
        body,
        received_ms,
        seal_at_ms,
    )


def append(
    *rows: NewRow, rejected: dict[str, int] | None = None, filtered: int = 0, sampled: dict[str, int] | None = None, rescued: int = 0
) -> Append:
    rejected, sampled = rejected or {}, sampled or {}
    received = sum(row.spans for row in rows) - rescued + sum(rejected.values()) + filtered + sum(sampled.values())
    return Append(rows, received, rejected, filtered, sampled, rescued)


def settings(path: Path | str, **values: object) -> BufferSettings:
    return BufferSettings(**{"path": str(path), "reserve_mib": 0, "min_free_mib": 0, **values})  # type: ignore[arg-type]  # (values of many types)


@contextmanager
def file(
    path: Path | str,
    *,
    now: Callable[[], int] = lambda: NOW_MS,
    disk: Disk | None = None,
    connector: Connect = connect,
    **values: object,
) -> Iterator[Opened]:
    with opened(settings(path, **values), now, LOG, disk, connector) as found:
        yield found


@contextmanager
def crashing(path: Path, **values: object) -> Iterator[BufferCore]:
    """A core whose file is left as a SIGKILL leaves it: nothing is closed in order, the lock is gone."""
    with ExitStack() as stack:
        core = stack.enter_context(opened(settings(path, **values), lambda: NOW_MS, LOG)).core
        yield core
        crash(path, core, stack)


def crash(path: Path, core: BufferCore, stack: ExitStack) -> None:
    """Close an open file and put back what was on disk before that."""
    keep = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    core.broken = True  # so that closing neither checkpoints nor marks the file clean
    stack.close()
    for suffix, content in keep.items():
        Path(f"{path}{suffix}").write_bytes(content)
    Path(f"{path}.ledger.json").unlink(missing_ok=True)


@asynccontextmanager
async def buffer(
    path: Path | str,
    *,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
    runner: RunnerFactory | None = None,
    seal: Seal | None = None,
    disk: Disk | None = None,
    connector: Connect = connect,
    **values: object,
) -> AsyncIterator[Buffer]:
    async with open_buffer(
        settings(path, **values),
        clock or SystemClock(),
        metrics or Metrics(CollectorRegistry()),
        LOG,
        runner=runner,
        seal=seal,
        disk=disk,
        connector=connector,
    ) as found:
        yield found


async def lease_all(found: Buffer, destination: str = "default") -> list[Lease]:
    """Everything that waits, both lanes."""
    leases = []
    for lane in Lane:
        while lease := await found.lease(destination, lane, ANY):
            leases.append(lease)
    return leases


def assert_balanced(core: BufferCore) -> None:
    """The ledger's identities, and the totals in memory against the rows on disk."""
    spans = core.db.execute("SELECT COALESCE(SUM(spans), 0) FROM rows").fetchone()[0]
    assert core.ledger.imbalances(spans) == []
    on_disk = {
        name: list(values)
        for name, *values in core.db.execute(
            "SELECT destination, COUNT(*), SUM(spans), SUM(body_bytes), SUM(state = 0) FROM rows GROUP BY destination"
        )
    }
    assert {name: [t.rows, t.spans, t.body_bytes, t.settling] for name, t in core.totals.items() if t.rows} == on_disk
    assert dict(ledger_on_disk(core.db)) == core.ledger.totals


def ledger_on_disk(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    return {(state, reason): spans for state, reason, spans in db.execute("SELECT state, reason, spans FROM ledger")}


def read_backlog(core: BufferCore, destination: str, after_id: int, skip: Collection[int], limit: LeaseLimit, max_rows: int) -> Backlog:
    """Choosing and fetching in one, as a lease of the backlog does them in two."""
    return fetch(core, choose(core, destination, after_id, skip, limit, max_rows))

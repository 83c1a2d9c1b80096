"""The buffer's background tasks: sealing, expiry and the ledger's checkpoint.

Everything goes through the worker; when nothing happens these tasks wake every ten seconds and do nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

from sidecar.buffer import upkeep
from sidecar.buffer.core import DiskRefused
from sidecar.buffer.opening import Opened
from sidecar.buffer.raises import Raises
from sidecar.buffer.records import Omit, SettlingRow
from sidecar.buffer.worker import Worker
from sidecar.clock import Clock
from sidecar.errors import BufferBroken, BufferError, BufferFull  # noqa: A004  (the tree's name is the field's)
from sidecar.wire.rows import NewRow, Row

Seal = Callable[[NewRow], NewRow | Omit | None]
"""What a settling row becomes when it is sealed; None: it stays as it is.

The row's threshold may be higher than when it was stored, since ``Buffer.raise_thresholds``: then its spans have yet to say so."""

CHECKPOINT_S = 10.0
"""The ledger's checkpoint is at most this old when the file gets damaged."""
EXPIRY_S = 30.0
"""Rows are given up at most this late; the disk is looked at as often."""
DISK_S = 1.0
"""Between looks at a full disk, which tells nobody that it has room again."""
SEAL_PAUSE_S = 0.25
"""Between rounds of sealing: rows that are due one after the other share a transaction, and are sealed at most this late."""
SEAL_LOOK_S = 2.0
"""While rows settle the time is looked at this often at least: the wall clock may have been set, or the machine have slept."""
SEAL_ROWS = 32
"""Rows of one step: 32 rewrites of 60 us keep the loop busy for about 2 ms."""


class Tending:
    """Background work on one open buffer."""

    def __init__(self, file: Opened, worker: Worker, clock: Clock, log: logging.Logger, seal: Seal | None, *, max_age_ms: int) -> None:
        self._file = file
        self._core = file.core
        self._worker = worker
        self._clock = clock
        self._log = log
        self._seal = seal
        self.max_age_ms = max_age_ms
        self._written: dict[tuple[str, str], int] = {}
        self.raises = Raises()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sealing(), name="buffer sealing")
            tasks.create_task(self._every(CHECKPOINT_S, self.save_ledger), name="buffer ledger checkpoint")
            tasks.create_task(self._every(EXPIRY_S, self.tidy), name="buffer expiry")
            tasks.create_task(self._watching(), name="buffer disk watch")

    async def save_ledger(self) -> None:
        """Write the ledger's checkpoint if it changed."""
        if self._core.ledger.totals == self._written:
            return
        totals = dict(self._core.ledger.totals)
        await self._worker.submit(lambda: self._worker.run_waiting(self._file.write_checkpoint))
        self._written = totals

    async def tidy(self) -> None:
        """Give up rows that are too old, and look at the disk."""
        await self.look_at_disk()
        expired = 0
        while gone := await self._worker.submit(self._expire):
            expired += gone
        if expired:
            self._log.warning("spans older than buffer.max_age_h were given up", extra={"spans": expired})

    async def look_at_disk(self) -> None:
        """Spans are taken again as soon as there is room."""
        await self._worker.submit(lambda: self._worker.run_waiting(self._core.look_at_disk))
        self._worker.watch()

    async def _expire(self) -> int:
        before_ms = self._clock.wall_ms() - self.max_age_ms
        gone = await self._worker.run_waiting(upkeep.expire, self._core, before_ms, self._worker.lanes.leased_ids())
        self._worker.lanes.gone(gone)
        return sum(row.spans for row in gone)

    async def seal_due(self, until_ms: int | None = None, seal: Seal | None = None) -> int:
        """Seal every row that is due by now, or by ``until_ms``; returns how many. ``seal`` takes the place of the usual one."""
        count = 0
        while rows := await self._worker.submit(partial(self._due, until_ms)):
            count += len(rows)
            decided = [(row, self._sealed(row, seal or self._seal)) for row in rows]
            omitted = [row for row, verdict in decided if verdict is Omit.OMIT]
            if omitted:
                await self._worker.submit(partial(self._omit, omitted))
            await self._worker.submit(partial(self._seal_rows, [(row, new) for row, new in decided if not isinstance(new, Omit)]))
        return count

    async def _omit(self, rows: list[SettlingRow]) -> None:
        self._worker.lanes.gone(await self._worker.run(upkeep.omit, self._core, rows))

    async def _due(self, until_ms: int | None) -> list[SettlingRow]:
        now_ms = self._clock.wall_ms() if until_ms is None else until_ms
        rows = await self._worker.run(upkeep.due_to_seal, self._core, now_ms, SEAL_ROWS)
        if not rows:
            await self._note_next_seal()
        return rows

    async def _note_next_seal(self) -> None:
        """A job of the worker, so that no row arrives between the look at the file and the note."""
        self._worker.next_seal_ms = await self._worker.run(upkeep.next_seal_ms, self._core)

    def _sealed(self, due: SettlingRow, seal: Seal | None) -> NewRow | Omit | None:
        if seal is None:
            return None
        try:
            row = seal(self.raises.applied(due.id, due.row))
        except Exception:  # noqa: BLE001  (a row is never lost or held back because it could not be improved)
            self._log.exception("a row could not be completed with its trace's context; it is sent as it is")
            return None
        if isinstance(row, NewRow) and (row.spans, row.destination) != (due.row.spans, due.row.destination):
            self._log.error("a sealed row would have lost spans or its destination; it is sent as it is")
            return None
        return row

    async def _seal_rows(self, rows: list[tuple[SettlingRow, NewRow | None]]) -> list[Row]:
        try:
            sealed = await self._worker.run(upkeep.seal, self._core, rows)
        except DiskRefused:
            # rewritten rows are larger; as they are they need a few pages, and only sealed ones are sent and make room
            sealed = await self._worker.run(upkeep.seal, self._core, [(row, None) for row, _ in rows])
            self._log.warning("rows were sealed without their trace's context: the disk is full", extra={"rows": len(sealed)})
        self._worker.lanes.sealed(sealed)
        return sealed

    async def _sealing(self) -> None:
        self._worker.next_seal_ms = 0  # due at once, should the first look fail
        await self._guarded(lambda: self._worker.submit(self._note_next_seal))
        while True:
            while (left_s := self._seal_in_s()) > 0:
                await self._worker.sooner.rest(left_s)
            await self._guarded(self.seal_due)
            await self._clock.sleep(SEAL_PAUSE_S)

    def _seal_in_s(self) -> float:
        """How long sealing has nothing to do unless a row comes that is due sooner."""
        due_ms = self._worker.next_seal_ms
        return inf if due_ms is None else min((due_ms - self._clock.wall_ms()) / 1000, SEAL_LOOK_S)

    async def _watching(self) -> None:
        while True:
            await self._worker.disk_filled.wait()
            await self._clock.sleep(DISK_S)
            await self._guarded(self.look_at_disk)

    async def _every(self, seconds: float, task: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            await self._guarded(task)

    async def _guarded(self, task: Callable[[], Awaitable[object]]) -> None:
        """A full disk or a refused statement ends this round, not the task; damage ends the buffer."""
        try:
            await task()
        except BufferBroken:
            raise
        except (BufferFull, BufferError, OSError) as error:
            self._log.warning("the buffer's upkeep was put off", extra={"reason": str(error)})

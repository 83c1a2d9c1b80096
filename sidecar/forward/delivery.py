"""What becomes of one lease: send it, and do what each verdict asks for, until every row has its outcome.

    Delivered   done
    Retry       wait and send the same rows again while the breaker is closed; else give them back.
                Rows that fail while others pass are halved, and the last one waits on its own
    Ambiguous   give them back, marked
    Pause       give them back
    Split       halves, down to a row, then to its spans
    Refused     the same, down to the span that is to blame: that one is buried

Halves are sent depth first: whether one span is bad or hundreds are, the first good one is sent after few
requests, and it is what tells bad spans from a server that refuses everything. Nothing is buried without
that witness: a span is buried if it is refused in a request that began after a 2xx that came after its
first refusal. Until then it is suspect: left for later, alone. A server that only refuses is paused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sidecar.buffer.leases import Buried, Lease, Outcome, Settled
from sidecar.clock import Clock
from sidecar.config import Forward
from sidecar.errors import BufferFull, SidecarError
from sidecar.forward.batch import Ceiling, halves, size_of
from sidecar.forward.breaker import Breaker, Permit
from sidecar.forward.client import Body
from sidecar.forward.journal import Journal
from sidecar.forward.retry import Chance, delay
from sidecar.forward.source import Source
from sidecar.forward.verdict import Ambiguous, Answer, Delivered, Failure, Pause, PauseReason, Refused, Retry, Split, Verdict, classify
from sidecar.waiting import Changes, to_the_end
from sidecar.wire.batch import decode_protobuf
from sidecar.wire.rows import NewRow, Row
from sidecar.wire.split import decompress, row_of, slices, split_row

REFUSALS_TO_PAUSE = 64
"""In a row, without a 2xx. Halving a full batch takes 13 refusals to reach a row of 8192 and as many again to reach a span; twice that and some."""
ASIDE_MAX = 64
"""Leases of one row that wait without a slot."""
REMEMBERED_MAX = 4096
"""Row ids in each of the two memories, at some 100 bytes; what is forgotten is found again by halving."""


class Poster(Protocol):
    """What sends; client.py's ``Client`` is one."""

    async def post(self, body: Body) -> Answer | Failure:
        """One exchange. Never raises but when it is cancelled."""


@dataclass
class Line:
    """The line to one destination: what all its deliveries share. Owned by its sender."""

    name: str
    settings: Forward
    source: Source
    client: Poster
    breaker: Breaker
    ceiling: Ceiling
    journal: Journal
    clock: Clock
    rng: Chance
    slots: asyncio.Semaphore
    changes: Changes
    busy: int = 0
    """Slots in use, from asking for a lease to the end of its delivery; deliveries that wait without a slot don't count."""
    successes: int = 0
    aside: int = 0
    """Rows that failed alone and wait without a slot."""
    refusals: int = 0
    """Since the last 2xx."""
    suspects: dict[int, int] = field(default_factory=dict)
    """Row id -> ``successes`` at its first refusal."""
    failing: dict[int, int] = field(default_factory=dict)
    """First row id of a batch that failed -> ``successes`` then."""

    def changed(self) -> None:
        """Say what the breaker did, and wake whoever waits for it."""
        self.journal.follow(self.breaker, self.clock.monotonic())
        self.changes.notify()

    def suspect(self, row: Row, mark: int) -> None:
        """Remember that ``row`` was refused when ``mark`` requests had been taken."""
        self.suspects.setdefault(row.id, mark)
        _bound(self.suspects)

    def put_off(self, row: Row) -> None:
        """``row`` was refused and can't be divided while the disk is full: leave it until another request was taken."""
        self.suspects[row.id] = self.successes
        _bound(self.suspects)

    def blames(self, rows: tuple[Row, ...], reply: Answer | Failure) -> bool:
        """Whether it is these rows that upset the server: they failed before, and others passed in between."""
        if isinstance(reply, Failure) or reply.status < 500 or reply.retry_after is not None:
            return False
        mark = self.failing.pop(rows[0].id, None)
        self.failing[rows[0].id] = self.successes
        _bound(self.failing)
        return mark is not None and mark < self.successes

    def forget(self, row: Row) -> None:
        """``row`` is done with."""
        self.suspects.pop(row.id, None)
        self.failing.pop(row.id, None)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are sent in one request. ``mark``: ``successes`` when they were first refused, as part of more; None: never."""

    rows: tuple[Row, ...]
    mark: int | None = None
    attempts: int = 0
    """Failed ones."""
    blamed: bool = False
    """The last one failed because of these rows."""


class Delivery:
    """One lease on its way. ``run`` returns when it is settled, whatever happened."""

    def __init__(self, line: Line, lease: Lease, permit: Permit) -> None:
        self._line, self._lease = line, lease
        self._permit: Permit | None = permit
        self._outcomes: dict[int, Outcome] = {}
        self._began = 0
        """``successes`` when the last request began."""
        self._blamed = False
        """The last request failed because of its rows."""
        self._holds_slot = True

    async def run(self) -> None:
        """Send all rows, then give back the slot of the line that came with the lease."""
        try:
            await self._send_all()
        finally:
            if self._permit is not None:
                self._line.breaker.withdraw(self._permit)
            await to_the_end(self._settle_all())
            if self._holds_slot:
                self._give_slot()
            self._line.changed()

    async def _send_all(self) -> None:
        line = self._line
        rows = tuple(row for row in self._lease.rows if row.id not in line.suspects)
        if rows and not await self._send_parts(Part(rows)):
            return
        while suspects := [row for row in self._lease.rows if row.id not in self._outcomes]:
            ripe = next((row for row in suspects if line.suspects.get(row.id, -1) < line.successes), None)
            if ripe is not None:
                if not await self._send_parts(Part((ripe,), line.suspects.get(ripe.id))):
                    return
            elif self._outcomes:
                return
            else:
                await self._await_witness(line.successes)

    async def _send_parts(self, whole: Part) -> bool:
        """Send ``whole``, in parts where it must be. False: the destination takes nothing for now.

        A part that failed waits its time below those that were not tried yet: if they pass, it is to blame.
        """
        line, retry = self._line, self._line.settings.retry
        stack = [whole]
        while stack:
            part = stack.pop()
            if part.attempts:
                await self._rest(delay(part.attempts - 1, None, line.rng, retry.initial_s, retry.max_s), alone=part.blamed)
            match await self._exchange(part.rows):
                case Delivered():
                    pass
                case Split() | Refused() as verdict:
                    stack.extend(await self._divide(part, verdict))
                case Retry() if line.breaker.is_closed():
                    if len(part.rows) > 1 and (self._blamed or size_of(part.rows) > line.ceiling.limit_bytes):
                        stack.extend(Part(half, part.mark) for half in reversed(halves(part.rows)))
                    else:
                        stack.insert(0, replace(part, attempts=part.attempts + 1, blamed=self._blamed))
                case _:
                    return False
        return True

    async def _exchange(self, rows: tuple[Row, ...]) -> Verdict | None:
        """One request and what it says of the destination."""
        line = self._line
        started_s = line.clock.monotonic()
        if self._permit is None or not line.breaker.honours(self._permit):  # the lease took its time, and the breaker opened meanwhile
            self._permit = line.breaker.admit(started_s)
        if self._permit is None:
            return None
        body, self._began = Body(rows), line.successes
        line.journal.in_flight(1)
        try:
            reply = await line.client.post(body)
        except asyncio.CancelledError:
            if body.out:
                self._decide(rows, Settled.AMBIGUOUS)
                line.journal.abandoned(rows)
            raise
        finally:
            line.journal.in_flight(-1)
        verdict, now_s = classify(reply, line.clock.wall_ms() / 1000), line.clock.monotonic()
        line.journal.exchange(verdict, now_s - started_s, now_s)
        self._apply(verdict, reply, rows, self._permit, now_s)
        self._permit = None
        line.changed()
        return verdict

    def _apply(self, verdict: Verdict, reply: Answer | Failure, rows: tuple[Row, ...], permit: Permit, now_s: float) -> None:
        line = self._line
        match verdict:
            case Delivered():
                line.successes, line.refusals = line.successes + 1, 0
                line.ceiling.passed(now_s)
                line.breaker.answered(permit)
                line.journal.delivered(rows, line.clock.wall_ms())
                self._decide(rows, Settled.DELIVERED)
            case Retry():
                self._blamed = line.blames(rows, reply)
                if not (self._blamed and line.breaker.is_closed()):
                    line.breaker.failed(permit, now_s, verdict.after_s)
                line.journal.retry(verdict, reply, now_s)
                if isinstance(reply, Failure) and reply.mid_body and len(rows) > 1 and line.ceiling.stalled(size_of(rows), now_s):
                    line.journal.shrunk(line.ceiling.limit_bytes, now_s)
            case Ambiguous():
                line.breaker.failed(permit, now_s, None)
                line.journal.ambiguous(rows, verdict, reply, now_s)
                self._decide(rows, Settled.AMBIGUOUS)
            case Pause():
                line.journal.not_taken(reply)
                line.breaker.pause(permit, now_s, verdict.reason)
            case Split() | Refused():
                if isinstance(verdict, Split):
                    line.ceiling.refused(size_of(rows), now_s)
                    line.journal.shrunk(line.ceiling.limit_bytes, now_s)
                line.refusals += 1
                if line.refusals < REFUSALS_TO_PAUSE:
                    line.breaker.answered(permit)
                else:
                    line.refusals = 0
                    line.journal.not_taken(reply)
                    line.breaker.pause(permit, now_s, PauseReason.REFUSED)

    async def _divide(self, part: Part, verdict: Split | Refused) -> list[Part]:
        """What to send instead of a part that was refused, first half last; a span that can't be divided is buried or suspect."""
        line = self._line
        mark = line.successes if part.mark is None else part.mark
        try:
            rows = part.rows if len(part.rows) > 1 else await self._open_row(part.rows[0])
        except BufferFull:
            line.put_off(part.rows[0])
            return []
        if len(rows) > 1:
            return [Part(half, mark) for half in reversed(halves(rows))]
        row = part.rows[0]
        if part.mark is not None and self._began > part.mark:
            reason, answer = ("refused", verdict.answer) if isinstance(verdict, Refused) else ("too_large", "status 413")
            self._decide((row,), Buried(reason, answer))
            line.journal.buried(row, reason, line.clock.monotonic())
        else:
            line.suspect(row, mark)
        return []

    async def _open_row(self, row: Row) -> tuple[Row, ...]:
        """A row becomes one for each of its spans, in the buffer too; nothing if it has but one. Raises BufferFull when the disk is."""
        parts = await asyncio.to_thread(_span_rows, row) if row.spans > 1 else []
        if len(parts) < 2:
            return ()
        before = {each.id for each in self._lease.rows}

        async def replace_row() -> None:
            self._lease = await self._line.source.replace(self._lease, row.id, parts)

        await to_the_end(replace_row())
        return tuple(each for each in self._lease.rows if each.id not in before)

    async def _rest(self, seconds: float, *, alone: bool) -> None:
        """Wait while the breaker stays closed. A row that fails alone waits without a slot: others pass."""
        line = self._line
        await to_the_end(self._settle_decided())
        until_s = line.clock.monotonic() + seconds
        gives_way = alone and line.aside < ASIDE_MAX
        if gives_way:
            self._give_slot()
            line.aside += 1
        try:
            while line.breaker.is_closed() and (left_s := until_s - line.clock.monotonic()) > 0:
                await line.changes.rest(left_s)
        finally:
            line.aside -= gives_way
        if gives_way:
            await self._take_slot()

    async def _await_witness(self, mark: int) -> None:
        """Nothing but suspects is left: wait, without a slot, until another request was taken."""
        line = self._line
        await to_the_end(self._settle_decided())
        if self._permit is not None:
            line.breaker.withdraw(self._permit)
            self._permit = None
        self._give_slot()
        while line.successes <= mark:
            await line.changes.next.wait()
        await self._take_slot()

    def _give_slot(self) -> None:
        self._holds_slot = False
        self._line.busy -= 1
        self._line.slots.release()
        self._line.changes.notify()

    async def _take_slot(self) -> None:
        await self._line.slots.acquire()
        self._holds_slot = True
        self._line.busy += 1

    def _decide(self, rows: Sequence[Row], outcome: Outcome) -> None:
        for row in rows:
            self._outcomes[row.id] = outcome
            if outcome is not Settled.AMBIGUOUS:
                self._line.forget(row)

    async def _settle_decided(self) -> None:
        """Settle what has its outcome, before a wait: those rows are neither kept in memory nor sent again after a crash."""
        decided = {row.id: self._outcomes[row.id] for row in self._lease.rows if row.id in self._outcomes}
        if decided:
            await self._line.source.settle(self._lease, decided)
            self._lease = replace(self._lease, rows=tuple(row for row in self._lease.rows if row.id not in decided))

    async def _settle_all(self) -> None:
        """Settle what is left. Rows without an outcome were not taken."""
        lease, source = self._lease, self._line.source
        outcomes = {row.id: self._outcomes.get(row.id, Settled.RELEASED) for row in lease.rows}
        every = set(outcomes.values())
        if every == {Settled.DELIVERED}:
            await source.delivered(lease)
        elif every in ({Settled.RELEASED}, {Settled.AMBIGUOUS}):
            await source.release(lease, ambiguous=Settled.AMBIGUOUS in every)
        elif every:
            await source.settle(lease, outcomes)


def _bound(memory: dict[int, int]) -> None:
    while len(memory) > REMEMBERED_MAX:
        del memory[next(iter(memory))]


def _span_rows(row: Row) -> list[NewRow]:
    """A row for each span; nothing if the row can't be opened: then it is the smallest part itself."""
    try:
        payloads = split_row(decompress(row.body))
        return [row_of(each, row.received_ms) for payload in payloads for each in slices(decode_protobuf(payload), row.destination)]
    except (ValueError, SidecarError):
        return []

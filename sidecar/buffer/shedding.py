"""Giving up a part of the backlog, whole traces of the lowest randomness first. Synchronous, on the core.

A ``Sweep`` looks at every row once, in the order of ids, and keeps in memory those with the lowest randomness that together
reach the target. Then ``step`` deletes them, some whole traces a call, in the order of ids. There is no index on (priority, randomness): random
numbers spread over it, so that each append, delivery and deletion would write a page more for each row, which costs more in
every hour without shedding, and even while shedding, than reading the table does.
Rows of one trace are taken to have one randomness, as OpenTelemetry's probability sampling asks; others are judged by their own.
It must not know leases, nor the ways to a probability: which traces are spared beside those on disk it is told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import msgspec

from sidecar.buffer.core import DRAIN_BYTES, DRAIN_ROWS, BufferCore
from sidecar.buffer.ledger import Transition
from sidecar.buffer.reading import remove
from sidecar.buffer.records import Gone, ShedTrace
from sidecar.buffer.statements import AMBIGUOUS, IDS, SETTLING, id_list
from sidecar.buffer.traces import TraceFilter

SCAN_ROWS = 2048
"""Rows that one call looks at: about 1 ms when they lie in the kernel's cache."""
ROUND_ROWS = 8192
"""Rows that a sweep chooses; for more one sweeps again. It holds up to twice as many for a moment, 4 MiB."""
TRACE_ROWS = 1024
"""Of one trace, deleted without anything in between. A trace of more rows may be leased, and so spared, half way."""

Spare = Callable[[bytes], bool]
"""Whether a trace is spared for what memory knows of it: leased, or delivered in part."""

_STRETCH = (
    "SELECT COUNT(*), MAX(id), json_group_array(json_array(randomness, lower(hex(trace_id)), id, body_bytes, spares)) FILTER (WHERE randomness < ?)"  # noqa: S608  (constants only)
    f" FROM (SELECT id, randomness, trace_id, body_bytes, priority > ? OR state = {AMBIGUOUS} AS spares FROM rows WHERE id > ? ORDER BY id LIMIT ?)"
)
_HEADS = f"SELECT trace_id, id, destination, spans, body_bytes, state, threshold, randomness FROM rows WHERE id IN {IDS} ORDER BY id"  # noqa: S608  (constants only)


class Candidate(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """A row that a sweep looks at; sorts by what is shed first.

    Not for the garbage collector: thousands of tracked objects a second make it look at all objects of the process again and again, and
    each look stops the loop for 40 to 250 ms.
    """

    randomness: int
    trace: str
    """Hex."""
    id: int
    body_bytes: int
    spares: int
    """1: it spares its trace."""

    @property
    def trace_id(self) -> bytes:
        return bytes.fromhex(self.trace)


_DECODER = msgspec.json.Decoder(list[Candidate])


class _Head(NamedTuple):
    """A row that is about to be deleted."""

    trace_id: bytes
    id: int
    destination: str
    spans: int
    body_bytes: int
    state: int
    threshold: int
    randomness: int


class Sweep:
    """One look at the whole backlog for rows of up to one priority, and the rows chosen."""

    def __init__(self, priority: int, threshold: int, target_bytes: int, spared: TraceFilter) -> None:
        """``spared`` collects traces with a row that spares them; it may be the last sweep's of the same priority."""
        self.bound = threshold
        """All that may be shed below this randomness is chosen; it falls as rows of lower randomness turn up."""
        self.cut = False
        """More was found than was chosen: it takes another sweep to go on."""
        self.traces: OrderedDict[bytes, list[Candidate]] = OrderedDict()
        """The chosen rows that are still to be shed, once the sweep is over: by trace, the oldest first, because what lies together is deleted cheaper."""
        self._priority = priority
        self._target_bytes = target_bytes
        self._spared = spared
        self._cursor = 0
        self._chosen: list[Candidate] = []
        self._bytes = 0

    def scan(self, core: BufferCore, spare: Spare) -> bool:
        """Look at the next stretch; False: that was the last one, and ``traces`` is complete."""
        seen, rows = self._stretch(core)
        kept = [row for row in rows if not spare(row.trace_id)]
        # A sort holds the interpreter, and the loop with it, to its end. Sorted stretch by stretch, what is left to do for ``_trim`` is a merge.
        kept.sort()
        self._chosen += kept
        self._bytes += sum(row.body_bytes for row in kept)
        over = seen < SCAN_ROWS
        if over or self._bytes > 2 * self._target_bytes or len(self._chosen) > 2 * ROUND_ROWS:
            self._trim()
        if over:
            for row in sorted(self._chosen, key=attrgetter("id")):
                self.traces.setdefault(row.trace_id, []).append(row)
            self._chosen = []
        return not over

    def catch_up(self, core: BufferCore) -> None:
        """Add to the chosen traces what came in since."""
        seen = SCAN_ROWS
        while seen == SCAN_ROWS:
            seen, rows = self._stretch(core)
            for row in rows:
                if row.trace_id in self.traces:
                    self.traces[row.trace_id].append(row)

    def next_ids(self, spare: Spare) -> list[int]:
        """Take the rows of the next traces, DRAIN_ROWS and DRAIN_BYTES; a larger trace is taken alone, up to TRACE_ROWS. Empty: none is left."""
        ids: list[int] = []
        size = 0
        while self.traces:
            trace_id, rows = next(iter(self.traces.items()))
            taken = rows[:TRACE_ROWS]
            size += sum(row.body_bytes for row in taken)
            if ids and (len(ids) + len(taken) > DRAIN_ROWS or size > DRAIN_BYTES):
                break
            if len(rows) > TRACE_ROWS:
                self.traces[trace_id] = rows[TRACE_ROWS:]
            else:
                del self.traces[trace_id]
            if not (spare(trace_id) or self.spares(trace_id)):
                ids += [row.id for row in taken]
        return ids

    def spares(self, trace_id: bytes) -> bool:
        """A row on disk spares this trace: it is ambiguous or of a higher priority."""
        return trace_id in self._spared

    def _stretch(self, core: BufferCore) -> tuple[int, list[Candidate]]:
        values = (self.bound, self._priority, self._cursor, SCAN_ROWS)
        seen, last_id, found = core.read(lambda db: db.execute(_STRETCH, values).fetchone())
        rows: list[Candidate] = []
        for row in _DECODER.decode(found):
            if row.spares:
                self._spared.add(row.trace_id)
            else:
                rows.append(row)
        self._cursor = last_id or self._cursor
        return seen, rows

    def _trim(self) -> None:
        """Keep the lowest randomness that reaches the target, within ROUND_ROWS; rows of equal randomness stay together as far as memory allows."""
        chosen = sorted(row for row in self._chosen if not self.spares(row.trace_id))
        end = size = 0
        while end < min(len(chosen), 2 * ROUND_ROWS):
            row = chosen[end]
            if (size >= self._target_bytes or end >= ROUND_ROWS) and row.randomness != chosen[end - 1].randomness:
                break
            size += row.body_bytes
            end += 1
        if end < len(chosen):
            self.bound, self.cut = chosen[end - 1].randomness + 1, True
        self._chosen, self._bytes = chosen[:end], size


@dataclass(slots=True)
class Step:
    """What one call of ``step`` committed, filled in as it commits, so that it holds even if the call fails half way."""

    gone: list[Gone] = field(default_factory=list)
    passed: list[tuple[int, int]] = field(default_factory=list)
    """For each row: the threshold that it had passed, and its spans."""
    traces: dict[bytes, ShedTrace] = field(default_factory=dict)


def step(core: BufferCore, sweep: Sweep, spare: Spare, reason: str, done: Step) -> None:
    """Delete the next traces of a sweep that is over: DRAIN_ROWS rows and DRAIN_BYTES, and the rest of the last trace.

    Traces that are spared by now are passed over. A trace of several transactions is deleted in this one call, up to TRACE_ROWS.
    Raises DiskRefused, BufferBroken or BufferError; ``done`` says what was committed before.
    """
    sweep.catch_up(core)
    heads = _open_heads(core, sweep.next_ids(spare))
    start = 0
    while start < len(heads):
        end, size = start, 0
        while end < len(heads) and end - start < DRAIN_ROWS and (end == start or size + heads[end].body_bytes <= DRAIN_BYTES):
            size += heads[end].body_bytes
            end += 1
        _delete(core, heads[start:end], reason, done)
        start = end
        if start < len(heads) and core.checkpoint_due:
            core.checkpoint()


def _open_heads(core: BufferCore, ids: Sequence[int]) -> list[_Head]:
    """Those rows as they are now, but for traces of which one became ambiguous meanwhile."""
    heads = [_Head(*found) for found in core.read(lambda db: db.execute(_HEADS, (id_list(ids),)).fetchall())] if ids else []
    ambiguous = {head.trace_id for head in heads if head.state == AMBIGUOUS}
    return [head for head in heads if head.trace_id not in ambiguous]


def _delete(core: BufferCore, heads: Sequence[_Head], reason: str, done: Step) -> None:
    gone = [Gone(head.id, head.destination, head.spans, head.body_bytes, settling=head.state == SETTLING) for head in heads]
    core.write(lambda draft: remove(core, draft, gone, Transition.SHED, reason))
    done.gone += gone
    for head in heads:
        done.passed.append((head.threshold, head.spans))
        before = done.traces.get(head.trace_id)
        done.traces[head.trace_id] = ShedTrace(head.trace_id, head.randomness, head.spans + (before.spans if before else 0))

"""The core against a model made of dictionaries, with clean and unclean restarts as steps."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.buffer import shedding, upkeep
from sidecar.buffer.core import BufferCore
from sidecar.buffer.leases import Buried, LeaseLimit
from sidecar.buffer.ledger import REASONED, Transition
from sidecar.buffer.records import Filter, Group, InFlight, Kind, Settlement
from sidecar.buffer.traces import TraceFilter
from sidecar.errors import BufferFull
from sidecar.wire.rows import NewRow, Row
from tests.buffer.builders import append, assert_balanced, crash, file, read_backlog, row

DESTINATIONS = ("one", "two")
MAX_KIB = 4
rows = st.builds(
    lambda size, destination, spans, received_ms, seal_at_ms, priority: row(
        bytes(size),
        destination=destination,
        trace=spans,
        spans=spans,
        received_ms=received_ms,
        seal_at_ms=seal_at_ms,
        randomness=spans,
        priority=priority,
    ),
    st.integers(0, 600),
    st.sampled_from(DESTINATIONS),
    st.integers(1, 5),
    st.integers(0, 100),
    st.none() | st.integers(0, 100),
    st.sampled_from((0, 0, 0, 1)),
)
limits = st.builds(LeaseLimit, st.integers(1, 1500), st.integers(1, 6000), st.integers(1, 12))


@dataclass
class Kept:
    """A row as the model knows it."""

    new: NewRow
    ambiguous: bool = False
    settling: bool = False


class BufferMachine(RuleBasedStateMachine):
    """Every step does the same to the buffer and to the model, every invariant compares them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.rows: dict[int, Kept] = {}
        self.dead: list[NewRow] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.leases: dict[int, tuple[Row, ...]] = {}
        self.next_lease = 1
        self.stack = ExitStack()

    @initialize()
    def start(self) -> None:
        self.open()

    def open(self) -> None:
        self.core: BufferCore = self.stack.enter_context(file(self.folder / "b.db", max_mib=MAX_KIB / 1024)).core

    def count(self, transition: Transition, spans: int, reason: str = "") -> None:
        """By the table: what the transition adds to."""
        for state in transition.value.adds:
            self.counts[state.value, reason if state in REASONED else ""] += spans

    def leased(self) -> set[int]:
        return {row.id for lease in self.leases.values() for row in lease}

    @rule(
        offered=st.lists(st.lists(rows, max_size=4), min_size=1, max_size=3),
        rejected=st.integers(0, 2),
        filtered=st.integers(0, 2),
        sampled=st.integers(0, 2),
        rescues=st.booleans(),
    )
    def append_group(self, offered: list[list[NewRow]], rejected: int, filtered: int, sampled: int, rescues: bool) -> None:
        appends = [
            append(
                *some,
                rejected={"no_id": rejected} if rejected else None,
                filtered=filtered,
                sampled={"probability": sampled} if sampled else None,
                rescued=some[0].spans if rescues and some else 0,
            )
            for some in offered
        ]
        used = sum(len(kept.new.body) for kept in self.rows.values())
        for each, answer in zip(appends, self.core.commit(Group(appends)), strict=True):
            size = sum(len(new.body) for new in each.rows)
            fits = not size or used + size <= MAX_KIB * 1024
            assert isinstance(answer, BufferFull) is not fits
            if isinstance(answer, int):
                used += size
                self.rows.update((answer + index, Kept(new, settling=new.seal_at_ms is not None)) for index, new in enumerate(each.rows))
                self.count(Transition.STORE, sum(new.spans for new in each.rows) - each.rescued)
                self.count(Transition.RESCUE, each.rescued)
                self.count(Transition.REJECT, rejected, "no_id")
                self.count(Transition.FILTER, filtered)
                self.count(Transition.SAMPLE, sampled, "probability")

    @rule(destination=st.sampled_from(DESTINATIONS), limit=limits, max_rows=st.integers(1, 5))
    def lease(self, destination: str, limit: LeaseLimit, max_rows: int) -> None:
        leased = self.leased()
        found = read_backlog(self.core, destination, 0, leased, limit, max_rows).rows
        waiting = [row_id for row_id, kept in sorted(self.rows.items()) if kept.new.destination == destination and not kept.settling]
        waiting = [row_id for row_id in waiting if row_id not in leased]
        assert [row.id for row in found] == waiting[: len(found)]
        assert bool(found) == bool(waiting)
        assert all((row.body, row.ambiguous) == (self.rows[row.id].new.body, self.rows[row.id].ambiguous) for row in found)
        if found:
            self.core.commit(Group(in_flight=[InFlight(self.next_lease, destination, found[0].id, found[-1].id)]))
            self.leases[self.next_lease] = found
            self.next_lease += 1

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.leases)))
        fates = [data.draw(st.sampled_from(["delivered", "buried", "ambiguous", "released", "open"])) for _ in self.leases[lease_id]]
        by = {fate: tuple(row for row, chosen in zip(self.leases[lease_id], fates, strict=True) if chosen == fate) for fate in set(fates)}
        still_open = by.get("open", ())
        self.core.commit(
            Group(
                settlements=[
                    Settlement(
                        lease_id,
                        by.get("delivered", ()),
                        tuple(row.id for row in by.get("ambiguous", ())),
                        tuple((row, Buried("refused", "no")) for row in by.get("buried", ())),
                        closes=not still_open,
                    )
                ]
            )
        )
        for settled in by.get("delivered", ()):
            self.count(Transition.DELIVER, self.rows.pop(settled.id).new.spans)
        for settled in by.get("buried", ()):
            self.dead.append(self.rows.pop(settled.id).new)
            self.count(Transition.BURY, settled.spans, "refused")
        for settled in by.get("ambiguous", ()):
            self.rows[settled.id].ambiguous = True
        if still_open:
            self.leases[lease_id] = still_open
        else:
            del self.leases[lease_id]

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.leases)))
        index = data.draw(st.integers(0, len(self.leases[lease_id]) - 1))
        old = self.leases[lease_id][index]
        kept = self.rows.pop(old.id)
        parts = [changed(kept.new, spans=1, body=bytes([number]), seal_at_ms=None) for number in range(old.spans)]
        added = upkeep.replace(self.core, lease_id, old, parts)
        self.rows.update((part.id, Kept(new, old.ambiguous)) for part, new in zip(added, parts, strict=True))
        self.leases[lease_id] = (*self.leases[lease_id][:index], *added, *self.leases[lease_id][index + 1 :])

    @rule(now_ms=st.integers(0, 100), rewrite=st.booleans())
    def seal(self, now_ms: int, rewrite: bool) -> None:
        due = upkeep.due_to_seal(self.core, now_ms, 100)
        assert {found.id for found in due} == {
            row_id for row_id, kept in self.rows.items() if kept.settling and kept.new.seal_at_ms is not None and kept.new.seal_at_ms <= now_ms
        }
        upkeep.seal(self.core, [(found, changed(found.row, body=found.row.body + b"+") if rewrite else None) for found in due])
        for found in due:
            kept = self.rows[found.id]
            kept.settling = False
            kept.new = changed(kept.new, seal_at_ms=None, body=kept.new.body + b"+" * rewrite)

    @rule(now_ms=st.integers(0, 100))
    def omit(self, now_ms: int) -> None:
        due = upkeep.due_to_seal(self.core, now_ms, 2)
        gone = upkeep.omit(self.core, due)
        assert upkeep.omit(self.core, due) == [], "no row is counted twice"
        for each in gone:
            self.count(Transition.OMIT, self.rows.pop(each.id).new.spans)

    @rule(before_ms=st.integers(0, 30))
    def expire(self, before_ms: int) -> None:
        leased = self.leased()
        while gone := upkeep.expire(self.core, before_ms, leased):
            for each in gone:
                self.count(Transition.EXPIRE, self.rows.pop(each.id).new.spans)
        assert all(kept.new.received_ms >= before_ms or row_id in leased for row_id, kept in self.rows.items())

    @rule(trace=st.integers(1, 5))
    def purge(self, trace: int) -> None:
        gone, _ = upkeep.purge(self.core, Kind.PENDING, Filter(trace_id=trace.to_bytes(16, "big")), 0, self.leased())
        for each in gone:
            kept = self.rows.pop(each.id)
            assert kept.new.trace_id == trace.to_bytes(16, "big")
            self.count(Transition.PURGE, kept.new.spans)

    @rule(threshold=st.integers(0, 6), priority=st.integers(0, 1), target_bytes=st.integers(1, 2000))
    def shed(self, threshold: int, priority: int, target_bytes: int) -> None:
        held = {self.rows[row_id].new.trace_id for row_id in self.leased()}
        kept_for = {kept.new.trace_id for kept in self.rows.values() if kept.ambiguous or kept.new.priority > priority}
        before = {kept.new.trace_id: kept.new.randomness for kept in self.rows.values()}
        sweep = shedding.Sweep(priority, threshold, target_bytes, TraceFilter())
        while sweep.scan(self.core, held.__contains__):
            pass
        done = shedding.Step()
        while sweep.traces:
            shedding.step(self.core, sweep, held.__contains__, "backlog", done)
        for each in done.gone:
            self.count(Transition.SHED, self.rows.pop(each.id).new.spans, "backlog")
        assert not done.traces.keys() & (held | kept_for)
        left = {kept.new.trace_id for kept in self.rows.values()}
        assert not done.traces.keys() & left, "whole traces"
        assert all((randomness < sweep.bound) == (trace_id not in left) for trace_id, randomness in before.items() if trace_id not in held | kept_for)
        assert sum(each.body_bytes for each in done.gone) >= target_bytes or sweep.bound == threshold

    @rule()
    def replay(self) -> None:
        raised, _ = upkeep.replay(self.core, Filter(), 0)
        for back, letter in zip(raised, self.dead, strict=False):
            assert back.body == letter.body
            self.rows[back.id] = Kept(changed(letter, received_ms=back.received_ms, seal_at_ms=None))
            self.count(Transition.REPLAY, back.spans)
        self.dead = self.dead[len(raised) :]

    @precondition(lambda self: any(not kept.settling for kept in self.rows.values()))
    @rule(data=st.data())
    def flip(self, data: st.DataObject) -> None:
        """A body rots on disk: the row is quarantined when it is read, and never before it is leased."""
        free = [row_id for row_id, kept in self.rows.items() if not kept.settling and row_id not in self.leased() and kept.new.body]
        if not free:
            return
        row_id = data.draw(st.sampled_from(free))
        self.core.db.execute("UPDATE rows SET body = x'ff' WHERE id = ?", (row_id,))
        found = read_backlog(self.core, self.rows[row_id].new.destination, row_id - 1, frozenset(), LeaseLimit(1, 1, 1), 1)
        assert [gone.id for gone in found.quarantined] == [row_id]
        self.count(Transition.QUARANTINE, self.rows.pop(row_id).new.spans)

    @rule()
    def stop_and_start(self) -> None:
        self.mark_in_flight()
        self.stack.close()
        self.open()

    @rule()
    def crash_and_start(self) -> None:
        """The process dies: what was committed is there, what was in flight is ambiguous."""
        self.mark_in_flight()
        crash(self.folder / "b.db", self.core, self.stack)
        self.open()
        assert self.core.pending_spans == sum(kept.new.spans for kept in self.rows.values())

    def mark_in_flight(self) -> None:
        ranges = self.core.db.execute("SELECT destination, first_row, last_row FROM in_flight").fetchall()
        for destination, first, last in ranges:
            for row_id, kept in self.rows.items():
                if kept.new.destination == destination and first <= row_id <= last and not kept.settling:
                    kept.ambiguous = True
        assert self.leased() <= {row_id for row_id, kept in self.rows.items() if kept.ambiguous}
        self.leases = {}

    @invariant()
    def the_books_balance(self) -> None:
        if not hasattr(self, "core"):
            return
        assert_balanced(self.core)
        assert {key: spans for key, spans in self.core.ledger.totals.items() if spans} == {key: spans for key, spans in self.counts.items() if spans}

    @invariant()
    def the_rows_are_the_models(self) -> None:
        if not hasattr(self, "core"):
            return
        found = self.core.db.execute("SELECT id, destination, spans, body, state FROM rows ORDER BY id").fetchall()
        assert found == [
            (row_id, kept.new.destination, kept.new.spans, kept.new.body, 0 if kept.settling else 2 if kept.ambiguous else 1)
            for row_id, kept in sorted(self.rows.items())
        ]
        assert self.core.dead_rows == len(self.dead)
        assert self.core.dead_bytes == sum(len(letter.body) for letter in self.dead)

    def teardown(self) -> None:
        self.stack.close()
        shutil.rmtree(self.folder)


TestBuffer = BufferMachine.TestCase
TestBuffer.settings = settings(max_examples=80, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

"""The books of a simulated run, kept beside the program's own, and what must hold between them at every moment and at the end."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.buffer.opening import opened
from sidecar.wire.encoding import Encoding
from sidecar.wire.rows import Row
from sidecar.wire.split import decompress
from tests.buffer.builders import assert_balanced
from tests.simulation.destination import Destination
from tests.simulation.disk import VirtualDisk
from tests.simulation.life import LOG, Life, settings_of
from tests.simulation.plan import Plan

VIOLATIONS_MAX = 5
GIVEN_UP = ("expired", "shed")
"""States of spans that are given up on purpose."""


@dataclass(eq=False)
class Request:
    """One request and what its client knows."""

    destination: str
    body: bytes = field(repr=False)
    encoding: Encoding
    payloads: Mapping[bytes, str] = field(repr=False)
    """Span id -> what its attribute says."""
    bad: frozenset[bytes]
    """Spans that the destination refuses for good."""
    must_arrive: bool
    acknowledged: bool = False
    attempts: int = 0
    uncertain: int = 0
    """Attempts without an answer: each may have been kept."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    seed: int
    violations: tuple[str, ...]
    digest: str
    """Of everything that happened, in order."""
    counts: Mapping[str, int]


class Audit:
    """Everything that is known from outside."""

    def __init__(self, plan: Plan, disk: VirtualDisk, trace: list[str] | None) -> None:
        self.destinations: Mapping[str, Destination] = {}
        self.violations: list[str] = []
        self._plan = plan
        self._disk = disk
        self._trace = trace
        self._history = hashlib.blake2b(digest_size=8)
        self._requests: list[Request] = []
        self._of_span: dict[bytes, Request] = {}
        self._totals: dict[tuple[str, str], int] = {}
        """The ledger when it was last seen."""
        self._counts: Counter[str] = Counter()

    def note(self, what: str) -> None:
        """Something happened."""
        line = f"{asyncio.get_running_loop().time():12.6f} {what}"
        self._history.update(line.encode())
        self._counts[what.split(":", maxsplit=1)[0]] += 1
        if self._trace is not None:
            self._trace.append(line)

    def check(self, holds: bool, what: str) -> None:
        """Note a violation unless it ``holds``."""
        if not holds and len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(f"at {asyncio.get_running_loop().time():.3f} s: {what}")
            self.note(f"VIOLATION: {what}")

    def sent(self, request: Request) -> None:
        """A client made a request."""
        self._requests.append(request)
        self._of_span.update(dict.fromkeys(request.payloads, request))

    def answered(self, request: Request, outcome: str) -> None:
        """An attempt is over; an empty outcome is an acknowledgement."""
        request.attempts += 1
        request.uncertain += outcome in ("no answer", "no patience")
        request.acknowledged = request.acknowledged or not outcome
        self.note(outcome or "acknowledged")

    def died(self, life: Life) -> None:
        """The process was killed at this moment."""
        self._totals = dict(life.buffer.ledger.totals)

    def born(self, life: Life) -> None:
        """A process has opened the file."""
        self.note("started")
        for key, spans in self._totals.items():
            now = life.buffer.ledger.totals.get(key, 0)
            self.check(now >= spans, f"the ledger forgot {key}: {spans} became {now}")
        for destination in self.destinations.values():
            for body in self._bodies(life):
                if body in destination.taken_bodies:  # and the process died before it could say so
                    destination.excused.update(_span_ids(body))
        self.look(life)

    def look(self, life: Life) -> None:
        """What must hold at any moment."""
        buffer, plan = life.buffer, self._plan
        for problem in buffer.ledger.imbalances(buffer.pending_spans):
            self.check(False, problem)
        self._totals = dict(buffer.ledger.totals)
        room = plan.max_kib * 1024
        # rows that are divided or rewritten at sealing may take a little more than they did
        self.check(buffer.pending_bytes <= room * 1.5 + 8192, f"{buffer.pending_bytes} bytes wait, the bound is {room:.0f}")
        cached = sum(lane.cached_bytes for _, lane in buffer._lanes)
        self.check(cached <= plan.cache_kib * 1024, f"{cached} bytes are cached, the bound is {plan.cache_kib * 1024:.0f}")

    def before_post(self, life: Life, rows: Sequence[Row]) -> None:
        """Rows are about to be sent: they lie on disk, in a range in flight, and what was taken before is known to be ambiguous."""
        db = life.buffer._core.db
        self.note(f"sent: {rows[0].destination} {[row.id for row in rows]}")
        ids = [row.id for row in rows]
        marks = ",".join("?" * len(ids))
        found = sqlite3.Connection.execute(db, f"SELECT COUNT(*) FROM rows WHERE id IN ({marks})", ids).fetchone()[0]
        self.check(found == len(set(ids)), f"rows {ids} are sent and not on disk any more")
        ranges = sqlite3.Connection.execute(db, "SELECT first_row, last_row FROM in_flight WHERE destination = ?", (rows[0].destination,)).fetchall()
        for row in rows:
            self.check(any(low <= row.id <= high for low, high in ranges), f"row {row.id} is sent and its range is not on disk")
            if row.body in self.destinations[row.destination].taken_bodies and not row.ambiguous:
                once = all(self._of_span[span_id].attempts <= 1 for span_id in _span_ids(row.body))
                self.check(not once, f"row {row.id} was taken, is sent again and is not marked ambiguous")

    def outcome(self) -> Outcome:
        """The last account, over the file that the last process left."""
        settings = settings_of(self._plan, str(self._disk.path))
        with opened(settings, lambda: 0, LOG, verify=True) as file:
            core = file.core
            self.check(file.clean and file.set_aside is None, "the last stop left no clean file")
            try:
                assert_balanced(core)
            except AssertionError as error:
                self.check(False, f"the file's books don't balance: {error}")
            waiting = _ids_in(core.db, "rows")
            dead = _ids_in(core.db, "dead")
            totals = dict(core.ledger.totals)
        self._account(waiting, dead, totals)
        self._counts["requests"] = len(self._requests)
        self._counts["disk faults"] = self._disk.faults
        self._counts["buried spans"] = dead.total()
        self.note(f"end: {sorted(totals.items())} {sorted((name, len(each.taken)) for name, each in self.destinations.items())}")
        return Outcome(self._plan.seed, tuple(self.violations), self._history.hexdigest(), dict(self._counts))

    def _account(self, waiting: Counter[bytes], dead: Counter[bytes], totals: Mapping[tuple[str, str], int]) -> None:
        """Every span is where it belongs."""
        given_up = sum(spans for (state, _), spans in totals.items() if state in GIVEN_UP)
        self.check(totals.get(("quarantined", ""), 0) == 0, "rows were found damaged")
        missing = []
        for request in self._requests:
            destination = self.destinations[request.destination]
            known = request.acknowledged or request.uncertain > 0
            for span_id, payload in request.payloads.items():
                taken = destination.taken[span_id]
                self.check(known or not (taken or waiting[span_id] or dead[span_id]), "a span of a request that was only refused was kept")
                if request.acknowledged and not (taken or waiting[span_id] or dead[span_id]):
                    missing.append(span_id.hex())
                if taken:
                    self.check(destination.payloads[span_id].payload == payload, "a span arrived changed")
                may = 1 + destination.excused[span_id] + max(0, request.attempts - 1)
                self.check(taken <= may, f"span {span_id.hex()} was taken {taken} times, {may} could be explained")
                if dead[span_id]:
                    self.check(span_id in request.bad, "a good span was buried")
                    self.check(destination.had_a_witness(span_id), "a span was buried without a witness")
        self.check(len(missing) <= given_up, f"{len(missing)} acknowledged spans are nowhere: {missing[:3]}; {given_up} were given up on purpose")
        strangers = {span_id for each in self.destinations.values() for span_id in each.taken} - self._of_span.keys()
        self.check(not strangers, "spans arrived that nobody sent")

    def _bodies(self, life: Life) -> list[bytes]:
        return [body for (body,) in sqlite3.Connection.execute(life.buffer._core.db, "SELECT body FROM rows")]


def _span_ids(body: bytes) -> list[bytes]:
    request = ExportTraceServiceRequest.FromString(decompress(body))
    return [span.span_id for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def _ids_in(db: sqlite3.Connection, table: str) -> Counter[bytes]:
    return Counter(span_id for (body,) in db.execute(f"SELECT body FROM {table}") for span_id in _span_ids(body))

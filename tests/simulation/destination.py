"""A destination as the sender's poster sees it: takes, refuses, stays silent, and remembers all of it.

It checks what a destination can: that it is asked neither before the time that it named nor by more requests than agreed, and that
no batch is larger than configured. What was sent is held against the buffer by ``world.py``.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.forward.batch import size_of
from sidecar.forward.client import Body
from sidecar.forward.verdict import Answer, Failure, FailureKind
from sidecar.wire.rows import Row
from sidecar.wire.split import decompress

JSON = "application/json"
POISON = "poison"
"""Name of spans that are refused for good."""
TIMEOUT_S = 30.0
PAUSE_S = 310.0
PARTS = 1.5
"""A row's parts, each compressed on its own, are that much larger than the row at most."""
QUIET_TOLERANCE_S = 1e-6

Check = Callable[[bool, str], None]
"""Notes a violation unless the first argument holds."""


class Seen(NamedTuple):
    """A span as it arrived."""

    span_id: bytes
    name: str
    payload: str


class Judged(NamedTuple):
    """A request that was answered: when it began and when its answer was there."""

    began_s: float
    answered_s: float


@dataclass
class Limits:
    """Of one request, as configured."""

    concurrency: int
    batch_bytes: int
    batch_spans: int


@dataclass
class Destination:
    """One server. ``mode`` is set from outside."""

    name: str
    chance: random.Random
    limits: Limits
    check: Check
    note: Callable[[str], None]
    before_post: Callable[[tuple[Row, ...]], None]
    """Looks at the rows of each request before it is sent."""
    is_alive: Callable[[], bool]
    mode: str = "healthy"
    max_body_bytes: int = 1 << 30
    taken: Counter[bytes] = field(default_factory=Counter)
    """Span id -> how often it was taken."""
    payloads: dict[bytes, Seen] = field(default_factory=dict)
    taken_bodies: set[bytes] = field(default_factory=set)
    excused: Counter[bytes] = field(default_factory=Counter)
    """Span id -> how often it was taken without an answer that says so: so often it may come again."""
    refused: defaultdict[bytes, list[Judged]] = field(default_factory=lambda: defaultdict(list))
    successes_s: list[float] = field(default_factory=list)
    requests: int = 0
    busy: int = 0
    quiet_until_s: float = 0.0
    _answered_s: float = -1.0
    """The last one."""
    _largest: tuple[int, int] = (0, 0)
    """Bytes and spans of the largest rows that were sent alone."""

    def hear_me_again(self) -> None:
        """Somebody acted (a restart, a reload): it may be asked at once."""
        self.quiet_until_s = 0.0

    async def post(self, body: Body) -> Answer | Failure:
        """One exchange."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        rows = tuple(body.rows)
        self._check_request(rows, began_s)
        self.before_post(rows)
        self.requests += 1
        self.busy += 1
        alone = self.busy == 1
        spans: list[Seen] = []
        takes = told = False
        try:
            await asyncio.sleep(self.chance.uniform(0.001, 0.05))
            if (failure := self._unreachable()) is not None:
                return failure
            body.out = True
            await asyncio.sleep(self.chance.uniform(0.001, 0.3))
            if not self.is_alive():
                raise asyncio.CancelledError
            reply, takes = self._judge(rows)
            spans = self._opened(rows)
            if takes:
                self._take(rows, spans)
            await asyncio.sleep(TIMEOUT_S if isinstance(reply, Failure) and reply.kind is FailureKind.TIMEOUT else self.chance.uniform(0.001, 0.3))
            told = self.is_alive() and isinstance(reply, Answer) and reply.status == 200
            if self.is_alive():
                alone = alone and self.busy == 1 and self._answered_s < began_s
                self._answered(reply, spans, Judged(began_s, loop.time()), alone=alone)
            return reply
        finally:
            self.busy -= 1
            if takes and not told:
                self.excused.update(span.span_id for span in spans)

    def _check_request(self, rows: tuple[Row, ...], now_s: float) -> None:
        limits = self.limits
        self.check(now_s >= self.quiet_until_s - QUIET_TOLERANCE_S, f"{self.name} was asked {self.quiet_until_s - now_s:.3f} s before it said")
        self.check(self.busy < limits.concurrency, f"{self.name} was asked by more than {limits.concurrency} requests at once")
        size, spans = size_of(rows), sum(row.spans for row in rows)
        if len(rows) == 1:  # a row larger than a batch goes alone, and so do its parts
            self._largest = max(self._largest[0], size), max(self._largest[1], spans)
        self.check(size <= max(limits.batch_bytes, PARTS * self._largest[0]), f"{self.name} was sent {size} bytes in {len(rows)} rows")
        self.check(spans <= max(limits.batch_spans, self._largest[1]), f"{self.name} was sent {spans} spans in {len(rows)} rows")
        self.check(bool(rows) and all(row.destination == self.name for row in rows), f"{self.name} was sent another one's rows")

    def _unreachable(self) -> Failure | None:
        if self.mode == "down":
            return Failure(FailureKind.REFUSED)
        if self.mode == "lossy" and self.chance.random() < 0.3:
            return Failure(FailureKind.RESET, mid_body=True)
        return None

    def _judge(self, rows: tuple[Row, ...]) -> tuple[Answer | Failure, bool]:
        """The reply, and whether the spans were taken."""
        chance, mode = self.chance, self.mode
        if size_of(rows) > self.max_body_bytes:
            return Answer(413), False
        if mode == "storm":
            return Answer(chance.choice([500, 502, 503]), retry_after=chance.choice([None, None, "3"])), False
        if mode == "limited" and chance.random() < 0.7:
            return Answer(429, retry_after=str(chance.randrange(1, 60))), False
        if mode == "suspended":
            return Answer(chance.choice([401, 302, 404])), False
        if self._is_bad(rows):
            return Answer(400, JSON, None, b'{"error":"Invalid OTLP trace export"}'), False
        if mode == "lossy" and chance.random() < 0.5:
            silences: list[Answer | Failure] = [
                Answer(504),
                Failure(FailureKind.RESET, body_was_out=True),
                Failure(FailureKind.TIMEOUT, body_was_out=True),
            ]
            return chance.choice(silences), chance.random() < 0.5
        return Answer(200, JSON, None, b"{}"), True

    def _is_bad(self, rows: tuple[Row, ...]) -> bool:
        return any(POISON.encode() in decompress(row.body) for row in rows)

    def _opened(self, rows: tuple[Row, ...]) -> list[Seen]:
        request = ExportTraceServiceRequest.FromString(decompress(b"".join(row.body for row in rows)))
        spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
        self.check(len(spans) == sum(row.spans for row in rows), f"{self.name}: rows hold {len(spans)} spans and say otherwise")
        return [Seen(span.span_id, span.name, span.attributes[0].value.string_value if span.attributes else "") for span in spans]

    def _take(self, rows: tuple[Row, ...], spans: list[Seen]) -> None:
        self.taken_bodies.update(row.body for row in rows)
        for span in spans:
            self.taken[span.span_id] += 1
            self.payloads[span.span_id] = span

    def _answered(self, reply: Answer | Failure, spans: list[Seen], judged: Judged, *, alone: bool) -> None:
        """What the process now knows. Of several requests in flight it may heed the first answer alone."""
        self._answered_s = judged.answered_s
        said = reply.kind.value if isinstance(reply, Failure) else f"{reply.status} {reply.retry_after or ''}".strip()
        self.note(f"answered: {self.name} {said}, asked at {judged.began_s:.6f}")
        if isinstance(reply, Failure):
            return
        if reply.status == 200:
            self.successes_s.append(judged.answered_s)
        elif reply.status in (400, 413):
            for span in spans:
                self.refused[span.span_id].append(judged)
        wait_s = PAUSE_S if reply.status in (401, 302, 404) else float(reply.retry_after or 0)
        if alone and wait_s:
            self.quiet_until_s = max(self.quiet_until_s, judged.answered_s + wait_s)

    def had_a_witness(self, span_id: bytes) -> bool:
        """Whether the span was refused, another request taken, and the span refused again in one that began after that."""
        refusals = self.refused[span_id]
        return any(
            first.answered_s <= success_s <= second.began_s
            for first, second in ((first, second) for at, first in enumerate(refusals) for second in refusals[at + 1 :])
            for success_s in self.successes_s
        )

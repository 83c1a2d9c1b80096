"""Where spans of dropped traces wait for a moment, in case their trace turns out to matter. Pure.

Owns the rows of dropped traces, bounded by bytes and seconds, the oldest leave first. It must not decide what is
dropped or rescued. Rows come in as they would leave: masked, and marked as rescued (``decision.mark_dropped``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

from sidecar.enrich.edit import encode_text
from sidecar.sample.decision import TORN
from sidecar.wire.rows import NewRow
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest
from sidecar.wire.split import compress, decompress

ENTRY_BYTES = 512
"""A row beside its body: the row 136, its id, integers and bytes objects 170, its place in both queues 170. Measured 479 with one row a trace, less with more."""
_IS_TORN = encode_text(TORN, "true")


@dataclass(slots=True, eq=False)
class Held:
    """A row in limbo."""

    row: NewRow | None
    """None: it is gone, and only its place is left."""
    until_s: float
    trace_id: bytes


class Rescue(NamedTuple):
    """What came back of a trace."""

    rows: tuple[NewRow, ...]
    """In the order in which they came, as they were put there."""
    spans: int
    torn: bool
    """Some of what was dropped had left already: each of the trace's spans is to be marked (``mark_torn``)."""


class Limbo:
    """Rows of dropped traces. ``max_bytes`` bounds bodies and ``ENTRY_BYTES`` for each row."""

    def __init__(self, max_bytes: int, keep_s: float) -> None:
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._all: deque[Held] = deque()
        self._traces: dict[bytes, list[Held]] = {}
        # A list: most traces have a row or two, and an empty deque takes 600 bytes. The longest possible shifts 150 KB, in 5 us.
        self._bytes = 0
        self.evicted_rows = 0
        """Rows that left for want of room, before their time, since they were last taken away."""

    @property
    def size_bytes(self) -> int:
        return self._bytes

    @property
    def rows(self) -> int:
        """Rows that could still be rescued."""
        return sum(map(len, self._traces.values()))

    def put(self, row: NewRow, now_s: float) -> Held | None:
        """Hold a row of a dropped trace. One that is larger than the bound is not held."""
        self.expire(now_s)
        size = ENTRY_BYTES + len(row.body)
        if size > self._max_bytes:
            self.evicted_rows += 1
            return None
        while self._bytes + size > self._max_bytes:
            self.evicted_rows += self._drop_oldest()
        held = Held(row, now_s + self._keep_s, row.trace_id)
        self._all.append(held)
        self._traces.setdefault(row.trace_id, []).append(held)
        self._bytes += size
        return held

    def take_out(self, held: Held) -> None:
        """Let go of one row, if it is still here: it was not dropped after all."""
        if held.row is None:
            return
        of_trace = self._traces.get(held.trace_id, [])
        if held in of_trace:
            of_trace.remove(held)
            if not of_trace:
                del self._traces[held.trace_id]
            self._bytes -= len(held.row.body)
            held.row = None

    def rescue(self, trace_id: bytes, dropped_spans: int, now_s: float) -> Rescue:
        """Take back the rows of a trace of which ``dropped_spans`` were dropped in all."""
        self.expire(now_s)
        rows = []
        for held in self._traces.pop(trace_id, ()):
            if held.row is not None:
                rows.append(held.row)
                self._bytes -= len(held.row.body)
                held.row = None
        spans = sum(row.spans for row in rows)
        torn = spans < dropped_spans
        return Rescue(tuple(rows), spans, torn)

    def expire(self, now_s: float) -> None:
        """Let go of what has waited long enough."""
        while self._all and self._all[0].until_s <= now_s:
            self._drop_oldest()

    def _drop_oldest(self) -> int:
        """How many rows that could have been rescued are gone: 0 or 1."""
        held = self._all.popleft()
        self._bytes -= ENTRY_BYTES
        if held.row is None:
            return 0
        self._bytes -= len(held.row.body)
        of_trace = self._traces[held.trace_id]
        of_trace.pop(0)
        if not of_trace:
            del self._traces[held.trace_id]
        return 1


def mark_torn(row: NewRow) -> NewRow:
    """The row with a mark on each span that parts of its trace are missing. The rare path: the row is opened and written anew."""
    request = ExportTraceServiceRequest.FromString(decompress(row.body))
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                span.attributes.append(_IS_TORN)
    payload = request.SerializeToString()
    return replace(row, body=compress(payload), raw_bytes=len(payload))

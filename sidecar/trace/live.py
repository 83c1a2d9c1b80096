"""What is known of live traces: when they began, whether their root was seen, the context learned so far.

Owns one bounded table. It must not read clocks or spans: callers say what they saw and when.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

ENTRY_BYTES = 512
"""A trace without context: id 49, state 88, four integers 4 x 32, an empty dict 64, its share of the table about 180."""
FACT_BYTES = 160
"""A fact beside its text: two string headers 2 x 49, a dict slot and growth about 60."""


@dataclass(slots=True)
class TraceState:
    """One live trace. Times are milliseconds of the caller's clock. Only ``LiveTraces`` changes it."""

    first_seen_ms: int
    last_seen_ms: int
    spans: int = 0
    root_seen: bool = False
    context: dict[str, str] = field(default_factory=dict)
    """What later stages learned, such as the user of the trace. Add with ``LiveTraces.learn``, which keeps count of the bytes."""

    @property
    def size_bytes(self) -> int:
        """What the entry takes in memory, at most."""
        return ENTRY_BYTES + sum(_fact_bytes(key, value) for key, value in self.context.items())


class LiveTraces:
    """A table of live traces bounded by bytes; the one unseen for longest leaves first.

    Forgetting a trace costs context, never spans: its later rows settle anew, as those of a trace seen for the first time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._traces: OrderedDict[bytes, TraceState] = OrderedDict()
        self._bytes = 0
        self.evictions = 0
        """Traces forgotten for want of room."""

    def __len__(self) -> int:
        return len(self._traces)

    @property
    def size_bytes(self) -> int:
        """The sum of the entries' sizes; at most ``max_bytes`` between calls."""
        return self._bytes

    def observe(self, trace_id: bytes, spans: int, root_seen: bool, now_ms: int) -> TraceState:
        """Note that ``spans`` more spans of a trace came, and whether its root was among them."""
        state = self._traces.get(trace_id)
        if state is None:
            state = self._traces[trace_id] = TraceState(first_seen_ms=now_ms, last_seen_ms=now_ms)
            self._bytes += ENTRY_BYTES
            self._evict()
        else:
            self._traces.move_to_end(trace_id)
            state.last_seen_ms = max(state.last_seen_ms, now_ms)
        state.spans += spans
        state.root_seen = state.root_seen or root_seen
        return state

    def learn(self, trace_id: bytes, facts: Mapping[str, str]) -> bool:
        """Add facts to a trace's context, newer ones replacing older. False when the trace is not (or no longer) known."""
        state = self._traces.get(trace_id)
        if state is None:
            return False
        before = state.size_bytes
        state.context.update(facts)
        self._bytes += state.size_bytes - before
        self._traces.move_to_end(trace_id)
        self._evict()
        return trace_id in self._traces

    def get(self, trace_id: bytes) -> TraceState | None:
        """What is known of a trace, without counting as a sight of it."""
        return self._traces.get(trace_id)

    def seal_at(self, trace_id: bytes, now_ms: int, settle_ms: int) -> int | None:
        """When a row of this trace that came now must be sealed, or None: it is born sealed.

        Born sealed: nothing settles (``settle_ms`` is 0), the root is known, or the trace's time to
        settle, counted from its first row, is over. An unknown trace begins now.
        """
        if settle_ms <= 0:
            return None
        state = self._traces.get(trace_id)
        if state is None:
            return now_ms + settle_ms
        if state.root_seen:
            return None
        seal_at_ms = min(state.first_seen_ms, now_ms) + settle_ms  # min: the wall clock may have been set back
        return seal_at_ms if seal_at_ms > now_ms else None

    def _evict(self) -> None:
        while self._bytes > self._max_bytes and self._traces:
            _, state = self._traces.popitem(last=False)
            self._bytes -= state.size_bytes
            self.evictions += 1


def _fact_bytes(key: str, value: str) -> int:
    """At most four bytes a character (PEP 393)."""
    return FACT_BYTES + 4 * (len(key) + len(value))

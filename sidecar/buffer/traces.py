"""Which traces were seen, in a fixed number of bytes. Pure.

Owns Bloom filters over trace ids. They never forget what they hold and sometimes claim what they don't hold, which suits
sparing: a trace is then spared without need, never shed by mistake. It must not know why a trace is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

_INDEX_BITS = 22
_MASK = (1 << _INDEX_BITS) - 1
FILTER_BYTES = 1 << (_INDEX_BITS - 3)
"""Of one filter: 512 KiB."""
FILTER_TRACES = 200_000
"""With so many traces a filter claims 0.8 % of the others; with a million 14 %."""


class TraceFilter:
    """A Bloom filter with two places a trace, out of Python's keyed hash, so that nobody can choose ids that collide."""

    __slots__ = ("_bits", "added")

    def __init__(self) -> None:
        self._bits = bytearray(FILTER_BYTES)
        self.added = 0
        """Traces that were new to it."""

    def add(self, trace_id: bytes) -> None:
        bits, mixed = self._bits, hash(trace_id)
        first, second = mixed & _MASK, mixed >> _INDEX_BITS & _MASK
        bit, other = 1 << (first & 7), 1 << (second & 7)
        if not (bits[first >> 3] & bit and bits[second >> 3] & other):
            self.added += 1
            bits[first >> 3] |= bit
            bits[second >> 3] |= other

    def __contains__(self, trace_id: bytes) -> bool:
        bits, mixed = self._bits, hash(trace_id)
        first, second = mixed & _MASK, mixed >> _INDEX_BITS & _MASK
        return bool(bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1)


class RecentTraces:
    """At least the last FILTER_TRACES traces, at most twice as many, in 1 MiB: two filters, of which the older gives way."""

    __slots__ = ("_last", "_new", "_old")

    def __init__(self) -> None:
        self._new = TraceFilter()
        self._old = TraceFilter()
        self._last = b""

    def add(self, trace_ids: Iterable[bytes]) -> None:
        for trace_id in trace_ids:
            if trace_id == self._last:
                continue
            self._last = trace_id
            if self._new.added >= FILTER_TRACES:
                self._old, self._new = self._new, TraceFilter()
            self._new.add(trace_id)

    def __contains__(self, trace_id: bytes) -> bool:
        return trace_id in self._new or trace_id in self._old

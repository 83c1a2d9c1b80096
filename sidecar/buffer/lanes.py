"""Which rows wait for whom, in memory: the fresh lane with its bodies, and where the backlog's reader stands. Pure.

Per destination: ``cached`` rows (newest, with bodies) are the fresh lane; what is neither cached, leased nor settling
is backlog and lies on disk only. All caches share one bound of bytes; when it is reached the oldest cached row is
forgotten here and so becomes backlog. The cursor goes up with each read and down when a row before it becomes backlog
again, so that a drain reads every row about once, however large the backlog is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.buffer.leases import LaneStatus, LeaseLimit
from sidecar.buffer.records import Backlog, Gone, Totals
from sidecar.wire.rows import Row

END = 1 << 62
"""A cursor behind every row: nothing of the backlog is unread."""


@dataclass(slots=True)
class Lane:
    """One destination."""

    cached: dict[int, Row] = field(default_factory=dict)
    cached_bytes: int = 0
    cached_spans: int = 0
    leased: set[int] = field(default_factory=set)
    settling: int = 0
    total: int = 0
    left: int = 0
    cursor: int = END
    from_start: bool = False
    """The reader has begun anew and found nothing so far."""
    backlog_oldest_ms: int | None = None

    @property
    def backlog(self) -> int:
        return self.total - len(self.cached) - len(self.leased) - self.settling

    @property
    def has_work(self) -> bool:
        return bool(self.cached) or self.backlog > 0

    def status(self) -> LaneStatus:
        fresh_ms = next(iter(self.cached.values())).received_ms if self.cached else None
        backlog_ms = self.backlog_oldest_ms if self.backlog > 0 else None
        known = [ms for ms in (fresh_ms, backlog_ms) if ms is not None]
        return LaneStatus(
            fresh_rows=len(self.cached),
            fresh_bytes=self.cached_bytes,
            fresh_spans=self.cached_spans,
            backlog_rows=max(self.backlog, 0),
            leased_rows=len(self.leased),
            oldest_received_ms=min(known, default=None),
            left_rows=self.left,
        )


class Lanes:
    """All destinations. ``cache_bytes`` bounds the bodies of the fresh lanes together."""

    def __init__(self, cache_bytes: int, totals: Mapping[str, Totals], oldest_ms: int | None) -> None:
        """After a start everything on disk is backlog; ``oldest_ms`` is the receipt of the oldest row of all."""
        self._appeared: Callable[[str], None] | None = None
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._lanes: dict[str, Lane] = {
            name: Lane(settling=found.settling, total=found.rows, cursor=0, backlog_oldest_ms=oldest_ms) for name, found in totals.items()
        }

    def __getitem__(self, destination: str) -> Lane:
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = Lane()
            if self._appeared is not None:
                self._appeared(destination)
        return lane

    def __iter__(self) -> Iterator[tuple[str, Lane]]:
        return iter(self._lanes.items())

    def announce(self, appeared: Callable[[str], None]) -> None:
        """Tell ``appeared`` of each destination: those that are known now, others when they come up."""
        self._appeared = appeared
        for destination in self._lanes:
            appeared(destination)

    @property
    def cached_bytes(self) -> int:
        return self._cached_bytes

    def leased_ids(self) -> frozenset[int]:
        return frozenset(row_id for lane in self._lanes.values() for row_id in lane.leased)

    def arrived(self, rows: Iterable[Row]) -> None:
        """Sealed rows that were just committed: fresh."""
        for row in rows:
            lane = self[row.destination]
            lane.total += 1
            self._cache(lane, row)
        self._evict()

    def settling(self, destination: str) -> None:
        """A row that was just committed and can't be sent before it is sealed."""
        lane = self[destination]
        lane.total += 1
        lane.settling += 1

    def sealed(self, rows: Iterable[Row]) -> None:
        """Settling rows became fresh."""
        for row in rows:
            lane = self[row.destination]
            lane.settling -= 1
            self._cache(lane, row)
        self._evict()

    def take_fresh(self, destination: str, limit: LeaseLimit) -> tuple[Row, ...]:
        """The oldest fresh rows within ``limit``, at least one if there is one; they count as leased."""
        lane = self[destination]
        taken: list[Row] = []
        spans = raw_bytes = body_bytes = 0
        for row in lane.cached.values():
            spans, raw_bytes, body_bytes = spans + row.spans, raw_bytes + row.raw_bytes, body_bytes + len(row.body)
            if taken and (spans > limit.max_spans or raw_bytes > limit.max_raw_bytes or body_bytes > limit.max_bytes):
                break
            taken.append(row)
        for row in taken:
            self._forget(lane, row)
            lane.leased.add(row.id)
        return tuple(taken)

    def begin_read(self, destination: str) -> tuple[int, frozenset[int]]:
        """Where the backlog's reader begins, and which ids it passes over."""
        lane = self[destination]
        if lane.cursor == 0:
            lane.from_start = True
        return lane.cursor, frozenset(lane.leased.union(lane.cached))

    def end_read(self, destination: str, backlog: Backlog) -> int:
        """Take over what was read: rows are leased, quarantined ones gone.

        Returns how many rows memory believed in that are not on disk: 0, unless there is a bug; they are forgotten.
        """
        lane = self[destination]
        lane.leased.update(row.id for row in backlog.rows)
        lane.total -= len(backlog.quarantined)
        lane.cursor = backlog.last_id
        if backlog.rows:
            lane.backlog_oldest_ms = backlog.rows[-1].received_ms
            lane.from_start = False
        elif backlog.exhausted:
            if lane.from_start:
                missing = max(lane.backlog, 0)
                lane.total -= missing
                return missing
            lane.cursor = 0
        return 0

    def released(self, rows: Iterable[Row]) -> None:
        """Leased rows wait again; they are backlog now."""
        for row in rows:
            lane = self[row.destination]
            lane.leased.discard(row.id)
            self._to_backlog(lane, row)

    def settled(self, rows: Iterable[Row]) -> None:
        """Leased rows are gone: delivered or buried."""
        for row in rows:
            lane = self[row.destination]
            lane.leased.discard(row.id)
            lane.total -= 1
            lane.left += 1

    def replaced(self, row: Row, parts: Iterable[Row]) -> None:
        """A leased row became several."""
        lane = self[row.destination]
        lane.leased.discard(row.id)
        lane.total -= 1
        for part in parts:
            lane.leased.add(part.id)
            lane.total += 1

    def gone(self, rows: Iterable[Gone]) -> None:
        """Rows that were not leased are gone: shed, expired, purged, omitted or quarantined."""
        for row in rows:
            lane = self[row.destination]
            lane.total -= 1
            lane.settling -= int(row.settling)
            cached = lane.cached.get(row.id)
            if cached is not None:
                self._forget(lane, cached)

    def _cache(self, lane: Lane, row: Row) -> None:
        lane.cached[row.id] = row
        lane.cached_bytes += len(row.body)
        lane.cached_spans += row.spans
        self._cached_bytes += len(row.body)

    def _forget(self, lane: Lane, row: Row) -> None:
        del lane.cached[row.id]
        lane.cached_bytes -= len(row.body)
        lane.cached_spans -= row.spans
        self._cached_bytes -= len(row.body)

    def _to_backlog(self, lane: Lane, row: Row) -> None:
        lane.cursor = min(lane.cursor, row.id - 1)
        oldest = lane.backlog_oldest_ms if lane.backlog > 1 else None
        lane.backlog_oldest_ms = row.received_ms if oldest is None else min(oldest, row.received_ms)

    def _evict(self) -> None:
        while self._cached_bytes > self._cache_bytes:
            lane = min((lane for lane in self._lanes.values() if lane.cached), key=lambda lane: next(iter(lane.cached)))
            row = next(iter(lane.cached.values()))
            self._forget(lane, row)
            self._to_backlog(lane, row)

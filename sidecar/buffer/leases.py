"""What passes between the buffer and those who use it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sidecar.wire.rows import NewRow, Row


@dataclass(frozen=True, slots=True)
class Append:
    """What one request adds, in one transaction: rows, and what the ledger must know of the rest.

    ``received`` counts every span of the request: those in ``rows`` but the rescued ones, those rejected, filtered and sampled.
    """

    rows: tuple[NewRow, ...]
    received: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Reason -> spans."""
    filtered: int = 0
    sampled: Mapping[str, int] = field(default_factory=dict)
    """Reason -> spans that were dropped."""
    rescued: int = 0
    """Spans in ``rows`` that came with earlier requests and were counted ``sampled`` then."""

    @property
    def is_balanced(self) -> bool:
        """Every span is accounted for."""
        stored = sum(row.spans for row in self.rows)
        return self.received + self.rescued == stored + sum(self.rejected.values()) + self.filtered + sum(self.sampled.values())


class Lane(Enum):
    """Where leased rows come from. Fresh ones lie in memory; backlog is read from disk."""

    FRESH = "fresh"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class LeaseLimit:
    """Bounds of one lease. A single row larger than a bound is leased alone."""

    max_bytes: int
    """Compressed."""
    max_raw_bytes: int
    max_spans: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Rows that one sender holds; nobody else gets them until it is settled, released or the process ends."""

    id: int
    destination: str
    lane: Lane
    rows: tuple[Row, ...]

    @property
    def spans(self) -> int:
        return sum(row.spans for row in self.rows)


class Settled(Enum):
    """What became of one leased row."""

    DELIVERED = "delivered"
    RELEASED = "released"
    """Definitely not taken: send it again."""
    AMBIGUOUS = "ambiguous"
    """No answer after the body was out: it may have been taken. Send the same bytes again."""


@dataclass(frozen=True, slots=True)
class Buried:
    """The destination will never take this row: it becomes a dead letter."""

    reason: str
    """A bounded label."""
    answer: str
    """What the destination said, shortened."""


Outcome = Settled | Buried


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """What waits for one destination."""

    fresh_rows: int
    fresh_bytes: int
    fresh_spans: int
    backlog_rows: int
    leased_rows: int
    oldest_received_ms: int | None
    """Receipt of the oldest waiting row as far as memory knows; exact for the fresh lane."""
    left_rows: int = 0
    """Rows that were delivered or buried since the start."""

    @property
    def unsent_rows(self) -> int:
        """Rows that could be sent or are being sent; those that settle can't."""
        return self.fresh_rows + self.backlog_rows + self.leased_rows

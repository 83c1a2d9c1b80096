"""What passes between the async shell and the synchronous core. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import NamedTuple

from sidecar.buffer.leases import Append, Buried
from sidecar.errors import BufferFull
from sidecar.wire.rows import NewRow, Row


@dataclass(frozen=True, slots=True)
class InFlight:
    """A range of rows of one destination that is about to be sent."""

    lease_id: int
    destination: str
    first_row: int
    last_row: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of some rows of one lease."""

    lease_id: int
    delivered: tuple[Row, ...] = ()
    ambiguous: tuple[int, ...] = ()
    """Row ids."""
    buried: tuple[tuple[Row, Buried], ...] = ()
    closes: bool = False
    """No row of the lease is left open."""
    keep_spans: int | None = None
    """Of a `local` destination: move delivered rows to where so many spans are kept."""


@dataclass(slots=True)
class Group:
    """All that is committed in one transaction."""

    appends: list[Append] = field(default_factory=list)
    in_flight: list[InFlight] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    hastened: set[bytes] = field(default_factory=set)
    """Trace ids whose settling rows are due at once."""

    def __bool__(self) -> bool:
        return bool(self.appends or self.in_flight or self.settlements or self.hastened)


Stored = int | BufferFull
"""The id of an append's first row (the others follow without gaps), or why it was refused."""


@dataclass(slots=True)
class Totals:
    """What lies in the buffer for one destination."""

    rows: int = 0
    spans: int = 0
    body_bytes: int = 0
    settling: int = 0
    """Rows that are not sealed yet; they are part of ``rows``."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A row that left the buffer without its sender: shed, expired, purged, omitted or quarantined."""

    id: int
    destination: str
    spans: int
    body_bytes: int
    settling: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Rows of the backlog that shall be read."""

    ids: tuple[int, ...]
    last_id: int
    exhausted: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one read of the backlog brought."""

    rows: tuple[Row, ...]
    quarantined: tuple[Gone, ...]
    """Rows whose bytes no longer match their checksum: deleted and counted."""
    last_id: int
    """How far the read came; the next one continues after it."""
    exhausted: bool
    """Nothing of this destination lies after ``last_id``."""


class ShedTrace(NamedTuple):
    """A trace whose rows were shed; what comes of it later should be dropped too."""

    trace_id: bytes
    randomness: int
    spans: int
    """Of these rows."""


class ShedEnd(StrEnum):
    """Why shedding stopped."""

    TARGET = "target"
    """As many bytes as were asked for are free."""
    NOTHING_LEFT = "nothing_left"
    """Whatever else lies below the threshold is spared."""
    DISK = "disk"
    """The disk refused to write. What was shed before is counted and stays shed."""


@dataclass(frozen=True, slots=True)
class Shed:
    """What one call gave up."""

    end: ShedEnd
    rows: int
    spans: int
    body_bytes: int
    """Compressed bytes of bodies that were freed."""
    spans_by_threshold: Mapping[int, int]
    """Spans by the threshold (56 bits) that they had passed before. Exact for the first 256 thresholds; others by their first 8 bits."""
    adjusted_spans: float
    """What they stood for: the sum of spans / (1 - T / 2^56), exact."""
    reached: Mapping[int, int]
    """Priority -> the threshold up to which every trace of this priority that is not spared was shed. What stays has passed it."""
    before_id: int
    """Rows below it were there when shedding began."""


class Omit(Enum):
    """What sealing may say of a row beside its new form."""

    OMIT = "omit"
    """Delete it, counted ``omitted``."""


@dataclass(frozen=True, slots=True)
class SettlingRow:
    """A row that is due to be sealed."""

    id: int
    row: NewRow


class Kind(StrEnum):
    """What an operator can list, export and purge; the values are table names but for pending."""

    PENDING = "pending"
    DEAD = "dead"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows an operator means; everything that is given must match."""

    destination: str | None = None
    trace_id: bytes | None = None
    ids: frozenset[int] | None = None

    def takes(self, row_id: int, destination: str, trace_id: bytes) -> bool:
        return (
            (self.destination is None or self.destination == destination)
            and (self.trace_id is None or self.trace_id == trace_id)
            and (self.ids is None or row_id in self.ids)
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """A row as an operator sees it."""

    row: Row
    intact: bool
    """The bytes match their checksum."""
    state: str = ""
    """settling, sealed or ambiguous (pending rows)."""
    reason: str = ""
    answer: str = ""
    settled_ms: int | None = None
    """When it was buried or delivered."""


@dataclass(frozen=True, slots=True)
class Page:
    """A bounded piece of a listing."""

    rows: tuple[Listed, ...]
    next_after: int | None
    """Where the next page begins; None: this was the last one."""

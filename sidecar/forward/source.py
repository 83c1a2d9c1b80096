"""What the forwarder needs of the buffer, as a Protocol: the buffer is one, and the tests' list in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sidecar.buffer.leases import Lane, LaneStatus, Lease, LeaseLimit, Outcome
from sidecar.wire.rows import NewRow


class Source(Protocol):
    """Rows to send, by destination. A lease ends when each of its rows has its outcome."""

    async def lease(self, destination: str, lane: Lane, limit: LeaseLimit) -> Lease | None:
        """The lane's next rows within ``limit``, at least one; None when there is none."""

    async def delivered(self, lease: Lease) -> None:
        """All rows that the lease still holds were taken."""

    async def release(self, lease: Lease, *, ambiguous: bool) -> None:
        """The rows that the lease still holds wait again; ``ambiguous``: they may have been taken."""

    async def settle(self, lease: Lease, outcomes: Mapping[int, Outcome]) -> None:
        """Row id -> what became of it; the other rows stay leased."""

    async def replace(self, lease: Lease, row_id: int, parts: Sequence[NewRow]) -> Lease:
        """One row becomes several of the same spans; the lease that is returned holds them instead."""

    async def deliver_locally(self, lease: Lease, keep_spans: int) -> None:
        """All rows join the kept ones of a `local` destination, of which the newest ``keep_spans`` stay."""

    def status(self, destination: str) -> LaneStatus:
        """What waits right now."""

    async def wait_for_work(self, destination: str) -> None:
        """Return when a row can be leased, at once if one can."""

"""A lease's rows as a request body, in halves, and how large a body may be. Pure.

A body is the rows' gzip members one after the other: one gzip stream of one merged OTLP request. Nothing
is decompressed or compressed here, and a row's bytes are never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sidecar.wire.rows import Row

PIECE_BYTES = 256 * 1024
"""A body is handed to the socket in pieces of about this size: one copy of a piece at a time, where joining
the whole would hold 3.5 MiB twice for each of the 4 requests in flight, and few enough calls."""

STALLS_TO_SHRINK = 2
GROW_S = 600.0
GROWTH = 1.25
"""A ceiling that was too low by half is back after 40 minutes, at the price of one refused request in that time."""
FLOOR_BYTES = 16 * 1024


def size_of(rows: Sequence[Row]) -> int:
    """Bytes of the body that ``rows`` make."""
    return sum(len(row.body) for row in rows)


def pieces(rows: Sequence[Row]) -> Iterator[bytes]:
    """The body of ``rows``, in order, joined to pieces of about ``PIECE_BYTES``; a larger row is a piece by itself."""
    waiting: list[bytes] = []
    waiting_bytes = 0
    for row in rows:
        if waiting and waiting_bytes + len(row.body) > PIECE_BYTES:
            yield b"".join(waiting)
            waiting, waiting_bytes = [], 0
        waiting.append(row.body)
        waiting_bytes += len(row.body)
    if waiting:
        yield b"".join(waiting)


def halves(rows: Sequence[Row]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """``rows`` (two or more) in two parts of about equal bytes, neither empty."""
    assert len(rows) >= 2
    half, so_far = size_of(rows) / 2, 0
    for cut, row in enumerate(rows[:-1], start=1):
        so_far += len(row.body)
        if so_far >= half:
            return tuple(rows[:cut]), tuple(rows[cut:])
    return tuple(rows[:-1]), tuple(rows[-1:])


class Ceiling:
    """The largest body that a destination takes, learned from its 413s and from uploads that never came through.

    It falls to half of what failed and grows back cautiously, because the limit may have been lifted.
    Times are seconds of a monotonic clock.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.limit_bytes = max_bytes
        self._stalls = 0
        self._grow_at_s = 0.0

    def refused(self, body_bytes: int, now_s: float) -> None:
        """A body of this size was too large."""
        self._stalls = 0
        self.limit_bytes = max(min(self.limit_bytes, body_bytes // 2), min(FLOOR_BYTES, self.max_bytes))
        self._grow_at_s = now_s + GROW_S

    def stalled(self, body_bytes: int, now_s: float) -> bool:
        """The connection was lost, or time was up, while a body of this size was being written. True: smaller ones are due.

        That is what a slow line looks like, and a server that answers 413 and closes before it has read the body.
        """
        self._stalls += 1
        if self._stalls < STALLS_TO_SHRINK or body_bytes <= FLOOR_BYTES:
            return False
        self.refused(body_bytes, now_s)
        return True

    def passed(self, now_s: float) -> None:
        """A body was taken."""
        self._stalls = 0
        if self.limit_bytes < self.max_bytes and now_s >= self._grow_at_s:
            self.limit_bytes = min(self.max_bytes, int(self.limit_bytes * GROWTH))
            self._grow_at_s = now_s + GROW_S

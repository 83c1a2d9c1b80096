"""Thresholds that settling rows passed after they were stored, because the backlog around them was shed. Pure.

Owns who passed which threshold, in memory: a settling row is rewritten once, when it is sealed, and writing it before only
to change one number would write its body once more. It must not know how a threshold is written on spans.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace as changed

from sidecar.wire.rows import NewRow

KEPT = 64
"""Raises that are remembered. One a second is forgotten after a minute; rows settle for some seconds."""


class Raises:
    """The last KEPT raises. After a restart none is known; rows that settled then are sealed as they are anyway."""

    def __init__(self) -> None:
        self._raises: deque[tuple[int, Mapping[int, int]]] = deque(maxlen=KEPT)

    def add(self, before_id: int, thresholds: Mapping[int, int]) -> None:
        """Rows below ``before_id`` have passed the threshold of their priority (56 bits)."""
        self._raises.append((before_id, dict(thresholds)))

    def applied(self, row_id: int, row: NewRow) -> NewRow:
        """The row with the highest threshold that it passed, never a lower one than it has, nor one above its randomness."""
        passed = [
            threshold
            for before_id, thresholds in self._raises
            if row_id < before_id and (threshold := thresholds.get(row.priority, 0)) <= row.randomness
        ]
        highest = max(passed, default=0)
        return changed(row, threshold=highest) if highest > row.threshold else row

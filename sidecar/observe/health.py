"""What /livez and /readyz say. Readiness means that spans can be accepted; it is never tied to Langfuse."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Phase(Enum):
    """The life of the process."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Health:
    """The phase, and checks that can make a ready process refuse traffic."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self._checks: list[Callable[[], str | None]] = []

    def add_check(self, check: Callable[[], str | None]) -> None:
        """``check`` gives why spans can't be accepted right now, or None."""
        self._checks.append(check)

    def refusals(self) -> list[str]:
        """Why spans can't be accepted; empty when they can."""
        if self.phase is not Phase.READY:
            return [self.phase.value]
        return [reason for check in self._checks if (reason := check()) is not None]

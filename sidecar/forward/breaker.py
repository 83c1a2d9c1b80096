"""Whether a destination may be sent to: closed, open, half-open with one probe; and paused until somebody acts.

                failures, or the server asks to wait
        CLOSED ------------------------------------> OPEN <--+
          ^                                           | time |
          |  the probe was answered                   v      | the probe failed
          +---------------------------------------- HALF_OPEN

Paused is open with a reason and rarer probes: Langfuse remembers bad keys for 300 s and every attempt
renews that, so the first probe comes later than that. Pure: time is passed in, chance is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from sidecar.forward.retry import Chance, delay
from sidecar.forward.verdict import PauseReason

FAILURES_TO_OPEN = 3
"""In a row, over all requests: one lost connection among good ones opens nothing."""
PAUSE_PROBE_MAX_S = 3600.0
PAUSE_JITTER = 0.1
"""Probes of a paused destination come up to a tenth later, never earlier."""


class State(Enum):
    """The value is the metric's."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send one request. What came of an older permit says nothing about the present state."""

    epoch: int


class Breaker:
    """The state of one destination. Times are seconds of a monotonic clock."""

    def __init__(self, rng: Chance, *, initial_s: float, max_s: float, pause_probe_s: float) -> None:
        self.state = State.CLOSED
        self.paused: PauseReason | None = None
        self.down_since_s: float | None = None
        """When it last stopped being closed; None while closed."""
        self._rng = rng
        self._initial_s, self._max_s, self._pause_probe_s = initial_s, max_s, pause_probe_s
        self._failures = 0
        self._pauses = 0
        self._not_before_s = -inf
        self._epoch = 0

    def is_closed(self) -> bool:
        """True while everything may be sent."""
        return self.state is State.CLOSED

    def wait_s(self, now_s: float) -> float:
        """Seconds until new work may be sent; infinite while a probe is on its way."""
        return inf if self.state is State.HALF_OPEN else max(0.0, self._not_before_s - now_s)

    def admit(self, now_s: float) -> Permit | None:
        """Leave to send now, or None. While open and due, the one that is given is the probe."""
        if self.state is State.CLOSED:
            return Permit(self._epoch)
        if self.wait_s(now_s) > 0:
            return None
        self._move(State.HALF_OPEN)
        return Permit(self._epoch)

    def honours(self, permit: Permit) -> bool:
        """Whether a permit may still be used: the state is the one that it was given in."""
        return permit.epoch == self._epoch

    def withdraw(self, permit: Permit) -> None:
        """The permit was not used after all: a probe can be had again at once."""
        if permit.epoch == self._epoch and self.state is State.HALF_OPEN:
            self._move(State.OPEN)

    def answered(self, permit: Permit) -> None:
        """The destination took a request, or judged its payload: it is there."""
        if permit.epoch != self._epoch:
            return
        self._failures = self._pauses = 0
        self._not_before_s = -inf
        if self.state is not State.CLOSED:
            self.paused = self.down_since_s = None
            self._move(State.CLOSED)

    def failed(self, permit: Permit, now_s: float, hint_s: float | None) -> None:
        """No answer, or one that asks for another attempt; ``hint_s`` is the server's Retry-After."""
        if permit.epoch != self._epoch:
            return
        self._not_before_s = now_s + delay(self._failures, hint_s, self._rng, self._initial_s, self._max_s)
        self._failures += 1
        if self.state is State.HALF_OPEN or hint_s is not None or self._failures >= FAILURES_TO_OPEN:
            self._open(now_s)

    def pause(self, permit: Permit, now_s: float, reason: PauseReason) -> None:
        """Nothing will be taken until somebody acts: wait for long, probe rarely."""
        if permit.epoch != self._epoch:
            return
        probe_s = min(self._pause_probe_s * 2.0 ** min(self._pauses, 32), max(PAUSE_PROBE_MAX_S, self._pause_probe_s))
        self._not_before_s = now_s + probe_s * (1 + self._rng.uniform(0.0, PAUSE_JITTER))
        self._pauses += 1
        self.paused = reason
        self._open(now_s)

    def resume(self) -> None:
        """Somebody acted (SIGHUP, a changed key file): probe at once, and start the schedules anew."""
        self._failures = self._pauses = 0
        self._not_before_s = -inf

    def _open(self, now_s: float) -> None:
        if self.down_since_s is None:
            self.down_since_s = now_s
        self._move(State.OPEN)

    def _move(self, state: State) -> None:
        self.state = state
        self._epoch += 1

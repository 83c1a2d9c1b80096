"""Destinations and loads on virtual time, for the controller: two lanes before a server of limited speed, measured as the program measures."""

from __future__ import annotations

import random
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.sample.controller import State, Tuning, step
from sidecar.sample.pressure import Pile, SetPoints, Signals, piled_up, pressure

Over = Callable[[float], float]
"""A quantity over time, seconds."""

TUNING, POINTS = Tuning(), SetPoints()
WINDOW_S = 10
"""Signals are the worst of so many seconds, so the controller sees a relief late."""


def always(value: float) -> Over:
    return lambda _: value


@dataclass
class Plant:
    """What is kept waits in the fresh lane while the destination is up, and is backlog when it is down; both share the line when it is back."""

    load: Over
    """Spans a second before sampling."""
    capacity: Over
    """Spans a second that the destination takes; 0: it is down."""
    answer_s: Over = field(default_factory=lambda: always(0.3))
    """Export p95 at little load."""
    intake_ms: Callable[[float, float], float] = lambda _t, _kept: 5.0
    """Intake p95, given the time and the spans kept a second."""
    room_spans: float = 3_000_000.0
    noise: float = 0.1
    seed: int = 1

    fresh: float = 0.0
    backlog: float = 0.0
    refused: float = 0.0
    """Spans for which the buffer had no room."""

    def run(self, seconds: int) -> list[Second]:
        chance = random.Random(self.seed)
        state = State(at_s=0.0)
        behind: deque[float] = deque(maxlen=WINDOW_S)
        taken: deque[float] = deque(maxlen=5)
        best: deque[float] = deque(maxlen=15)
        pile: Pile | None = None
        history = []
        for now in range(1, seconds + 1):
            capacity = self.capacity(now) * (1 + self.noise * chance.uniform(-1, 1))
            kept = self.load(now) * state.probability * (1 + self.noise * chance.uniform(-1, 1))
            kept = self._admit(kept)
            before = self.fresh + self.backlog + kept
            delay = self._serve(kept, capacity)
            up = capacity > 0
            waiting = self.fresh + self.backlog
            if up:
                taken.append(before - waiting)
                best.append(statistics.mean(taken))
                pile, late = piled_up(pile, waiting, max(best), now)
                behind.append(late)
            else:
                pile = None
                behind.clear()
            signals = Signals(
                intake_p95_ms=self.intake_ms(now, kept),
                loop_lag_ms=2.0,
                delivery_delay_s=max(behind) if up else None,
                export_p95_s=self.answer_s(now) if up else None,
                in_flight_fraction=0.1,
                buffer_fill=waiting / self.room_spans,
                drain_s=waiting / capacity if up else None,
            )
            felt = pressure(signals, POINTS)
            state = step(state, felt.value, float(now), TUNING)
            history.append(Second(now, state.probability, felt.value, delay, waiting, kept))
        return history

    def _admit(self, kept: float) -> float:
        room = self.room_spans - self.fresh - self.backlog
        if kept > room:
            self.refused += kept - room
        return min(kept, room)

    def _serve(self, kept: float, capacity: float) -> float:
        """The delay on the fresh lane."""
        self.fresh += kept
        if capacity <= 0:
            self.backlog += self.fresh
            self.fresh = 0.0
            return 0.0
        for_fresh = capacity / 2 if self.backlog else capacity
        sent = min(self.fresh, for_fresh)
        self.fresh -= sent
        self.backlog = max(0.0, self.backlog - (capacity - sent))
        return 1.0 + self.fresh / for_fresh


@dataclass(frozen=True)
class Second:
    """What was seen in one second."""

    at_s: int
    probability: float
    pressure: float
    delay_s: float
    waiting: float
    kept: float


def between(history: list[Second], start_s: float, end_s: float) -> list[Second]:
    return [each for each in history if start_s < each.at_s <= end_s]


def span_of(history: list[Second]) -> tuple[float, float]:
    """Least and greatest probability."""
    return min(each.probability for each in history), max(each.probability for each in history)

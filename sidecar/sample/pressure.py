"""How hard the program is pressed: measured signals, each divided by its set-point, and the worst of them. Pure.

Owns what counts as pressure and what does not. It must not measure, and not decide what follows from pressure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

HIGHEST = 100.0
"""Pressure is not told apart beyond this; the floor of the keep probability is reached long before."""


class Signal(StrEnum):
    """What presses. A metric label."""

    NONE = "none"
    INTAKE = "intake"
    LOOP = "loop"
    DELAY = "delay"
    EXPORT = "export"
    IN_FLIGHT = "in_flight"
    BUFFER = "buffer"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Signals:
    """What was measured over the last seconds; None where nothing was, or where it must not count."""

    intake_p95_ms: float | None = None
    """From the first byte of a body to its answer."""
    loop_lag_ms: float | None = None
    """How late the event loop is, worst of the window."""
    delivery_delay_s: float | None = None
    """How far delivery fell behind while the destination was up, as ``piled_up`` gives it. None while it is down: an outage is
    no pressure. A destination that answers 429 is up."""
    export_p95_s: float | None = None
    """From the first byte of a batch to its answer. None while the destination is down."""
    in_flight_fraction: float | None = None
    """Bytes of requests being processed, of their budget."""
    buffer_fill: float | None = None
    """Bytes waiting, of the buffer's bound."""
    drain_s: float | None = None
    """How long the backlog will take at the present rate. None while nothing is delivered."""


@dataclass(frozen=True, slots=True)
class SetPoints:
    """Where pressure is 1 for each signal."""

    max_latency_ms: float = 100.0
    max_loop_lag_ms: float = 100.0
    max_delay_s: float = 10.0
    max_export_s: float = 15.0
    in_flight_fraction: float = 0.8
    buffer_fill: float = 0.8
    """From here the buffer nears its bound: pressure rises from 1 here to ``FULL_PRESSURE`` at ``buffer_full``."""
    buffer_full: float = 0.98
    max_drain_s: float = 36 * 3600.0
    """Half of the age at which rows are given up."""


FULL_PRESSURE = 5.0
"""Of a full buffer: with the controller's exponent of 3 it asks for less than a hundredth."""


class Pressure(NamedTuple):
    """0 is none, 1 is at the set-point of the worst signal."""

    value: float
    worst: Signal
    by_signal: Mapping[Signal, float]
    """Only signals that were measured."""


def pressure(signals: Signals, points: SetPoints) -> Pressure:
    """The worst of the normalised signals."""
    measured: dict[Signal, float] = {}
    for signal, value, set_point in (
        (Signal.INTAKE, signals.intake_p95_ms, points.max_latency_ms),
        (Signal.LOOP, signals.loop_lag_ms, points.max_loop_lag_ms),
        (Signal.DELAY, signals.delivery_delay_s, points.max_delay_s),
        (Signal.EXPORT, signals.export_p95_s, points.max_export_s),
        (Signal.IN_FLIGHT, signals.in_flight_fraction, points.in_flight_fraction),
        (Signal.DRAIN, signals.drain_s, points.max_drain_s),
    ):
        if value is not None:
            measured[signal] = _bounded(value / set_point)
    if signals.buffer_fill is not None:
        measured[Signal.BUFFER] = _bounded(_of_fill(signals.buffer_fill, points))
    if not measured:
        return Pressure(0.0, Signal.NONE, measured)
    worst = max(measured, key=measured.__getitem__)
    return Pressure(measured[worst], worst, measured)


class Pulse(NamedTuple):
    """How one destination does, as its sender knows it."""

    name: str
    is_up: bool
    """It takes spans, if slowly. One that answers 429 is up."""
    export_p95_s: float | None = None
    """Of its answers in the last half minute; None: there were too few."""


@dataclass(frozen=True, slots=True)
class Pile:
    """The least that has waited since the destination came up, and when that was."""

    least_spans: float
    at_s: float


BURST = 3.0
"""A burst that is delivered within 3 s stays under a set-point of 10 s; ten times the load reaches it after 4 s."""


def piled_up(pile: Pile | None, waiting_spans: float, delivered_per_s: float, now_s: float) -> tuple[Pile, float]:
    """How far delivery has fallen behind since the destination came up, in seconds of its present speed; for ``Signals.delivery_delay_s``.

    ``pile`` is what the last call gave, None when the destination has just come up. ``waiting_spans`` are all that could be sent,
    fresh rows and backlog (not those that settle). So a backlog that shrinks is no pressure however old and large it is, and one that grows is,
    whichever lane its rows are in. ``delivered_per_s`` is the best average of five seconds in the last fifteen. A burst that has just come has
    hurt nobody yet: it counts for at most ``BURST`` times the time since the least.
    """
    if pile is None or waiting_spans <= pile.least_spans:
        return Pile(waiting_spans, now_s), 0.0
    behind_s = (waiting_spans - pile.least_spans) / delivered_per_s if delivered_per_s > 0 else HIGHEST * HIGHEST
    return pile, min(behind_s, BURST * (now_s - pile.at_s))


def _of_fill(fill: float, points: SetPoints) -> float:
    """A level, not a delay: half full is no trouble, and between near and full there is little room to react in."""
    if fill <= points.buffer_fill:
        return fill / points.buffer_fill
    return 1 + (FULL_PRESSURE - 1) * (fill - points.buffer_fill) / (points.buffer_full - points.buffer_fill)


def _bounded(value: float) -> float:
    return 0.0 if math.isnan(value) else min(max(value, 0.0), HIGHEST)

"""From pressure to a keep probability: cut at once and in proportion, recover slowly and after a dwell. Pure.

Owns the control law and its state, which is a value. It must not know where pressure comes from, nor what a trace is.

The law is proportional: above the set-point the probability aimed at is ``pressure ** -exponent``. A queue before a slow
destination integrates by itself, so this is stable and comes to rest where what is kept is what can be taken, at a delay
somewhat over the set-point: three times the load rests at 3 ** (1/3) = 1.44 set-points. An integrating law would rest at the set-point, but
run down to its floor on any signal that keeping less does not improve (a server that is slow for others).
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Tuning:
    """The constants of the law."""

    floor: float = 0.01
    """The lowest keep probability."""
    exponent: float = 3.0
    cut_per_s: float = 0.5
    """The probability is multiplied at most by this in a second, so that one bad second halves it and no more."""
    dwell_s: float = 10.0
    """How long pressure must have asked for no less before the probability rises."""
    growth_per_s: float = 1.03
    """The probability is multiplied by this in a second while it rises: from the floor to 1 in 156 s."""
    max_step_s: float = 5.0
    """A longer time since the last step (a machine that slept) counts as this."""


@dataclass(frozen=True, slots=True)
class State:
    """What the controller knows. ``probability`` is its output, 0 < p <= 1; exactly 1 when everything is kept."""

    at_s: float
    """Monotonic time of the last step."""
    probability: float = 1.0
    asked_since_s: float | None = None
    """Since when pressure would allow more than ``probability``; None: it does not."""


def aim(pressure: float, tuning: Tuning) -> float:
    """The probability that this pressure asks for."""
    return 1.0 if pressure <= 1 else float(max(tuning.floor, pressure**-tuning.exponent))


def step(state: State, pressure: float, now_s: float, tuning: Tuning) -> State:
    """The state after ``now_s``; call it about once a second. A time that is not later changes nothing."""
    elapsed_s = min(now_s - state.at_s, tuning.max_step_s)
    if elapsed_s <= 0:
        return state
    target = aim(pressure, tuning)
    if target <= state.probability:
        cut = state.probability * tuning.cut_per_s**elapsed_s
        # At the goal the dwell has nothing to wait for; at 1 there is nothing to rise to.
        return State(now_s, max(target, cut))
    since_s = now_s if state.asked_since_s is None else state.asked_since_s
    if now_s - since_s < tuning.dwell_s:
        return replace(state, at_s=now_s, asked_since_s=since_s)
    return State(now_s, min(target, state.probability * tuning.growth_per_s**elapsed_s), since_s)

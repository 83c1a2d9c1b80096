"""Pressure: what counts, what does not, and which signal is worst."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sample.pressure import FULL_PRESSURE, HIGHEST, SetPoints, Signal, Signals, piled_up, pressure

POINTS = SetPoints()


@pytest.mark.parametrize(
    ("signals", "signal"),
    [
        (Signals(intake_p95_ms=100), Signal.INTAKE),
        (Signals(loop_lag_ms=100), Signal.LOOP),
        (Signals(delivery_delay_s=10), Signal.DELAY),
        (Signals(export_p95_s=15), Signal.EXPORT),
        (Signals(in_flight_fraction=0.8), Signal.IN_FLIGHT),
        (Signals(buffer_fill=0.8), Signal.BUFFER),
        (Signals(drain_s=36 * 3600), Signal.DRAIN),
    ],
)
def test_each_signal_is_1_at_its_set_point(signals: Signals, signal: Signal) -> None:
    found = pressure(signals, POINTS)

    assert found.value == pytest.approx(1)
    assert found.worst is signal
    assert list(found.by_signal) == [signal]


def test_the_worst_signal_counts_and_all_are_told() -> None:
    found = pressure(Signals(intake_p95_ms=50, delivery_delay_s=30, export_p95_s=15), POINTS)

    assert (found.value, found.worst) == (3, Signal.DELAY)
    assert found.by_signal == {Signal.INTAKE: 0.5, Signal.DELAY: 3, Signal.EXPORT: 1}


def test_set_points_move_the_scale() -> None:
    assert pressure(Signals(intake_p95_ms=100), SetPoints(max_latency_ms=50)).value == 2


def test_nothing_measured_is_no_pressure() -> None:
    assert pressure(Signals(), POINTS) == (0.0, Signal.NONE, {})


def test_a_plain_outage_is_no_pressure_until_the_buffer_nears_its_bound() -> None:
    """While the destination is down nothing is known of delays and of draining."""
    fills = [fill / 100 for fill in range(101)]
    found = [pressure(Signals(intake_p95_ms=5, buffer_fill=fill), POINTS).value for fill in fills]

    assert all(value <= 1 for fill, value in zip(fills, found, strict=True) if fill <= 0.8)
    assert found == sorted(found)
    assert found[98] == pytest.approx(FULL_PRESSURE)


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=7, max_size=7))
def test_whatever_is_measured_pressure_is_between_0_and_its_highest(values: list[float | None]) -> None:
    found = pressure(Signals(*values), POINTS)

    assert 0 <= found.value <= HIGHEST
    assert not any(math.isnan(each) for each in found.by_signal.values())
    assert found.value == max(found.by_signal.values(), default=0.0)


def test_a_backlog_that_shrinks_is_not_behind_however_large_it_is() -> None:
    pile = None
    for now in range(100):
        pile, behind_s = piled_up(pile, 1_000_000 - 50 * now, 1000, now)
        assert behind_s == 0


def test_what_piles_up_while_the_destination_is_up_is_behind_by_its_own_speed() -> None:
    pile, _ = piled_up(None, 500_000, 1000, 0)

    assert piled_up(pile, 504_000, 1000, 60)[1] == 4
    assert piled_up(pile, 504_000, 0, 60)[1] == 180


def test_a_burst_counts_for_little_more_than_the_time_it_has_been_there() -> None:
    pile, _ = piled_up(None, 0, 10, 100)

    assert piled_up(pile, 5000, 10, 101)[1] == 3

"""The controller, alone and before destinations in trouble, over hours of virtual time. Each bound that is promised stands here."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sample.controller import State, Tuning, aim, step
from tests.sample.plants import Plant, always, between, span_of

TUNING = Tuning()
HOUR = 3600
CAPACITY = 1000.0


def test_up_to_the_set_point_everything_is_kept() -> None:
    state = State(at_s=0)
    for now in range(1, 100):
        state = step(state, 1.0, now, TUNING)

    assert state.probability == 1


def test_a_cut_is_in_proportion_and_at_most_a_half_a_second() -> None:
    assert step(State(at_s=0), 1.1, 1, TUNING).probability == pytest.approx(1.1**-3)
    assert step(State(at_s=0), 50, 1, TUNING).probability == 0.5
    assert step(State(at_s=0), 50, 2, TUNING).probability == 0.25


def test_it_rises_after_the_dwell_and_slowly_to_exactly_1() -> None:
    state = State(at_s=0, probability=0.5)
    seen = []
    for now in range(1, 60):
        state = step(state, 0.2, now, TUNING)
        seen.append(state.probability)

    assert seen[:10] == [0.5] * 10
    assert seen[10] == pytest.approx(0.5 * 1.03)
    assert all(after <= before * 1.0301 for before, after in itertools.pairwise(seen))
    assert seen[-1] == 1


def test_pressure_that_returns_starts_the_dwell_anew() -> None:
    state = State(at_s=0, probability=0.5)
    for now in range(1, 200):
        state = step(state, 3.0 if now % 9 == 0 else 0.1, now, TUNING)

    assert state.probability < 0.5


@given(st.floats(0, 100), st.floats(0.01, 1), st.lists(st.tuples(st.floats(-10, 1e6), st.floats(0, 100)), max_size=30))
def test_the_probability_stays_between_its_floor_and_1_whatever_clock_and_pressure_do(
    first: float, probability: float, steps: list[tuple[float, float]]
) -> None:
    state = step(State(at_s=0, probability=probability), first, 1.0, TUNING)
    for later_s, value in steps:
        before, state = state, step(state, value, state.at_s + later_s, TUNING)
        assert state.at_s >= before.at_s
        assert TUNING.floor <= state.probability <= 1
        assert state.probability >= min(before.probability, aim(value, TUNING))


@pytest.mark.parametrize(("factor", "settled_s", "worst_delay_s"), [(2, 60, 17), (3, 60, 20), (10, 180, 55)])
def test_a_step_load_settles_in_one_to_three_minutes_and_swings_by_no_more_than_a_factor_of_two(
    factor: int, settled_s: int, worst_delay_s: float
) -> None:
    plant = Plant(lambda now: CAPACITY * factor if HOUR < now <= 2 * HOUR else 300, always(CAPACITY))
    history = plant.run(3 * HOUR)
    ideal = 1 / factor

    assert span_of(between(history, 0, HOUR)) == (1, 1)
    low, high = span_of(between(history, HOUR + settled_s, 2 * HOUR))
    assert ideal / 2 <= low
    assert high <= ideal * 2
    assert statistics.mean(each.probability for each in between(history, HOUR + settled_s, 2 * HOUR)) == pytest.approx(ideal, rel=0.05)
    assert max(each.delay_s for each in history) < worst_delay_s
    assert span_of(between(history, 2 * HOUR + 200, 3 * HOUR)) == (1, 1)


def test_a_fifty_fold_load_is_cut_to_a_tenth_within_ten_seconds_of_the_first_delay() -> None:
    history = Plant(lambda now: CAPACITY * 50 if 600 < now <= 1500 else 300, always(CAPACITY)).run(2000)
    first = next(each.at_s for each in history if each.pressure > 1)

    assert history[first + 9].probability <= 0.1
    assert span_of(between(history, 1800, 2000)) == (1, 1)


def test_a_ramp_is_followed() -> None:
    history = Plant(lambda now: 300 + min(now, HOUR), always(CAPACITY)).run(3 * HOUR)

    assert span_of(between(history, 0, 600)) == (1, 1)
    for start in range(1200, 3 * HOUR, 600):
        window = between(history, start, start + 600)
        ideal = CAPACITY / (300 + min(start + 300, HOUR))
        assert statistics.mean(each.probability for each in window) == pytest.approx(ideal, rel=0.15)
        assert max(each.delay_s for each in window) < 20


def test_a_slow_langfuse_that_takes_everything_costs_in_proportion_and_not_down_to_the_floor() -> None:
    """Answers take 20 s, whatever is sent: the set-point is 15 s."""
    history = Plant(always(300), always(CAPACITY), answer_s=lambda now: 20.0 if HOUR < now <= 2 * HOUR else 0.3).run(3 * HOUR)

    low, high = span_of(between(history, HOUR + 10, 2 * HOUR))
    assert low == high == pytest.approx((15 / 20) ** 3)
    assert span_of(between(history, 2 * HOUR + 60, 3 * HOUR)) == (1, 1)


def test_a_storm_of_429_keeps_what_is_taken_and_ends() -> None:
    """Every other minute six in ten are turned away."""
    plant = Plant(always(900), lambda now: 400 if HOUR < now <= 2 * HOUR and (now // 60) % 2 else CAPACITY)
    history = plant.run(3 * HOUR)
    storm = between(history, HOUR, 2 * HOUR)

    assert span_of(storm)[0] >= 0.1
    assert statistics.mean(each.kept for each in storm) >= 0.6 * 700
    assert max(each.delay_s for each in storm) < 30
    assert span_of(between(history, 2 * HOUR + 180, 3 * HOUR)) == (1, 1)


def test_a_plain_outage_of_ten_minutes_samples_nothing() -> None:
    history = Plant(always(900), lambda now: 0 if HOUR < now <= HOUR + 600 else CAPACITY).run(3 * HOUR)

    assert span_of(history) == (1, 1)


def test_a_long_outage_thins_out_before_the_buffer_is_full_and_recovers() -> None:
    plant = Plant(always(300), lambda now: 0 if HOUR < now <= 6 * HOUR else CAPACITY)
    history = plant.run(10 * HOUR)
    outage = between(history, HOUR, 6 * HOUR)

    assert plant.refused == 0
    assert all(each.probability == 1 for each in outage if each.waiting <= 0.8 * plant.room_spans)
    assert min(each.probability for each in outage) < 0.1
    assert max(each.waiting for each in history) < 0.98 * plant.room_spans
    assert span_of(between(history, 7 * HOUR, 10 * HOUR)) == (1, 1)


def test_flapping_does_not_rock_it() -> None:
    """Half a minute up, half a minute down, for four hours, at nine tenths of the capacity."""
    plant = Plant(always(900), lambda now: 0 if (now // 30) % 2 else CAPACITY)
    history = plant.run(4 * HOUR)

    low, high = span_of(between(history, 120, 4 * HOUR))
    assert low >= 0.3 and high <= 1
    changes = [abs(after.probability - before.probability) for before, after in itertools.pairwise(history)]
    assert statistics.mean(changes) < 0.03
    assert plant.refused == 0


def test_latency_that_sampling_relieves_comes_to_rest_near_its_set_point() -> None:
    plant = Plant(always(3000), always(1e6), intake_ms=lambda _now, kept: 20 + max(0.0, kept - 500) * 0.3)
    history = plant.run(2 * HOUR)

    low, high = span_of(between(history, 60, 2 * HOUR))
    assert high / low <= 2.5
    assert statistics.median(each.pressure for each in between(history, 60, 2 * HOUR)) <= 1.5

"""Budgets as a cap of the keep probability, and what keep rules may take."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sample.budget import DAY_S, LEAST, Allowance, Budget, Capacity, Minimums, Spending, advance, cap, daily, monthly


def spend(budget: Budget, offered_per_s: list[float], step_s: float) -> list[float]:
    """What is kept in each step, with chance deciding trace by trace."""
    chance = random.Random(3)
    spending, kept_in = Spending(at_s=0), []
    for number, rate in enumerate(offered_per_s, 1):
        offered = rate * step_s
        p = cap(spending, budget)
        kept = offered if p == 1 else max(0.0, chance.gauss(offered * p, (offered * p * (1 - p)) ** 0.5))
        spending = advance(spending, budget, offered, kept, number * step_s)
        kept_in.append(kept)
    return kept_in


def test_what_is_offered_within_the_budget_is_kept() -> None:
    budget = monthly(1_000_000)

    assert sum(spend(budget, [0.3] * 31 * 24 * 12, 300)) == pytest.approx(0.3 * 31 * DAY_S)


@pytest.mark.parametrize("shape", ["even", "office hours", "one bad day"])
def test_no_month_gets_more_than_its_budget_and_most_of_it_is_used(shape: str) -> None:
    steps_a_day = 24 * 12
    rates = {
        "even": [2.0] * 62 * steps_a_day,
        "office hours": ([0.0] * (8 * 12) + [4.0] * (10 * 12) + [0.0] * (6 * 12)) * 62,
        "one bad day": [0.2] * 30 * steps_a_day + [50.0] * steps_a_day + [0.2] * 31 * steps_a_day,
    }[shape]
    kept = spend(monthly(1_000_000), rates, 300)
    window = 31 * steps_a_day
    worst = max(sum(kept[start : start + window]) for start in range(0, len(kept) - window + 1, steps_a_day))

    assert worst <= 1_000_000 * 1.005
    if shape != "one bad day":
        assert worst >= 900_000


def test_bytes_a_day_are_spread_over_the_day() -> None:
    kept = spend(daily(24e6), [5000.0] * 2880, 60)
    hours = [sum(kept[start : start + 60]) for start in range(0, len(kept), 60)]

    assert sum(kept[-1440:]) <= 24e6 * 1.005
    assert max(hours[1:]) <= 1.2e6


def test_an_overspent_budget_still_lets_a_little_through() -> None:
    spending = Spending(at_s=0, saved=-1e9, offered_per_s=10)

    assert cap(spending, daily(1000)) == LEAST


def test_nothing_is_saved_up_beyond_the_burst_nor_lost_when_the_clock_stands() -> None:
    budget = daily(25_000)
    rested = advance(Spending(at_s=0), budget, 0, 0, 30 * DAY_S)

    assert rested.saved == pytest.approx(budget.per_s * 3600)
    assert advance(rested, budget, 5, 5, rested.at_s).saved == pytest.approx(rested.saved - 5)


def test_rules_take_what_is_there_and_errors_its_last_quarter() -> None:
    allowance = Allowance(Capacity(spans_per_s=10, burst_s=10), now_s=0)

    assert [allowance.take(25, 0, urgent=False) for _ in range(4)] == [True, True, True, False]
    assert allowance.take(25, 0, urgent=True)
    assert not allowance.take(1, 0, urgent=True)
    assert allowance.take(1, 0.1, urgent=True)


def test_debt_is_bounded_and_is_paid_back() -> None:
    allowance = Allowance(Capacity(spans_per_s=10, burst_s=10), now_s=0)
    allowance.spend(10**9)

    assert allowance.level_spans == -600
    assert not allowance.take(1, 60, urgent=True)
    assert allowance.take(1, 60.1, urgent=True)


def test_the_rate_is_a_share_of_what_the_destination_took() -> None:
    allowance = Allowance(Capacity(), now_s=0)
    assert allowance.level_spans == 500

    allowance.use_rate(1000)
    allowance.spend(500)
    assert allowance.take(1, 1, urgent=True)
    assert allowance.level_spans == pytest.approx(799)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 2), st.booleans()), max_size=200))
def test_granted_spans_stay_within_rate_and_burst(wishes: list[tuple[int, float, bool]]) -> None:
    allowance = Allowance(Capacity(spans_per_s=20, burst_s=5), now_s=0)
    now, granted = 0.0, 0
    for spans, later_s, urgent in wishes:
        now += later_s
        granted += spans if allowance.take(spans, now, urgent=urgent) else 0

    assert granted <= 20 * now + 100 + 50


def test_each_agent_has_its_minimum() -> None:
    minimums = Minimums(per_minute=2)
    minimums.took("a", 0)

    assert not minimums.due("a", 29.9)
    assert minimums.due("a", 30)
    assert minimums.due("b", 0)


def test_agents_beyond_the_bound_share_one_minimum() -> None:
    minimums = Minimums(per_minute=1)
    for number in range(Minimums.AGENTS + 50):
        agent = f"agent-{number}"
        assert minimums.due(agent, 0) == (number <= Minimums.AGENTS)
        if minimums.due(agent, 0):
            minimums.took(agent, 0)

    assert not minimums.due("yet another", 59)
    assert minimums.due("yet another", 60)


def test_a_minimum_of_none_is_never_due() -> None:
    assert not Minimums(per_minute=0).due("a", 1e9)

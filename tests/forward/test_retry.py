"""Delays between attempts."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.forward.retry import delay

DAY_S = 86_400.0


@given(st.integers(0, 10_000), st.integers())
def test_a_delay_is_never_over_the_maximum_nor_over_the_doubled_initial_one(attempt: int, seed: int) -> None:
    seconds = delay(attempt, None, random.Random(seed), initial_s=1, max_s=60)

    assert 0 <= seconds <= min(60, 2 ** min(attempt, 10))


@given(st.integers(0, 100), st.floats(0, 3600), st.integers())
def test_a_hint_of_the_server_wins_and_is_never_undercut(attempt: int, hint_s: float, seed: int) -> None:
    seconds = delay(attempt, hint_s, random.Random(seed), initial_s=1, max_s=60)

    assert hint_s <= seconds <= hint_s + 1


def test_a_day_of_outage_takes_a_bounded_number_of_attempts() -> None:
    """With full jitter the mean delay is half of the maximum: 2,880 attempts a day at 60 s, one in 30 s."""
    rng, now_s, attempts = random.Random(1), 0.0, 0
    while now_s < DAY_S:
        now_s += delay(attempts, None, rng, initial_s=1, max_s=60)
        attempts += 1

    assert 2_700 < attempts < 3_100


def test_clients_that_fail_together_come_back_apart() -> None:
    delays = [delay(5, None, random.Random(seed), initial_s=1, max_s=60) for seed in range(100)]

    assert len({round(each) for each in delays}) > 20


def test_clients_of_one_rate_limit_come_back_apart() -> None:
    assert len({delay(0, 30, random.Random(seed), initial_s=1, max_s=60) for seed in range(50)}) == 50

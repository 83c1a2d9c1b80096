"""Quantiles over the last seconds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sample.window import Window


@given(st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_right_to_six_percent(values: list[float], share: float) -> None:
    window = Window()
    for value in values:
        window.add(value, 5.5)

    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert window.quantile(share, 6.0) == pytest.approx(exact, rel=0.0626)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = Window(seconds=10)
    window.add(100, 0.9)
    window.add(1, 5)

    assert window.quantile(1.0, 9.9) == pytest.approx(100, rel=0.07)
    assert window.quantile(1.0, 10.0) == pytest.approx(1, rel=0.07)
    assert window.quantile(1.0, 15.0) is None
    window.add(3, 100)
    assert window.quantile(0.01, 100) == pytest.approx(3, rel=0.07)


def test_one_slow_value_among_twenty_is_no_tendency() -> None:
    window = Window(least=20)
    window.add(9.0, 0)
    assert window.quantile(0.95, 0) is None
    for _ in range(19):
        window.add(0.01, 0)

    assert window.quantile(0.95, 0) == pytest.approx(0.01, rel=0.07)


def test_nothing_and_less_than_nothing_are_values_too() -> None:
    window = Window()
    for value in (0.0, -1.0):
        window.add(value, 0)

    assert window.quantile(1.0, 0) == pytest.approx(1e-6, rel=0.07)

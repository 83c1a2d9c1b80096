from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.buffer.flow import SILENT_S, WINDOW_S, Flow


@given(st.floats(0.01, 10), st.integers(1, 1000), st.floats(1.0, 300.0))
def test_a_steady_stream_shows_its_speed_from_the_first_seconds_on(step_s: float, rows: int, lasts_s: float) -> None:
    flow = Flow()
    now_s = 1000.0
    for _ in range(max(2, int(lasts_s / step_s)) if step_s > 0.1 else 100):
        flow.left(now_s, rows, 10 * rows)
        now_s += step_s

    if now_s - 1000.0 > 1:
        assert flow.rows_per_s(now_s) == pytest.approx(rows / step_s, rel=0.25)
        assert flow.bytes_per_s(now_s) == pytest.approx(10 * flow.rows_per_s(now_s))


def test_a_change_of_speed_shows_by_two_thirds_after_the_window() -> None:
    flow = Flow()
    for second in range(300):
        flow.left(second, 100, 0)
    for second in range(300, 300 + int(WINDOW_S)):
        flow.left(second, 10, 0)

    assert flow.rows_per_s(300 + WINDOW_S) == pytest.approx(10 + 90 / 2.718, rel=0.05)


def test_settlements_that_let_nothing_go_are_silence() -> None:
    flow = Flow()
    for second in range(60):
        flow.left(second, 10, 1000)
    for second in range(60, 600, 10):
        flow.left(second, 0, 0)

    assert flow.drain_s(600, 60_000) is None


def test_the_drain_time_is_what_waits_over_the_speed() -> None:
    flow = Flow()
    for second in range(120):
        flow.left(second, 1, 1_000_000)

    assert flow.drain_s(120, 60_000_000) == pytest.approx(60, rel=0.05)
    assert flow.drain_s(120, 0) == 0.0


def test_without_deliveries_the_speed_is_unknown_and_begins_anew() -> None:
    flow = Flow()
    unknown = [flow.drain_s(0, 1)]
    flow.left(0, 1000, 1000)
    known = flow.drain_s(1, 1)
    unknown.append(flow.drain_s(1 + SILENT_S, 1))
    flow.left(10_000, 3, 3)

    assert unknown == [None, None]
    assert known is not None
    assert flow.rows_per_s(10_000) == pytest.approx(3, rel=0.05), "a first batch is the work of a second"

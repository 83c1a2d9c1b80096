"""How far delivery fell behind, as seen once a second."""

from __future__ import annotations

import pytest

from sidecar.sample.delay import Delay
from sidecar.sample.pressure import BURST


def watch(delay: Delay, seconds: range, *, load: float, speed: float, waiting: float = 0.0, left: float = 0.0) -> tuple[float | None, float, float]:
    """``load`` rows come and up to ``speed`` leave each second; gives the last delay, what waits and what left."""
    behind: float | None = None
    for now in seconds:
        taken = min(waiting + load, speed)
        waiting, left = waiting + load - taken, left + taken
        behind = delay.look(is_up=True, unsent=round(waiting), left=round(left), now_s=now)
    return behind, waiting, left


def test_what_is_delivered_as_it_comes_is_no_delay() -> None:
    assert watch(Delay(), range(60), load=100, speed=500)[0] == 0


def test_three_times_the_load_falls_behind_by_two_seconds_a_second() -> None:
    delay = Delay()
    _, waiting, left = watch(delay, range(20), load=100, speed=100)
    behind, _, _ = watch(delay, range(20, 30), load=300, speed=100, waiting=waiting, left=left)

    assert behind == pytest.approx(20, rel=0.05)
    assert delay.rows_per_s == pytest.approx(100, rel=0.05)


def test_a_backlog_that_shrinks_is_no_delay() -> None:
    assert watch(Delay(), range(60), load=100, speed=500, waiting=1_000_000)[0] == 0


def test_an_outage_is_no_delay_and_what_piled_up_in_it_is_none_when_it_is_over() -> None:
    delay = Delay()
    _, _, left = watch(delay, range(20), load=100, speed=500)
    assert delay.look(is_up=False, unsent=5000, left=round(left), now_s=20) is None

    assert watch(delay, range(21, 40), load=100, speed=500, waiting=50_000, left=left)[0] == 0


def test_a_destination_that_is_gone_without_a_word_is_no_delay() -> None:
    """For five seconds it may be slow; then nobody knows, and after ten more nothing is claimed."""
    delay = Delay()
    _, _, left = watch(delay, range(20), load=100, speed=500)
    seen = [delay.look(is_up=True, unsent=100 * (now - 19), left=round(left), now_s=now) for now in range(20, 40)]

    assert max(each for each in seen if each is not None) <= 5
    assert seen[-1] is None


def test_a_burst_counts_by_the_time_since_it_came() -> None:
    delay = Delay()
    _, _, left = watch(delay, range(20), load=100, speed=100)

    assert delay.look(is_up=True, unsent=100_000, left=round(left) + 100, now_s=20) == BURST

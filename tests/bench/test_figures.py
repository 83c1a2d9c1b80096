from __future__ import annotations

import pytest

from bench.figures import Figure, percentile, report, slope


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "missed"),
    [
        (100, 100, False, False),
        (119, 100, False, False),
        (121, 100, False, True),
        (1, 0, False, True),
        (0, 0, False, False),
        (84, 100, True, False),
        (83, 100, True, True),
        (500, 100, True, False),
    ],
)
def test_a_budget_is_missed_by_more_than_a_fifth(value: float, limit: float, at_least: bool, missed: bool) -> None:
    assert Figure("it", value, "us", limit, at_least=at_least).missed is missed


def test_a_report_shows_every_figure_and_fails_for_one_missed(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([Figure("shown", 7, "MiB"), Figure("held", 1, "us", 2)])
    assert not report([Figure("held", 1, "us", 2), Figure("bad", 9, "us", 2)])

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["shown", "held", "held", "bad"]
    assert lines[3].endswith("MISSED")


def test_the_slope_is_that_of_a_straight_line() -> None:
    assert slope([(0, 5), (1, 8), (2, 11), (4, 17)]) == pytest.approx(3)
    assert slope([(0, 1), (0, 2)]) == slope([]) == 0


def test_the_slope_of_noise_about_a_line_is_the_lines() -> None:
    assert slope([(x, 2 * x + (1 if x % 2 else -1)) for x in range(101)]) == pytest.approx(2, abs=0.01)


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 0.99) == 3
    assert percentile([], 0.5) == 0

"""The price table: when a price holds, and which model a spelling means."""

from __future__ import annotations

import datetime as dt

import pytest

from sidecar.enrich.price_table import Entry, Models, Price, Rates, matcher

DAY = dt.date(2026, 1, 1)


def entries(**matches: list[str | list[str]]) -> Models:
    return Models([Entry(id=name, match=list(clauses)) for name, clauses in matches.items()])


def found(models: Models, spelling: str) -> str | None:
    entry = models.find(spelling)
    return None if entry is None else entry.id


@pytest.mark.parametrize(
    ("clause", "matching", "other"),
    [
        ("=gpt-4o", "gpt-4o", "gpt-4o-mini"),
        ("^gpt-4o", "gpt-4o-mini", "a-gpt-4o"),
        ("$-mini", "gpt-4o-mini", "gpt-4o-mini-1"),
        ("~4o", "gpt-4o-mini", "gpt-4"),
        (r"/^o[134]", "o3-mini", "so3"),
        (["^gemini", r"/^(?!.*-tts)"], "gemini-2.5", "gemini-2.5-tts"),
    ],
)
def test_a_clause_says_which_spellings_it_means(clause: str | list[str], matching: str, other: str) -> None:
    assert matcher(clause)(matching)
    assert not matcher(clause)(other)


def test_the_first_model_that_matches_wins_whether_by_name_or_by_pattern() -> None:
    models = entries(first=["^gpt"], second=["=gpt-4o"])
    turned = entries(first=["=gpt-4o"], second=["^gpt"])

    assert found(models, "gpt-4o") == "first"
    assert found(turned, "gpt-4o") == "first"
    assert found(turned, "gpt-5") == "second"
    assert found(turned, "o3") is None


def test_an_exact_look_up_knows_no_patterns() -> None:
    models = entries(first=["^gpt"], second=["=gpt-4o"])

    exact = models.exact("gpt-4o")
    assert exact is not None
    assert exact.id == "second"
    assert models.exact("gpt-5") is None


def test_a_price_holds_since_its_day() -> None:
    price = Price(rates=Rates(), since=DAY)

    assert not price.holds(DAY.toordinal() - 1, 0)
    assert price.holds(DAY.toordinal(), 0)


@pytest.mark.parametrize(("minutes", "holding", "other"), [((30, 990), (30, 989), (29, 990)), ((990, 30), (990, 1439, 0, 29), (30, 989))])
def test_a_price_holds_within_its_minutes_also_past_midnight(minutes: tuple[int, int], holding: tuple[int, ...], other: tuple[int, ...]) -> None:
    price = Price(rates=Rates(), minutes=minutes)

    assert all(price.holds(DAY.toordinal(), minute) for minute in holding)
    assert not any(price.holds(DAY.toordinal(), minute) for minute in other)


def test_the_longest_context_that_is_passed_sets_the_rates() -> None:
    price = Price(rates=Rates(input=1), above=[(100, Rates(input=2)), (200, Rates(input=3))])

    assert [price.at(length)[0].input for length in (100, 101, 200, 201)] == [1, 2, 2, 3]
    assert [price.at(length)[1] for length in (100, 101, 201)] == [0, 100, 200]

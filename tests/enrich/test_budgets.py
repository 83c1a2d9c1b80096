"""Budgets of agents and models, by calendar period."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from sidecar.enrich.agents import AgentRules, Budget, parse_agents
from sidecar.enrich.budgets import MAX_REMEMBERED, Accounts, Books, Line, ModelBudgets, limits_of
from sidecar.enrich.measured import Spent

RETAIL = ("agent", "retail")
ALL = Budget(usd_per_hour=1.0, usd_per_day=10.0, usd_per_month=100.0, tokens_per_day=1000)


def ms(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


NOON = ms("2026-03-31T12:30:00+00:00")


def rules(*agents: object, budgets: list[object] | None = None) -> AgentRules:
    return parse_agents({"agents": list(agents), "budgets": budgets or []})


def spent(accounts: Accounts, now_ms: int) -> dict[str, float]:
    return {f"{line.unit} {line.period}": line.spent for line in accounts.lines(now_ms)}


def test_limits_are_named_by_the_rules_name_or_else_its_globs() -> None:
    found = limits_of(
        rules(
            {"match": "pricing-*", "name": "pricing", "budget": {"usd_per_day": 5}},
            {"match": {"agent": ["plan-*", "planner"]}, "budget": {"tokens_per_hour": 100}},
            {"match": "free", "team": "retail"},
            budgets=[{"model": ["gpt-4o*", "o3"], "usd_per_month": 50}],
        )
    )

    assert found == {
        ("agent", "pricing"): Budget(usd_per_day=5),
        ("agent", "plan-*, planner"): Budget(tokens_per_hour=100),
        ("model", "gpt-4o*, o3"): Budget(usd_per_month=50),
    }


def test_of_two_limits_of_one_name_the_lower_holds() -> None:
    one = {"match": "a", "name": "retail", "budget": {"usd_per_day": 5, "usd_per_hour": 1}}
    other = {"match": "b", "name": "retail", "budget": {"usd_per_day": 3, "tokens_per_day": 7}}

    assert limits_of(rules(one, other)) == {RETAIL: Budget(usd_per_day=3, usd_per_hour=1, tokens_per_day=7)}


def test_every_limit_shows_what_was_spent_of_it() -> None:
    accounts = Accounts({RETAIL: ALL})
    for _ in range(2):
        accounts.spend(RETAIL, Spent(0.25, 30), NOON)

    assert list(accounts.lines(NOON)) == [
        Line("agent", "retail", "hour", "usd", 0.5, 1.0),
        Line("agent", "retail", "day", "usd", 0.5, 10.0),
        Line("agent", "retail", "day", "tokens", 60, 1000),
        Line("agent", "retail", "month", "usd", 0.5, 100.0),
    ]


@pytest.mark.parametrize(
    ("at", "left"),
    [
        ("2026-03-31T12:59:59+00:00", {"usd hour": 1.0, "usd day": 1.0, "usd month": 1.0}),
        ("2026-03-31T13:00:00+00:00", {"usd hour": 0.0, "usd day": 1.0, "usd month": 1.0}),
        ("2026-04-01T00:00:00+00:00", {"usd hour": 0.0, "usd day": 0.0, "usd month": 0.0}),
        ("2026-04-01T01:00:00+02:00", {"usd hour": 0.0, "usd day": 1.0, "usd month": 1.0}),
        ("2027-03-31T12:30:00+00:00", {"usd hour": 0.0, "usd day": 0.0, "usd month": 0.0}),
    ],
)
def test_a_period_ends_by_the_calendar_in_utc(at: str, left: dict[str, float]) -> None:
    accounts = Accounts({RETAIL: ALL})
    accounts.spend(RETAIL, Spent(1.0, 0), NOON)

    assert {name: value for name, value in spent(accounts, ms(at)).items() if name.startswith("usd")} == left


def test_a_new_period_begins_with_what_is_spent_in_it() -> None:
    accounts = Accounts({RETAIL: ALL})
    accounts.spend(RETAIL, Spent(1.0, 0), NOON)
    accounts.spend(RETAIL, Spent(0.25, 0), NOON + 3_600_000)

    assert spent(accounts, NOON + 3_600_000)["usd hour"] == 0.25
    assert spent(accounts, NOON + 3_600_000)["usd day"] == 1.25


def test_a_clock_that_is_set_back_spends_on() -> None:
    accounts = Accounts({RETAIL: ALL})
    accounts.spend(RETAIL, Spent(1.0, 0), NOON)
    accounts.spend(RETAIL, Spent(0.5, 0), NOON - 3_600_000)

    assert spent(accounts, NOON - 3_600_000)["usd hour"] == spent(accounts, NOON)["usd hour"] == 1.5


def test_what_is_on_no_budget_is_ignored() -> None:
    accounts = Accounts({RETAIL: ALL})
    accounts.spend(("agent", "stock"), Spent(1.0, 0), NOON)

    assert accounts.books() == {}


def test_new_rules_keep_what_was_spent_on_budgets_that_stay() -> None:
    accounts = Accounts({RETAIL: ALL, ("agent", "stock"): ALL})
    for account in (RETAIL, ("agent", "stock")):
        accounts.spend(account, Spent(1.0, 0), NOON)

    accounts.use({RETAIL: Budget(usd_per_day=2.0)})
    accounts.use({RETAIL: Budget(usd_per_day=2.0), ("agent", "stock"): ALL})

    lines = {(line.name, line.period, line.unit): (line.spent, line.limit) for line in accounts.lines(NOON)}
    assert lines["retail", "day", "usd"] == (1.0, 2.0)
    assert lines["stock", "day", "usd"] == (0.0, 10.0)


def written(accounts: Accounts) -> Books:
    return msgspec.json.decode(msgspec.json.encode(accounts.books()), type=Books)


def test_what_is_written_down_is_added_again_if_its_period_still_runs() -> None:
    before, after = Accounts({RETAIL: ALL, ("model", "o3"): ALL}), Accounts({RETAIL: ALL})
    for account in (RETAIL, ("model", "o3")):
        before.spend(account, Spent(1.0, 100), NOON)
    after.spend(RETAIL, Spent(0.5, 0), NOON + 3_600_000)

    after.add_books(written(before))

    assert spent(after, NOON + 3_600_000) == {"usd hour": 0.5, "usd day": 1.5, "tokens day": 100, "usd month": 1.5}
    assert list(after.books()["agent"]) == ["retail"] and "model" not in after.books()


def test_a_period_that_nobody_knows_is_not_taken_from_the_file() -> None:
    accounts = Accounts({RETAIL: ALL})
    accounts.add_books(msgspec.json.decode(b'{"agent": {"retail": {"week": ["2026-W14", 1.0, 1]}}}', type=Books))

    assert accounts.books() == {"agent": {"retail": {}}}


def test_a_call_is_on_the_budgets_that_fit_its_model_in_any_spelling() -> None:
    found = ModelBudgets(
        rules(budgets=[{"model": "gpt-4o*", "usd_per_day": 1}, {"model": "*", "usd_per_day": 9}, {"model": "o3", "usd_per_day": 2}]).budgets
    )

    for _ in range(2):
        assert found.of("openrouter/openai/gpt-4o-2024-08-06", None) == ("gpt-4o*", "*")
        assert found.of(None, "O3") == ("*", "o3")
        assert found.of(None, None) == ()


def test_without_budgets_no_call_is_on_one() -> None:
    assert ModelBudgets().of("gpt-4o", "gpt-4o") == ()


def test_what_is_remembered_of_models_is_bounded() -> None:
    found = ModelBudgets(rules(budgets=[{"model": "*", "usd_per_day": 9}]).budgets)
    for number in range(3 * MAX_REMEMBERED):
        found.of(f"model-{number}", None)
        assert len(found._known) <= MAX_REMEMBERED
    before = len(found._known)
    assert found.of("m" * 300, None) == ("*",)
    assert len(found._known) == before

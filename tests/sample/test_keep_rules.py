"""config/sampling.yaml: what is kept, and how much of the rest."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.facts import Facts, Kind, Usage
from sidecar.enrich.notes import Finding
from sidecar.errors import ConfigError
from sidecar.sample.budget import Capacity, daily, monthly
from sidecar.sample.keep_rules import MAX_REMEMBERED, Degrade, Keep, KeepRules, parse_sampling
from tests import spans
from tests.enrich.views import view

FILE = Path(__file__).parent.parent.parent / "config/sampling.yaml"
SECOND = 1_000_000_000


def found(
    rules: KeepRules,
    attributes: spans.Attributes | None = None,
    facts: Facts | None = None,
    *,
    agent: str | None = None,
    service: str | None = None,
    cost_usd: float = 0.0,
    name: str = "span",
    error: str | None = None,
    event: str | None = None,
    seconds: float = 1.0,
) -> Finding:
    events = [spans.event(event)] if event else []
    seen = view(attributes, name=name, error=error, events=events, end_ns=spans.START_NS + int(seconds * SECOND))
    return rules.find(seen, read_facts(seen) if facts is None else facts, agent, service, cost_usd)


def rule(match: object) -> KeepRules:
    return parse_sampling({"keep": {"errors": False}, "rules": [{"name": "mine", "match": match}]})


def problems_of(tree: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_sampling(tree)
    return list(caught.value.problems)


def test_the_file_in_config_is_valid_and_says_what_holds_without_it() -> None:
    rules, without = parse_sampling(yaml.safe_load(FILE.read_text(encoding="utf-8"))), parse_sampling(None)

    assert rules.keep == without.keep == Keep()
    assert (rules.minimum_per_minute, rules.capacity, rules.budgets, rules.names, rules.degrade) == (1.0, Capacity(), {}, (), None)
    assert not rules.always_decides


def test_the_examples_in_the_file_in_config_are_valid() -> None:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    entries = [yaml.safe_load("{" + line.partition("- {")[2]) for line in lines if "- {" in line]
    sections = {key: each for line in lines if line.startswith(("#   budget:", "#   degrade:")) for key, each in yaml.safe_load(line[1:]).items()}

    rules = parse_sampling(
        {"rules": [each for each in entries if "name" in each], "probabilities": [each for each in entries if "probability" in each], **sections}
    )
    assert rules.degrade == Degrade(8, 0.8)
    assert rules.names == ("gold", "slow-refunds", "orders")
    assert rules.probability("chatty-7", None) == 0.1
    assert rules.budgets == {"units": monthly(1_000_000), "bytes": daily(500 * (1 << 20))}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"error": "boom"}, "errors"),
        ({"attributes": {"error.type": "TimeoutError", "gen_ai.operation.name": "chat"}}, "errors"),
        ({"attributes": {"sampling.priority": 1}}, "priority"),
        ({"attributes": {"sampling.priority": "2"}}, "priority"),
        ({"attributes": {"sampling.priority": 1}, "error": "boom"}, "errors"),
        ({"seconds": 120}, "latency"),
        ({"seconds": 119}, None),
        ({"facts": Facts("", kind=Kind.EVALUATOR)}, "evaluation"),
        ({"event": "gen_ai.evaluation.result"}, "evaluation"),
        ({"attributes": {"gen_ai.evaluation.name": "relevance"}}, "evaluation"),
        ({"attributes": {"user.feedback": "thumbs_down"}}, "feedback"),
        ({"event": "user_feedback"}, "feedback"),
        ({"attributes": {"sampling.priority": 0}}, None),
        ({}, None),
    ],
)
def test_the_built_in_rules_find_what_matters(given: dict[str, object], expected: str | None) -> None:
    assert found(parse_sampling({}), **given).rule == expected  # type: ignore[arg-type]  # a table of arguments


def test_each_built_in_rule_can_be_turned_off() -> None:
    off = {
        "errors": False,
        "slower_than_s": None,
        "cost_usd": None,
        "tokens": None,
        "evaluations": False,
        "feedback": False,
        "sampling_priority": False,
    }
    rules = parse_sampling({"keep": off})
    attributes: spans.Attributes = {"sampling.priority": 1, "user.feedback": "bad", "gen_ai.evaluation.name": "x"}

    assert found(rules, attributes, error="boom", seconds=9999) == Finding(None, None, 1.0, 0.0, 0, None)


def test_money_and_tokens_are_those_of_real_calls() -> None:
    call = Facts("", is_call=True, usage=Usage(input=10, output=5))

    def money(seen: Finding) -> tuple[float, int]:
        return seen.cost_usd, seen.tokens

    assert money(found(parse_sampling({}), facts=call, cost_usd=0.5)) == (0.5, 15)
    assert found(parse_sampling({}), facts=msgspec.structs.replace(call, cost_usd=0.7), cost_usd=0.5).cost_usd == 0.7
    assert money(found(parse_sampling({}), facts=Facts("", usage=Usage(input=10), cost_usd=3.0))) == (0, 0)


@pytest.mark.parametrize(
    ("match", "fitting", "other"),
    [
        ({"agent": "Refund-*"}, {"agent": "refund-eu"}, {"agent": None}),
        ({"service": ["a", "b?"]}, {"service": "B2"}, {"service": "b"}),
        ({"span": "place_*"}, {"name": "place_order"}, {"name": "order"}),
        ({"attribute": "tier"}, {"attributes": {"tier": 0}}, {"attributes": {"tiers": 0}}),
        ({"attribute": "tier", "value": "go*"}, {"attributes": {"tier": "Gold"}}, {"attributes": {"tier": ["gold"]}}),
        ({"attribute": "vip", "value": "true"}, {"attributes": {"vip": True}}, {"attributes": {"vip": False}}),
        ({"attribute": "n", "value": "3"}, {"attributes": {"n": 3}}, {"attributes": {"n": 33}}),
        ({"slower_than_s": 10}, {"seconds": 10}, {"seconds": 9}),
        ({"error": "timeout"}, {"attributes": {"error.type": "TimeoutError"}}, {"attributes": {"error.type": "ValueError"}}),
        ({"tokens": 15}, {"facts": Facts("", is_call=True, usage=Usage(input=15))}, {"facts": Facts("", is_call=True, usage=Usage(input=14))}),
        ({"cost_usd": 0.5}, {"facts": Facts("", is_call=True, cost_usd=0.5)}, {"facts": Facts("", cost_usd=0.5)}),
        ({"agent": "a", "service": "s"}, {"agent": "a", "service": "s"}, {"agent": "a", "service": "t"}),
    ],
)
def test_an_own_rule_fits_what_it_says(match: object, fitting: dict[str, object], other: dict[str, object]) -> None:
    assert found(rule(match), **fitting).rule == "mine"  # type: ignore[arg-type]  # a table of arguments
    assert found(rule(match), **other).rule is None  # type: ignore[arg-type]  # likewise


def test_the_first_base_probability_that_fits_is_used() -> None:
    entries = [
        {"match": {"agent": "chatty", "service": "s"}, "probability": 0.1},
        {"match": {"agent": "chatty"}, "probability": 0.2},
        {"match": {"service": "s"}, "probability": 0},
    ]
    rules = parse_sampling({"probabilities": entries}, 0.5)

    assert [rules.probability(*whose) for whose in (("chatty", "s"), ("Chatty", None), ("x", "s"), ("x", None), (None, None))] == [
        0.1,
        0.2,
        0,
        0.5,
        0.5,
    ]
    assert rules.always_decides


def test_remembered_probabilities_are_bounded() -> None:
    rules = parse_sampling({"probabilities": [{"match": {"agent": "a*"}, "probability": 0.1}]})
    for number in range(3 * MAX_REMEMBERED):
        rules.probability(f"a{number}" * 100, "s")

    assert len(rules._known) <= MAX_REMEMBERED


def test_every_problem_is_told_at_once_with_its_path() -> None:
    tree = {
        "kep": {},
        "keep": {"errors": "yes", "cost_usd": 0, "slow": 1},
        "minimum_per_minute": -1,
        "rules": [
            {"name": "a", "match": {}},
            {"name": "errors", "match": {"agent": "x"}},
            {"match": {"value": "v"}},
            5,
            {"name": "A b", "match": {"agent": []}},
        ],
        "probabilities": [{"match": {}, "probability": 1}, {"match": {"agent": "x"}, "probability": 1.5}],
        "capacity": {"share": 0},
        "budget": {"units_per_month": 1.5},
        "degrade": {"above_pressure": 0},
    }
    starts = [problem.split(":")[0] for problem in problems_of(tree)]

    assert starts == [
        "kep",
        "keep.slow",
        "keep.errors",
        "keep.cost_usd",
        "capacity.share",
        "budget.units_per_month",
        "minimum_per_minute",
        "rules[0].match",
        "rules[1].name",
        "rules[2].name",
        "rules[3]",
        "rules[4].name",
        "rules[4].match.agent",
        "probabilities[0].match",
        "probabilities[1].probability",
        "degrade.max_value_kib",
        "degrade.above_pressure",
    ]


def test_names_are_unique_and_values_need_an_attribute() -> None:
    entries = [{"name": "a", "match": {"agent": "x"}}, {"name": "a", "match": {"agent": "y"}}, {"name": "b", "match": {"value": "v"}}]

    assert problems_of({"rules": entries}) == ["rules[2].match.value: needs an attribute", "rules: the name a is given twice"]
    assert problems_of([]) == [
        "sampling file: expected a map with the keys keep, minimum_per_minute, rules, probabilities, capacity, budget, degrade"
    ]
    assert problems_of({"rules": {}}) == ["rules: expected a list"]


_TREES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3))
_KEYS = st.sampled_from(
    ["keep", "rules", "probabilities", "capacity", "budget", "minimum_per_minute", "match", "agent", "name", "probability", "errors"]
)


@settings(max_examples=200)
@given(st.dictionaries(_KEYS, _TREES | st.dictionaries(_KEYS, _TREES, max_size=4) | st.lists(st.dictionaries(_KEYS, _TREES, max_size=4), max_size=3)))
def test_any_tree_is_rules_or_problems(tree: object) -> None:
    try:
        parse_sampling(tree)
    except ConfigError as error:
        assert error.problems

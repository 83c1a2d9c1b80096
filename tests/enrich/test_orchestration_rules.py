"""The rules of config/enrich.yaml: what is refused, what fits, which comes first."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sidecar.enrich.facts import Kind
from sidecar.enrich.orchestration_rules import Rules, SignalKind, compile_globs, find_glob, parse_orchestration
from sidecar.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
BUILTIN: object = yaml.safe_load((ROOT / "sidecar/enrich/orchestration.yaml").read_text(encoding="utf-8"))
EXAMPLE = (ROOT / "config/enrich.yaml").read_text(encoding="utf-8")


def problems_of(*rules: object, **more: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_orchestration({"rules": list(rules), **more}, BUILTIN)
    return list(caught.value.problems)


def signals(rules: Rules, tool: str) -> list[SignalKind]:
    return [hit.rule.signal for hit in rules.by_tool(tool)]


def test_the_built_in_rules_are_valid_and_know_every_kind_of_signal() -> None:
    rules = parse_orchestration(None, BUILTIN)

    assert signals(rules, "transfer_to_billing")
    assert {"decision", "conflict.type", "resolution.strategy", "task.heartbeat", "gen_ai.handoff.to_agent"} <= rules.keys
    assert b"task.heartbeat" in rules.events


def test_the_file_in_config_is_valid_and_leaves_the_built_in_rules_on() -> None:
    assert parse_orchestration(yaml.safe_load(EXAMPLE), BUILTIN).keys == parse_orchestration(None, BUILTIN).keys


def test_the_examples_in_the_file_in_config_are_valid() -> None:
    examples = [line.partition("- {")[2] for line in EXAMPLE.splitlines() if line.startswith("#") and "- {" in line]

    assert len(examples) == 3
    parse_orchestration({"rules": [yaml.safe_load("{" + each) for each in examples]})


@pytest.mark.parametrize("tree", [None, {}, {"rules": None}, {"rules": []}, {"builtin": True}])
def test_an_empty_file_has_only_the_built_in_rules(tree: object) -> None:
    assert parse_orchestration(tree, BUILTIN).keys == parse_orchestration(None, BUILTIN).keys
    assert parse_orchestration(tree).keys == frozenset()


def test_the_built_in_rules_can_be_turned_off_all_or_by_kind() -> None:
    off = parse_orchestration({"builtin": False}, BUILTIN)
    some = parse_orchestration({"builtin": ["heartbeat"]}, BUILTIN)

    assert (off.keys, off.events, off.by_tool("transfer_to_billing")) == (frozenset(), frozenset(), ())
    assert some.by_tool("transfer_to_billing") == ()
    assert b"heartbeat" in some.events
    assert "decision" not in some.keys


def test_own_rules_come_before_the_built_in_ones() -> None:
    rules = parse_orchestration({"rules": [{"signal": "decision", "match": {"tool": "transfer_to_*"}}]}, BUILTIN)

    assert signals(rules, "transfer_to_billing") == ["decision", "handoff"]
    assert [hit.rule.order for hit in rules.by_tool("transfer_to_billing")] == sorted(hit.rule.order for hit in rules.by_tool("transfer_to_billing"))


def test_every_problem_is_named_with_its_path() -> None:
    assert problems_of(
        {"signal": "gossip", "match": {"span": "x"}},
        {"match": {"span": "x", "colour": "red"}, "outcome": {"capture": 0}, "when": 1},
        {"signal": "decision", "match": {}},
        {"signal": "decision", "match": {"event": "e", "span": "s"}, "confidence": {"attribute": "c", "unit": "permille"}},
        {"signal": "decision", "match": {"scope": "s"}, "target": {}},
        {"signal": "handoff", "match": {"tool": "to_*"}, "target": {"capture": 2}},
        {"signal": "decision", "match": {"tool": "t", "value": "x", "kind": "infra"}},
        {"signal": "decision", "match": {"attribute": "a", "except": "b"}},
        "handoff",
        rule=[],
    ) == [
        "rule: unknown key; known here: builtin, rules",
        "rules[0].signal: Invalid enum value 'gossip'; there are: decision, handoff, conflict, resolution, heartbeat",
        "rules[1].when: unknown key; known here: confidence, match, name, outcome, signal, source, target",
        "rules[1].signal: is required",
        "rules[1].match.colour: unknown key; known here: attribute, event, except, kind, scope, span, tool, value",
        "rules[1].outcome.capture: Expected int >= 1",
        "rules[2].match: needs at least one of span, tool, attribute, event",
        "rules[3].confidence.unit: Invalid enum value 'permille'",
        "rules[4].match: needs at least one of span, tool, attribute, event",
        "rules[4].target: needs at least one of attribute, argument, capture",
        "rules[5].target.capture: no glob on a tool or a span has 2 *",
        "rules[6].match.value: needs attribute",
        "rules[6].match.kind: infra spans carry no signals",
        "rules[7].match.except: needs span or tool",
        "rules[8]: expected a map",
    ]


def test_an_event_does_not_go_with_a_span_or_a_tool() -> None:
    assert problems_of({"signal": "decision", "match": {"event": "e", "span": "s"}}) == [
        "rules[0].match: an event goes with attribute, value, scope and kind only"
    ]


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ([], "enrich file: expected a map with the keys builtin, rules"),
        ({"rules": None, "builtin": "no"}, "builtin: expected true, false, or a list of decision, handoff, conflict, resolution, heartbeat"),
        ({"rules": 7}, "rules: expected a list"),
        ({"rules": [None] * 201}, "rules: 201 entries are more than the limit of 200"),
    ],
)
def test_a_file_of_another_shape_is_refused(tree: object, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_orchestration(tree)

    assert caught.value.problems == (problem,)


def test_a_problem_of_the_built_in_rules_says_so() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_orchestration(None, {"rules": [{"signal": "decision"}]})

    assert caught.value.problems == ("built-in rules[0].match: is required",)


@pytest.mark.parametrize(
    ("glob", "name", "captures"),
    [
        ("transfer_to_*", "Transfer_To_Billing", ("Billing",)),
        ("transfer_to_*", "a transfer_to_b", None),
        ("handoff from * to *", "handoff from a to b to c", ("a", "b to c")),
        ("a*b*c", "a1b2b3c", ("1", "2b3")),
        ("task ?", "task 7", ()),
        ("task ?", "task 17", None),
        ("a.b", "axb", None),
        ("*", "", ("",)),
        ("*", "two\nlines", ("two\nlines",)),
    ],
)
def test_a_glob_says_what_its_stars_stood_for(glob: str, name: str, captures: tuple[str, ...] | None) -> None:
    assert find_glob(compile_globs(glob), name) == captures


def test_excluded_names_are_not_found() -> None:
    rules = parse_orchestration(None, BUILTIN)

    assert rules.by_tool("transfer_to_savings_account") == ()
    assert [hit.captures for hit in rules.by_tool("transfer_to_accounting")] == [("accounting",)]


def test_rules_of_names_are_remembered_within_bounds() -> None:
    rules = parse_orchestration(None, BUILTIN)
    first = rules.by_tool("transfer_to_billing")
    for number in range(600):
        assert len(rules.by_tool(f"transfer_to_a{number}")) == 1

    remembered = rules._tools
    assert len(remembered._young) + len(remembered._old) <= 512
    assert rules.by_tool("transfer_to_billing") == first

    rules.by_tool("transfer_to_" + "x" * 200)
    assert max(map(len, [*remembered._young, *remembered._old])) <= 128


def test_a_rule_by_name_leaves_out_calls_and_every_rule_leaves_out_infrastructure() -> None:
    rules = parse_orchestration(
        {"rules": [{"signal": "decision", "match": {"span": "a"}}, {"signal": "decision", "match": {"span": "a", "kind": "generation"}}]}
    )
    plain, asked = (hit.rule for hit in rules.by_span("a"))

    assert [plain.fits(kind, "") for kind in (Kind.AGENT, Kind.TOOL, Kind.GENERATION, Kind.EMBEDDING, Kind.INFRA)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [asked.fits(kind, "") for kind in (Kind.AGENT, Kind.GENERATION)] == [False, True]

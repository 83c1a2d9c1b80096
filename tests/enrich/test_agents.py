"""config/agents.yaml: who an agent is, what is added to its spans, and which models it is expected to use."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.agent_names import MAX_NAME, OTHER
from sidecar.enrich.agents import (
    DRIFT,
    EXPECTED,
    GENERATION,
    MAX_KEY,
    Agent,
    AgentBook,
    AgentRules,
    Budget,
    ModelBudget,
    drift_attributes,
    drifts,
    parse_agents,
    tidied,
)
from sidecar.enrich.keys import METADATA
from sidecar.errors import ConfigError
from sidecar.wire.attributes import Value, decode

FILE = Path(__file__).parent.parent.parent / "config/agents.yaml"
UUID = "3f2a9b1c-1111-4222-8333-444455556666"


def book(*rules: object, **others: object) -> AgentBook:
    return AgentBook(parse_agents({"agents": list(rules), **others}))


def resolve(
    agents: AgentBook, name: str | None = None, agent_id: str | None = None, version: str | None = None, at: str = "svc", by: str = "sdk"
) -> Agent | None:
    return agents.resolve(name, agent_id, version, at, by)


def found(
    agents: AgentBook, name: str | None = None, agent_id: str | None = None, version: str | None = None, at: str = "svc", by: str = "sdk"
) -> Agent:
    agent = resolve(agents, name, agent_id, version, at, by)
    assert agent is not None
    return agent


def shown(attributes: object) -> dict[str, Value]:
    """Attributes without the common part of their keys, which must be those of the mapping."""
    assert isinstance(attributes, dict)
    pairs = {key: decode(raw) for key, raw in attributes.items()}
    assert all(key == pair[0] and key.startswith(f"{METADATA}.agent_") for key, pair in pairs.items())
    return {key.removeprefix(f"{METADATA}.agent_"): value for key, (_, value) in pairs.items()}


def problems_of(tree: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_agents(tree)
    return list(caught.value.problems)


def test_the_file_in_config_is_valid_and_changes_nothing() -> None:
    assert parse_agents(yaml.safe_load(FILE.read_text(encoding="utf-8"))) == AgentRules()


def test_the_examples_in_the_file_in_config_are_valid() -> None:
    examples = [line.partition("- {")[2] for line in FILE.read_text(encoding="utf-8").splitlines() if line.startswith("#") and "- {" in line]

    assert len(examples) == 4
    agents = book(*(yaml.safe_load("{" + each) for each in examples))
    assert found(agents, "pricing-eu").team == "retail"
    assert found(agents, "plan-b", at="retail-eu").budget == Budget(usd_per_day=20)
    assert found(agents, None, "asst_7Kq2Zx81").name == "support"
    assert found(agents, at="voice-1").name == "caller"


@pytest.mark.parametrize("tree", [None, {}, {"agents": None}, {"agents": [], "budgets": []}])
def test_an_empty_file_has_no_rules(tree: object) -> None:
    assert parse_agents(tree) == AgentRules()


def test_a_rule_says_who_an_agent_is() -> None:
    agents = book(
        {
            "match": "pricing-*",
            "name": "pricing",
            "type": "specialist",
            "version": "2.1",
            "team": "retail",
            "owner": "pricing@example.com",
            "tags": ["core", "é"],
            "model": ["gpt-4o*", "o3"],
            "budget": {"usd_per_hour": 1.5, "tokens_per_day": 1000},
        }
    )

    agent = found(agents, "Pricing-EU")

    assert (agent.name, agent.type, agent.version, agent.team, agent.owner) == ("pricing", "specialist", "2.1", "retail", "pricing@example.com")
    assert agent.tags == ("core", "é")
    assert agent.budget == Budget(usd_per_hour=1.5, tokens_per_day=1000)
    assert agent.expected is not None and agent.expected.texts == ("gpt-4o*", "o3")
    assert shown(agent.attributes) == {
        "name": "pricing",
        "type": "specialist",
        "version": "2.1",
        "team": "retail",
        "owner": "pricing@example.com",
        "model_expected": "gpt-4o*, o3",
        "tags": '["core","é"]',
    }


def test_an_agent_without_a_rule_is_its_normalised_name() -> None:
    agent = found(book(), "planner-17", None, " 3 ")

    assert agent == Agent("planner", version="3", is_raw=True)
    assert shown(agent.attributes) == {"name": "planner-17", "version": "3"}, "masking sees it as the span has it"


@pytest.mark.parametrize(
    ("masked", "name"),
    [("planner-17", "planner"), ("[ID:k1:7f3a9c01d2e4b5a6]", "[ID:k1:7f3a9c01d2e4b5a6]"), ("desk of [EMAIL]", "desk of [EMAIL]")],
)
def test_a_masked_name_is_tidied_unless_it_holds_a_label(masked: str, name: str) -> None:
    assert tidied(masked) == name


def test_what_metrics_call_an_agent_is_written_in_the_rules() -> None:
    agents = book({"match": "plan*", "team": "a"}, {"match": "crew-*", "name": "crew"})

    assert [found(agents, name).label for name in ("planner anna@example.com", "crew-7", "other")] == ["plan*", "crew", "other"]


def test_names_stay_as_they_are_where_normalising_is_off() -> None:
    assert found(book(normalise=False), " planner-17 ") == Agent("planner-17")


def test_the_spans_own_version_wins_over_the_rules() -> None:
    agents = book({"match": "planner", "version": "1"})

    assert found(agents, "planner", version="2").version == "2"
    assert found(agents, "planner").version == "1"
    assert shown(found(agents, "planner", version="2").attributes)["version"] == "2"


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("plan*", True),
        (["x", "PLANNER"], True),
        ({"agent": "planner-17"}, True),
        ({"agent": "planner"}, True),
        ({"agent": "plan"}, False),
        ({"id": "p-*"}, True),
        ({"id": ["q", "p-1"], "agent": "planner"}, True),
        ({"id": "q", "agent": "planner"}, False),
        ({"agent": "*", "service": "retail-*", "scope": "acme.*"}, True),
        ({"agent": "*", "service": "retail-*", "scope": "other"}, False),
        ({"service": "voice"}, False),
        ({"scope": "acme.sdk"}, True),
    ],
)
def test_every_key_of_a_match_must_fit(match: object, fits: bool) -> None:
    agent = found(book({"match": match, "team": "a"}), "Planner-17", "P-1", at="Retail-EU", by="acme.sdk")

    assert agent.name == "Planner"
    assert agent.team == ("a" if fits else None)


def test_the_first_rule_that_fits_is_used() -> None:
    agents = book({"match": "plan-b", "team": "b"}, {"match": "plan*", "team": "all"})

    assert found(agents, "plan-b").team == "b"
    assert found(agents, "plan-c").team == "all"


def test_a_rule_without_a_name_leaves_the_span_its_own() -> None:
    assert found(book({"match": {"service": "svc"}, "team": "a"}), f"planner_{UUID}").name == "planner"


def test_an_id_is_the_name_where_there_is_none_unless_a_machine_made_it() -> None:
    agents = book({"match": "planner*", "team": "a"})

    assert found(agents, None, "planner-7").name == "planner"
    assert found(agents, "", "planner-7").team == "a"
    assert [resolve(agents, None, each) for each in (UUID, "asst_abc123", "deadbeef01")] == [None, None, None]
    assert found(agents, "critic", "planner-7").name == "critic"


def test_a_rule_can_name_a_generated_id() -> None:
    agents = book({"match": {"id": "asst_abc*"}, "name": "support"}, {"match": {"id": "*"}, "team": "a"})

    assert found(agents, None, "asst_abc123").name == "support"
    assert found(agents, "helper", "asst_abc123").name == "support"
    assert resolve(agents, None, "asst_xyz999") is None


def test_a_span_without_an_agent_takes_only_a_name_that_service_or_scope_give() -> None:
    agents = book(
        {"match": {"agent": "*", "service": "voice-*"}, "name": "by agent"},
        {"match": {"id": "*", "service": "voice-*"}, "name": "by id"},
        {"match": {"service": "voice-*"}, "team": "voice"},
        {"match": {"service": "voice-*", "scope": "acme*"}, "name": "caller"},
    )

    assert found(agents, at="voice-1", by="acme.sdk").name == "caller"
    assert resolve(agents, at="voice-1", by="other") is None
    assert agents.resolve(None, None, None, None, "acme.sdk") is None
    assert found(agents, "x", at="voice-1", by="acme.sdk").name == "by agent"


def test_what_a_span_does_not_say_fits_not_even_a_star() -> None:
    agents = book({"match": {"service": "*"}, "name": "s"}, {"match": {"scope": "*"}, "name": "c"})

    assert agents.resolve(None, None, None, None, "") is None
    assert agents.resolve(None, None, None, "", "") is None
    assert found(agents, at="x", by="").name == "s"
    assert found(agents, at="", by="x").name == "c"


def test_a_known_agent_is_the_same_object_whatever_its_run_is_called() -> None:
    agents = book({"match": "planner", "team": "a"})

    assert found(agents, "planner", "run-1") is found(agents, "planner", "run-2")
    assert len(agents) == 1


def test_ids_tell_agents_apart_where_a_rule_asks_for_them() -> None:
    agents = book({"match": {"id": "one"}, "team": "a"})

    assert found(agents, "planner", "two").team is None
    assert found(agents, "planner", "one").team == "a"


def test_the_memory_of_agents_is_bounded_and_keeps_what_is_used() -> None:
    agents = book()
    kept = found(agents, "planner")
    for number in range(3 * GENERATION):
        resolve(agents, f"n{number}x")
        assert found(agents, "planner") is kept

    assert len(agents) <= 2 * GENERATION


def test_a_span_without_an_agent_is_remembered_too() -> None:
    agents = book()

    assert resolve(agents) is None
    assert resolve(agents) is None
    assert len(agents) == 1


def test_long_texts_are_not_kept() -> None:
    agents = book()

    assert found(agents, "p" * (MAX_KEY + 1)).name == "p" * MAX_NAME
    assert found(agents, "planner", version="9" * 1000).version == "9" * 64
    found(agents, "planner", at="s" * 1000)
    found(agents, "planner", by="s" * 1000)
    assert len(agents) == 0
    found(agents, "p" * MAX_KEY)
    assert len(agents) == 1


_SAID = st.none() | st.text(max_size=300) | st.sampled_from(["planner", "p-1", UUID, "asst_abc123", "\ud800", "retail-eu"])


@settings(max_examples=200, deadline=None)
@given(name=_SAID, agent_id=_SAID, version=_SAID, service=_SAID, scope=st.text(max_size=300))
def test_anything_that_a_span_says_gives_a_bounded_agent_or_none(
    name: str | None, agent_id: str | None, version: str | None, service: str | None, scope: str
) -> None:
    agents = book({"match": {"agent": "p*"}, "team": "a"}, {"match": {"service": "r*"}, "name": "retail"})

    agent = agents.resolve(name, agent_id, version, service, scope)

    assert agents.resolve(name, agent_id, version, service, scope) == agent
    if agent is not None:
        assert 0 < len(agent.name) <= MAX_NAME and agent.name.isprintable()
        assert agent.is_raw or shown(agent.attributes)["name"] == agent.name
        assert sum(map(len, agent.attributes.values())) < 2000


def test_labels_stay_when_rules_are_read_again() -> None:
    before = book()
    for number in range(256):
        before.tracked(f"n{number}x")
    after = AgentBook(parse_agents({"agents": [{"match": "planner", "team": "a"}]}), before.names)

    assert after.tracked("n0x") == "n0x"
    assert after.tracked("planner") == OTHER
    assert (before.overflow, after.overflow) == (1, 1)


@pytest.mark.parametrize(
    ("names", "drifted"),
    [
        (("gpt-4o", None), False),
        (("gpt-4o-2024-08-06", "gpt-4o"), False),
        (("openrouter/openai/gpt-4o-2024-08-06", None), False),
        (("azure/gpt-4o", None), False),
        (("GPT-4O-mini", None), False),
        (("us.anthropic.claude-sonnet-4-20250514-v1:0", None), False),
        (("claude-opus-4", "gpt-4o"), False),
        (("claude-opus-4", "model-router"), True),
        (("claude-opus-4", None), True),
        ((None, "openai/o3"), True),
        (("no model at all, prose", None), True),
        (("x" * 5000, None), True),
        ((None, None), False),
        (("", None), False),
        ((), False),
    ],
)
def test_a_model_drifts_where_neither_the_answered_nor_the_requested_one_is_expected(names: tuple[str | None, ...], drifted: bool) -> None:
    agents = book({"match": "planner", "model": ["gpt-4o*", "claude-sonnet-4"]})
    agent = found(agents, "planner")

    assert drifts(agent, names) is drifted
    assert [agents.drifts(agent, names) for _ in range(2)] == [drifted, drifted]


def test_nothing_drifts_where_nothing_is_expected() -> None:
    agents = book()

    assert not drifts(found(agents, "planner"), ("gpt-4o",))
    assert not agents.drifts(found(agents, "planner"), ("gpt-4o",))


def test_answers_about_models_stay_right_when_more_are_asked_than_remembered() -> None:
    agents = book({"match": "a", "model": "gpt-*1"}, {"match": "b", "model": "gpt-*2"})
    a, b = found(agents, "a"), found(agents, "b")

    for _ in range(2):
        for number in range(2 * GENERATION):
            name = f"gpt-x{number}"
            assert agents.drifts(a, (name,)) is not name.endswith("1")
            assert agents.drifts(b, (name,)) is not name.endswith("2")
    assert len(agents._drifts) + len(agents._old_drifts) <= 2 * GENERATION


def test_a_drift_is_marked_with_what_answered_and_what_was_expected() -> None:
    expected = found(book({"match": "planner", "model": ["gpt-4o*", "o3"]}), "planner").expected
    assert expected is not None

    marked = drift_attributes(expected, "claude-opus-4")

    assert shown(marked) == {"model_drift": "claude-opus-4", "model_expected": "gpt-4o*, o3"}
    assert set(marked) == {DRIFT, EXPECTED}
    assert len(drift_attributes(expected, "x" * 5000)[DRIFT]) < 400


def test_budgets_by_model_are_typed() -> None:
    rules = parse_agents({"budgets": [{"model": "gpt-4o*", "usd_per_day": 5}, {"model": ["o3", "o4*"], "tokens_per_month": 10}]})

    assert rules.budgets == (ModelBudget(("gpt-4o*",), Budget(usd_per_day=5.0)), ModelBudget(("o3", "o4*"), Budget(tokens_per_month=10)))


def test_every_problem_of_a_file_is_reported_with_its_path() -> None:
    limits = "tokens_per_day, tokens_per_hour, tokens_per_month, usd_per_day, usd_per_hour, usd_per_month"
    tree = {
        "agent": [],
        "normalise": "yes",
        "agents": [
            {"match": {"agnet": "x"}, "version": 2.1, "tags": [3], "budget": {"usd_per_day": 0, "usd": 1}},
            {"match": None, "name": "a"},
            {"match": {}, "name": "a"},
            {"match": "x"},
            {"match": ["a", 3], "team": "t"},
            {"name": "a"},
            "planner",
            {"match": "x", "name": "a\nb", "tags": ["a", " b"], "budget": {}},
            {"match": "", "name": "x" * 129},
        ],
        "budgets": [{"usd_per_day": 1}, {"model": "x"}, {"model": 3, "usd_per_day": float("nan")}, "x", {"model": "x", "usd": 1}],
    }

    assert problems_of(tree) == [
        "agent: unknown key; known here: agents, budgets, normalise",
        "normalise: expected true or false",
        "agents[0].match.agnet: unknown key; known here: agent, id, scope, service",
        "agents[0].version: Expected str | null, got float",
        "agents[0].tags[0]: Expected str, got int",
        f"agents[0].budget.usd: unknown key; known here: {limits}",
        "agents[0].budget.usd_per_day: Expected float > 0.0",
        "agents[1].match: Expected object, got null",
        "agents[2].match: needs at least one of agent, id, service, scope",
        "agents[3]: does nothing; give at least one of name, type, version, team, owner, tags, model, budget",
        "agents[4].match.agent[1]: Expected str, got int",
        "agents[5].match: is required",
        "agents[6]: expected a map",
        "agents[7].name: must be printable, on one line, without spaces around it",
        "agents[7].tags[1]: must be printable, on one line, without spaces around it",
        "agents[7].budget: needs at least one of usd_per_hour, usd_per_day, usd_per_month, tokens_per_hour, tokens_per_day, tokens_per_month",
        "agents[8].match.agent: Expected str of length >= 1",
        "agents[8].name: Expected str of length <= 128",
        "budgets[0].model: is required",
        "budgets[1]: needs at least one of usd_per_hour, usd_per_day, usd_per_month, tokens_per_hour, tokens_per_day, tokens_per_month",
        "budgets[2].usd_per_day: Expected float > 0.0",
        "budgets[2].model: Expected str | array, got int",
        "budgets[3]: expected a map",
        f"budgets[4].usd: unknown key; known here: model, {limits}",
    ]


@pytest.mark.parametrize("tree", [[], "planner", 3])
def test_a_file_that_is_no_map_is_a_problem(tree: object) -> None:
    assert problems_of(tree) == ["agents file: expected a map with the keys agents, budgets, normalise"]


def test_lists_must_be_lists_of_bounded_length() -> None:
    rule = {"match": "a", "team": "b"}

    assert problems_of({"agents": rule, "budgets": "x"}) == ["agents: expected a list", "budgets: expected a list"]
    assert problems_of({"agents": [rule] * 1001}) == ["agents: 1001 entries are more than the limit of 1000"]
    wide = {"match": {"agent": ["a"] * 60, "service": "b"}, "team": "b"}
    assert problems_of({"agents": [wide] * 33}) == ["agents: 2013 globs in matches are more than the limit of 2000"]
    assert len(parse_agents({"agents": [wide] * 32}).rules) == 32
    assert problems_of({"agents": [{"match": ["a"] * 101, "team": "b"}]}) == ["agents[0].match.agent: Expected array of length <= 100"]


def test_an_agent_can_not_be_changed() -> None:
    agent = found(book(), "planner")

    with pytest.raises(AttributeError):
        agent.name = "other"  # type: ignore[misc]  # what the test is about
    with pytest.raises(AttributeError):
        Budget(usd_per_day=1).usd_per_day = 2  # type: ignore[misc]  # what the test is about
    assert msgspec.structs.asdict(Budget())["usd_per_day"] is None

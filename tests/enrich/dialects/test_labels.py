"""Names from outside are bounded and cleaned."""

from __future__ import annotations

import pytest

from sidecar.enrich.dialects import labels
from tests.enrich.views import view


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("support_agent", "support_agent"),
        ("triage_887a815f-cc97-4a3d-9c04-f73cad689cf2", "triage"),
        ("RoundRobinGroupChatManager_887a815f-cc97-4a3d-9c04-f73cad689cf2/887a815f-cc97-4a3d-9c04-f73cad689cf2", "RoundRobinGroupChatManager"),
        ("worker-4f1e2d3c4b5a69788796a5b4", "worker-4f1e2d3c4b5a69788796a5b4"),
        ("crawler 1795171666", "crawler 1795171666"),
        ("writer #12", "writer #12"),
        ("writer (3)", "writer (3)"),
        ("trader-17", "trader-17"),
        ("gpt-4o agent", "gpt-4o agent"),
        ("Facade", "Facade"),
        ("887a815f-cc97-4a3d-9c04-f73cad689cf2", None),
        ("9f86d081884c7d659a2feaa0c55ad015", None),
        ("42", None),
        ("", None),
        (None, None),
    ],
)
def test_an_agents_name_loses_its_uuid_and_keeps_what_could_be_part_of_a_secret(given: str | None, name: str | None) -> None:
    assert labels.agent(given) == name


def test_an_agents_name_is_bounded() -> None:
    assert labels.agent("x" * 10_000) == "x" * labels.MAX_NAME


def test_a_label_is_the_first_value_that_says_something() -> None:
    seen = view({"a": "", "b": "  ", "c": None, "d": ["x"], "e": '"quoted"', "f": "later"})
    assert labels.label(seen, ("a", "b", "c", "d", "e", "f")) == "quoted"


def test_an_integer_is_a_label_and_a_truth_is_not() -> None:
    assert labels.label(view({"id": True, "user": 4711}), ("id", "user")) == "4711"


def test_a_label_is_bounded() -> None:
    assert labels.label(view({"a": "x" * 5000}), ("a",), 10) == "x" * 10


def test_frameworks_are_no_providers() -> None:
    seen = view({"gen_ai.provider.name": "langgraph", "gen_ai.system": "Strands-Agents", "llm.provider": "openai"})
    assert labels.provider(seen, ("gen_ai.provider.name", "gen_ai.system", "llm.provider")) == "openai"
    assert labels.provider(seen, ("gen_ai.provider.name", "none")) is None


@pytest.mark.parametrize(("text", "items"), [('["a", "b"]', ["a", "b"]), ("a, b", ["a", " b"]), ("[broken", []), ("one", ["one"]), ("[" * 5000, [])])
def test_a_list_is_json_or_words_between_commas(text: str, items: list[str]) -> None:
    assert labels.list_in(text) == items

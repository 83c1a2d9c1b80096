"""Agents' names as labels."""

from __future__ import annotations

import pytest

from sidecar.enrich.agent_labels import MAX_REMEMBERED, AgentLabels
from sidecar.enrich.agent_names import MAX_NAME, OTHER, TRACKED_NAMES, TrackedNames
from sidecar.enrich.agents import NAME
from sidecar.enrich.edit import encode_text
from sidecar.wire.attributes import encode_int


def named(name: str) -> tuple[bytes, ...]:
    return (encode_text("langfuse.observation.metadata.agent_team", "retail"), encode_text(NAME, name))


@pytest.mark.parametrize(
    ("name", "label"),
    [("pricing", "pricing"), ("pricing-17", "pricing"), ("[EMAIL]", "[EMAIL]"), ("[EMAIL:k1:0a1b2c3d]", "[EMAIL:k1:0a1b2c3d]"), ("a\nb", "a b")],
)
def test_the_masked_name_is_the_label_without_ids_and_counters(name: str, label: str) -> None:
    labels = AgentLabels(TrackedNames())

    assert [labels.of(named(name)) for _ in range(2)] == [label, label]


@pytest.mark.parametrize("said", [(), named("")[:1], named(""), (encode_int(NAME, 7),)])
def test_an_agent_without_a_name_is_unknown(said: tuple[bytes, ...]) -> None:
    assert AgentLabels(TrackedNames()).of(said) == "unknown"


def test_names_beyond_the_bound_are_other() -> None:
    labels = AgentLabels(TrackedNames())
    letters = [f"{one}{two}" for one in "abcdefghijklmnopqrst" for two in "abcdefghijklmnopqrst"]

    found = [labels.of(named(name)) for name in letters]

    assert found[:TRACKED_NAMES] == letters[:TRACKED_NAMES]
    assert set(found[TRACKED_NAMES:]) == {OTHER}
    assert labels.of(named("aa")) == "aa"


def test_what_is_remembered_is_bounded_and_so_is_a_label() -> None:
    labels = AgentLabels(TrackedNames())
    for number in range(3 * MAX_REMEMBERED):
        labels.of(named(f"worker {number} of many"))
        assert len(labels._known) <= MAX_REMEMBERED

    long = AgentLabels(TrackedNames())
    assert len(long.of(named("x" * 4000))) == MAX_NAME
    assert long._known == {}

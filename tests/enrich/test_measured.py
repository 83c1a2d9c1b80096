"""Measures added up by label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.enrich.agent_names import OTHER
from sidecar.enrich.measured import DURATION_S, MAX_SETS, Key, Measured, Spent, Spread
from sidecar.trace.measure import Measure

TRACE = bytes(range(16))
CALL = Measure(TRACE, "generation", "gpt-4o", "openai", 1.5, 0.25, (10, 5, 0, 0, 0, 2, 0, 0), 0.5)
FAILED = Measure(TRACE[::-1], "generation", "gpt-4o", "openai", 0.02, error="rate_limit")
KEY = Key("pricing", "generation", "gpt-4o", "openai")


def test_calls_of_one_agent_and_model_add_up() -> None:
    measured = Measured()
    for each in (CALL, CALL, FAILED):
        measured.count("pricing", "", each)

    (sums,) = measured.sums.values()
    assert list(measured.sums) == [KEY]
    assert sum(sums.durations.counts) == 3
    assert sums.durations.total == pytest.approx(3.02)
    assert sums.first_tokens is not None and sums.first_tokens.total == 0.5
    assert sums.tokens == [20, 10, 0, 0, 0, 4, 0, 0]
    assert sums.cost_usd == 1.0
    assert sums.errors == {"rate_limit": 1}
    assert sums.error_traces == {"rate_limit": TRACE[::-1]}


def test_agents_models_providers_and_operations_are_told_apart() -> None:
    measured = Measured()
    for labels in (
        ("generation", "gpt-4o", "openai"),
        ("generation", "o3", "openai"),
        ("generation", "gpt-4o", "azure"),
        ("embedding", "gpt-4o", "openai"),
    ):
        measured.count("pricing", "", Measure(TRACE, *labels))
    measured.count("stock", "", CALL)

    assert len(measured.sums) == 5
    assert measured.overflow == {}


@given(st.lists(st.floats(0, 200), min_size=1, max_size=20))
def test_a_value_stands_in_the_first_bucket_whose_bound_it_does_not_pass(values: list[float]) -> None:
    spread = Spread(DURATION_S)
    for value in values:
        spread.add(value, TRACE)

    for position, bound in enumerate(DURATION_S):
        assert sum(spread.counts[: position + 1]) == sum(value <= bound for value in values)
    assert sum(spread.counts) == len(values)


def test_each_bucket_remembers_its_last_trace_and_value() -> None:
    spread = Spread((1.0, 2.0))
    for value, trace_id in ((0.5, b"a"), (0.75, b"b"), (5.0, b"c")):
        spread.add(value, trace_id)

    assert spread.exemplars == [(b"b", 0.75), None, (b"c", 5.0)]


def test_label_sets_beyond_the_bound_are_other_and_counted_and_nothing_is_lost() -> None:
    measured = Measured()
    for number in range(MAX_SETS + 100):
        measured.count(f"agent {number}", "", CALL)
        measured.count("agent 0", "", CALL)
    measured.count("late", "", Measure(TRACE, "tool"))

    assert len(measured.sums) <= MAX_SETS + 2
    assert measured.overflow == {"sets": 101}
    assert sum(sums.cost_usd for sums in measured.sums.values()) == 0.5 * 2 * (MAX_SETS + 100)
    assert sum(measured.sums[Key(OTHER, "generation", OTHER, OTHER)].durations.counts) == 100
    assert Key(OTHER, "tool", "", "") in measured.sums


def test_agents_beyond_the_bound_are_counted() -> None:
    measured = Measured()
    measured.count(OTHER, "", CALL)

    assert measured.overflow == {"agents": 1}


def test_signals_count_by_agent_and_decisions_with_their_confidence() -> None:
    measured = Measured()
    measured.count("pricing", "", Measure(TRACE, signals=("decision", "handoff"), confidence=0.75))
    measured.count("pricing", "", Measure(TRACE, "agent", signals=("decision",)))

    assert measured.signals == {("pricing", "decision"): 2, ("pricing", "handoff"): 1}
    assert measured.confidences["pricing"].total == 0.75
    assert list(measured.sums) == [Key("pricing", "agent", "", "")]


def test_a_tools_bytes_add_up() -> None:
    measured = Measured()
    for _ in range(2):
        measured.count("pricing", "", Measure(TRACE, "tool", input_bytes=3, output_bytes=5))

    (sums,) = measured.sums.values()
    assert (sums.input_bytes, sums.output_bytes) == (6, 10)


def test_a_call_is_taken_from_its_agents_budget_and_from_each_of_its_models() -> None:
    measured = Measured()
    priced = Measure(TRACE, "generation", "gpt-4o", "openai", tokens=CALL.tokens, cost_usd=0.5, budgets=("gpt-*", "*"))
    for _ in range(2):
        measured.count("pricing", "retail", priced)
    measured.count("stock", "", CALL)
    measured.count("stock", "retail", Measure(TRACE, "tool"))

    assert measured.spent == {("agent", "retail"): Spent(1.0, 34), ("model", "gpt-*"): Spent(1.0, 34), ("model", "*"): Spent(1.0, 34)}

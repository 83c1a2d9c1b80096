"""Whose a measure is: counted with the agent that is known, waiting where one may still come, and never lost or doubled."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.completer import MAX_AWAITED, OVERDUE_MS, Completer, Counted
from sidecar.enrich.facts import Kind
from sidecar.enrich.notes import Note
from sidecar.enrich.said import BEGINNINGS
from sidecar.trace.live import ENTRY_BYTES, MAX_NODES, LiveTraces
from sidecar.trace.measure import Measure
from tests.enrich.test_completer import AGENT, SETTLE_MS, TRACE, a_span, completer, says


def call(span_id: str, parent: str = "", agent: str = "", *, trace_id: bytes = TRACE, budget: str = "", cost_usd: float = 1.0) -> Note:
    span = a_span(span_id, parent, {AGENT: agent} if agent else None, trace_id=trace_id)
    measure = Measure(trace_id, "generation", cost_usd=cost_usd)
    return Note(span, Kind.GENERATION, BEGINNINGS if agent else (), measure=measure, budget=budget)


def agents(counted: list[Counted]) -> list[tuple[str, str]]:
    return [(agent, budget) for agent, budget, _ in counted]


def test_a_span_counts_for_its_own_agent_else_for_its_nearest_ancestors() -> None:
    notes = [call("leaf", "mid"), call("mid", "root", "pricing", budget="retail"), call("side", "root"), call("root", "", "planner")]

    done = completer().complete(notes, 0)

    assert agents(done.counted) == [("pricing", "retail"), ("pricing", "retail"), ("planner", ""), ("planner", "")]
    assert [measure for _, _, measure in done.counted] == [note.measure for note in notes]


def test_where_no_agent_is_named_it_is_unknown() -> None:
    assert agents(completer().complete([call("leaf", "root"), call("root")], 0).counted) == [("unknown", "")] * 2


def test_a_child_that_came_before_its_agent_counts_for_it_when_its_row_is_sealed() -> None:
    to = completer()
    leaf = call("leaf", "mid")

    first = to.complete([leaf], 0)
    second = to.complete([call("mid", "root", "pricing", budget="retail"), call("root", "", "planner")], 1)
    assert (agents(first.counted), agents(second.counted), to.counted) == ([], [("pricing", "retail"), ("planner", "")], [])

    to.complete_row(TRACE, [leaf.span])
    assert agents(to.counted) == [("pricing", "retail")]
    assert says(leaf.span)[AGENT] == "pricing"
    to.complete_row(TRACE, [leaf.span])
    assert len(to.counted) == 1


def test_a_row_that_is_sealed_before_its_agent_came_counts_as_unknown() -> None:
    to = completer()
    leaf = call("leaf", "mid")
    to.complete([leaf], 0)

    to.complete_row(TRACE, [leaf.span])
    later = to.complete([call("mid", "", "pricing")], SETTLE_MS + 1)

    assert agents(to.counted) == [("unknown", "")]
    assert agents(later.counted) == [("pricing", "")]


def test_a_late_child_counts_at_once() -> None:
    to = completer()
    to.complete([call("root", "", "pricing")], 0)

    assert agents(to.complete([call("leaf", "root"), call("lost", "nobody")], SETTLE_MS * 10).counted) == [("pricing", ""), ("unknown", "")]


def test_a_row_that_is_left_out_counts_what_it_showed_all_the_same() -> None:
    to = completer(llm_only=True)
    note = Note(a_span("plain", "root"), Kind.SPAN, measure=Measure(TRACE, signals=("heartbeat",)))
    assert to.complete([note], 0).counted == []

    to.leave_out(TRACE, [note.span])

    assert agents(to.counted) == [("unknown", "")]


def test_the_measures_of_a_forgotten_trace_count_as_unknown() -> None:
    to = Completer(LiveTraces(3 * ENTRY_BYTES), settle_ms=SETTLE_MS)
    to.complete([call("leaf", "root")], 0)
    for number in range(4):
        to.complete([call("root", "", "pricing", trace_id=number.to_bytes(16))], 0)

    assert agents(to.counted) == [("unknown", "")]


def test_a_span_that_is_sent_again_because_its_request_was_refused_counts_once() -> None:
    to = completer()
    refused = to.complete([call("leaf", "root")], 0)
    accepted = to.complete([call("leaf", "root")], 1)
    to.complete_row(TRACE, [call("leaf", "root").span])

    assert refused.counted == accepted.counted == []
    assert len(to.counted) == 1


def test_measures_whose_row_was_never_stored_count_when_they_are_overdue() -> None:
    """The request was refused and never came again, or sampling dropped the row."""
    to = completer()
    to.complete([call("leaf", "root")], 0)
    to.complete([call("root", "", "pricing")], 1)
    overdue_ms = SETTLE_MS + OVERDUE_MS

    to.complete([], overdue_ms - 1)
    assert to.counted == []
    to.complete([], overdue_ms)
    to.complete([], 2 * overdue_ms)
    assert agents(to.counted) == [("pricing", "")]


def test_the_traces_that_are_awaited_are_bounded() -> None:
    to = Completer(LiveTraces(1 << 30), settle_ms=SETTLE_MS)
    for number in range(MAX_AWAITED + 5):
        to.complete([call("leaf", "root", trace_id=number.to_bytes(16))], 0)

    assert len(to._awaited) == MAX_AWAITED
    assert agents(to.counted) == [("unknown", "")] * 5


@pytest.mark.parametrize("masked", ["[EMAIL]", "[SECRET] agent"])
def test_only_the_masked_name_counts(masked: str) -> None:
    """Masking has changed the span between the note and its completion."""
    note = call("root", "", "ann@example.com")
    note.span.attributes[0] = a_span("x", "", {AGENT: masked}).attributes[0]

    assert agents(completer().complete([note], 0).counted) == [(masked, "")]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 9), st.booleans()), min_size=1, max_size=60), st.integers(2, 40))
def test_every_measure_counts_exactly_once_whatever_comes_and_is_forgotten(spans: list[tuple[int, int, int, bool]], room: int) -> None:
    live = LiveTraces(room * ENTRY_BYTES)
    to = Completer(live, settle_ms=SETTLE_MS)
    waiting: list[Note] = []
    counted: list[Counted] = []
    for number, (trace, _, parent, has_agent) in enumerate(spans):
        trace_id = trace.to_bytes(16)
        note = call(f"{number}", f"{parent}" if parent else "", "pricing" if has_agent else "", trace_id=trace_id, cost_usd=2.0**number)
        done = to.complete([note], number)
        counted += done.counted
        if trace_id in done.seal_at:
            waiting.append(note)
    for note in waiting:
        to.complete_row(note.span.trace_id, [note.span])
    to.complete([], 0)

    assert sum(measure.cost_usd for _, _, measure in counted + to.counted) == 2.0 ** len(spans) - 1


def test_a_trace_with_more_spans_than_are_remembered_loses_no_measure() -> None:
    to = Completer(LiveTraces(1 << 30), settle_ms=SETTLE_MS)
    notes = [call(f"{number:08}", "root") for number in range(MAX_NODES + 10)]

    done = to.complete(notes, 0)
    to.complete_row(TRACE, [note.span for note in notes])

    assert len(done.counted) + len(to.counted) == len(notes)

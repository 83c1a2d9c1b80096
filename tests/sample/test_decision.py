"""Decisions: consistent with OpenTelemetry, one a trace, and counts that stay right whatever rules do."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from sidecar.enrich.notes import Finding
from sidecar.sample.decision import (
    ADJUSTED_COUNT,
    ENTRY_BYTES,
    KEEP_ALL,
    MAX_OT,
    NEVER,
    PROBABILITY,
    RESCUED,
    RULE,
    TORN,
    Decision,
    Decisions,
    Glimpse,
    Priority,
    Reason,
    adjusted_count,
    glimpses,
    mark_dropped,
    mark_kept,
    mark_raised,
    probability_of,
    threshold_of,
    with_threshold,
)
from sidecar.sample.keep_rules import parse_sampling
from sidecar.wire.attributes import Value, decode
from sidecar.wire.shallow_pb2 import Span
from sidecar.wire.tracestate import explicit_randomness, threshold

PLAIN = Finding(None, "a", 1.0, 0.0, 0, None)
LOW, HIGH = (1).to_bytes(16, "big"), bytes(9) + b"\xff" * 7
"""Ids of traces with the lowest and the highest R."""


def decisions(tree: object = None, max_bytes: int = 1 << 20) -> Decisions:
    return Decisions(max_bytes, parse_sampling({"minimum_per_minute": 0} if tree is None else tree), 0.0)


def glimpse(trace_id: bytes = LOW, found: Finding = PLAIN, spans: int = 1, state: bytes = b"") -> Glimpse:
    seen = Glimpse(trace_id)
    for _ in range(spans):
        seen.add(state, found)
    return seen


def attributes(span: Span) -> dict[str, Value]:
    return dict(decode(raw) for raw in span.attributes)


@pytest.mark.parametrize(
    ("probability", "digits"),
    [(1, "0"), (0.5, "8"), (0.25, "c"), (0.1, "e666"), (0.01, "fd70a"), (0.001, "ffbe77"), (2**-56, "ffffffffffffff"), (1e-30, "ffffffffffffff")],
)
def test_thresholds_are_those_of_the_specification(probability: float, digits: str) -> None:
    assert with_threshold(b"", threshold_of(probability)) == b"ot=th:" + digits.encode()


@given(st.floats(2**-46, 1))
def test_a_threshold_is_the_probability_to_four_digits_and_more(probability: float) -> None:
    """Down to a thousand steps of the threshold, which are 2**-56 each: of fewer, half a step is more than a thousandth."""
    t = threshold_of(probability)

    assert KEEP_ALL <= t < NEVER
    assert probability_of(t) == pytest.approx(probability, rel=0.001, abs=0)
    assert adjusted_count(t) == pytest.approx(1 / probability, rel=0.001)


@pytest.mark.parametrize("nothing", [0.0, -1.0, float("nan")])
def test_no_probability_is_never(nothing: float) -> None:
    assert threshold_of(nothing) == NEVER
    assert adjusted_count(NEVER) == 0


@pytest.mark.parametrize(
    ("state", "t", "expected"),
    [
        (b"", None, b""),
        (b"ot=th:8", None, b""),
        (b"ot=th:8;rv:0123456789abcd", None, b"ot=rv:0123456789abcd"),
        (b"ot=rv:0123456789abcd;x:y", 1 << 55, b"ot=th:8;rv:0123456789abcd;x:y"),
        (b"a=1, ot=th:4 ,b=2", 1 << 55, b"ot=th:8,a=1,b=2"),
        (b"ot=th:zzz;th:4", 0, b"ot=th:0"),
        (b"a=1", None, b"a=1"),
        (b"ot=" + b"x" * 250, 1 << 55, b"ot=" + b"x" * 250),
        (b",".join(b"k%d=1" % n for n in range(32)), 0, b",".join([b"ot=th:0", *(b"k%d=1" % n for n in range(31))])),
    ],
)
def test_a_threshold_is_written_and_everything_else_stays(state: bytes, t: int | None, expected: bytes) -> None:
    assert with_threshold(state, t) == expected


@given(st.binary(max_size=400), st.one_of(st.none(), st.integers(0, NEVER - 1)))
def test_any_state_takes_a_threshold(state: bytes, t: int | None) -> None:
    written = with_threshold(state, t)

    assert threshold(written) == t or len(next(each for each in written.split(b",") if each.startswith(b"ot="))) + 18 > MAX_OT
    assert with_threshold(written, t) == written


def test_r_decides_and_the_decision_stays_when_the_probability_changes() -> None:
    made = decisions()

    assert made.decide(glimpse(LOW), 0.5, 0) == Decision(False, 1 << 55, 1)
    assert made.decide(glimpse(HIGH), 0.5, 0).kept
    assert not made.decide(glimpse(LOW), 1.0, 1).kept
    later = made.decide(glimpse(HIGH), 2**-56, 1)
    assert (later.kept, later.threshold) == (True, 1 << 55)


def test_a_trace_that_began_while_all_was_kept_is_kept_to_its_end() -> None:
    made = decisions()
    assert made.decide(glimpse(LOW), 1.0, 0).is_plain

    assert made.decide(glimpse(LOW), 0.01, 1).is_plain


def test_explicit_randomness_is_used() -> None:
    assert decisions().decide(glimpse(LOW, state=b"ot=rv:ffffffffffffff"), 0.01, 0).kept


def test_the_base_probability_multiplies_and_none_is_never() -> None:
    made = decisions()

    assert made.decide(glimpse(HIGH, replaced(PLAIN, base=0.5)), 0.5, 0).threshold == threshold_of(0.25)
    assert made.decide(glimpse(LOW, replaced(PLAIN, base=0.0)), 1.0, 0) == Decision(False, NEVER, 1)


def test_priority_0_drops_while_everything_is_kept_and_a_higher_one_keeps() -> None:
    made = decisions()
    zero = made.decide(glimpse(HIGH, replaced(PLAIN, priority=0)), 1.0, 0)

    assert (zero.kept, zero.reason) == (False, Reason.PRIORITY)
    assert made.decide(glimpse(HIGH, replaced(PLAIN, priority=1, rule="priority")), 1.0, 1).rescues == 1


def test_a_rule_keeps_the_trace_from_its_first_span_on() -> None:
    made = decisions()
    kept = made.decide(glimpse(LOW, replaced(PLAIN, rule="mine")), 0.01, 0)

    assert kept == Decision(True, KEEP_ALL, 1, "mine", priority=Priority.RULE)
    assert made.decide(glimpse(LOW), 0.01, 1).rule == "mine"


def test_a_dropped_trace_that_turns_out_to_matter_is_rescued_once() -> None:
    made = decisions()
    made.decide(glimpse(LOW, spans=3), 0.01, 0)
    made.decide(glimpse(LOW, spans=2), 0.01, 1)
    rescued = made.decide(glimpse(LOW, replaced(PLAIN, rule="errors")), 0.01, 2)

    assert (rescued.kept, rescued.rescues, rescued.priority) == (True, 5, Priority.ERROR)
    assert made.decide(glimpse(LOW), 0.01, 3).rescues == 0


@pytest.mark.parametrize(("cost", "tokens", "rule"), [(0.5, 0, "cost"), (0.0, 100_000, "tokens")])
def test_cost_and_tokens_add_up_over_a_trace(cost: float, tokens: int, rule: str) -> None:
    made, found = decisions(), replaced(PLAIN, cost_usd=cost, tokens=tokens)

    assert not made.decide(glimpse(LOW, found), 0.01, 0).kept
    assert made.decide(glimpse(LOW, found), 0.01, 1).rule == rule


def test_each_agent_has_a_trace_a_minute() -> None:
    made = decisions({})
    ids = [number.to_bytes(16, "big") for number in range(1, 6)]
    at = {0: "a", 1: "a", 2: "b", 59: "a", 61: "a"}
    rules = [
        made.decide(glimpse(trace_id, replaced(PLAIN, agent=agent)), 0.01, now).rule for trace_id, (now, agent) in zip(ids, at.items(), strict=True)
    ]

    assert rules == ["minimum", None, "minimum", None, "minimum"]


def test_an_agent_that_is_named_late_has_its_minimum_too() -> None:
    made = decisions({})
    nobody = replaced(PLAIN, agent=None)
    made.decide(glimpse(HIGH, nobody), 0.01, 0)
    assert made.decide(glimpse(LOW, nobody), 0.01, 1).rule is None

    assert made.decide(glimpse(LOW), 0.01, 2).rescues == 1


def test_rules_share_what_the_destination_takes_and_the_rest_is_left_to_chance_and_counted() -> None:
    made = decisions({"minimum_per_minute": 0, "capacity": {"spans_per_s": 1, "burst_s": 10}})
    kept = [made.decide(glimpse(number.to_bytes(16, "big"), replaced(PLAIN, rule="errors"), spans=5), 0.5, 0).kept for number in range(1, 5)]

    assert kept == [True, True, False, False]
    assert made.excess == {"errors": 10}


def test_what_meets_a_rule_is_shed_late_also_where_nothing_had_to_be_granted() -> None:
    made = decisions({"minimum_per_minute": 0, "capacity": {"spans_per_s": 1, "burst_s": 1}})
    found = replaced(PLAIN, cost_usd=0.6)

    assert made.decide(glimpse(LOW, replaced(PLAIN, rule="errors")), 1.0, 0) == Decision(True, KEEP_ALL, 1, priority=Priority.ERROR)
    assert [made.decide(glimpse(HIGH, found), 1.0, 0).priority for _ in range(3)] == [Priority.CHANCE, Priority.RULE, Priority.RULE]
    kept = bytes(15) + b"\x02"
    made.decide(glimpse(kept, replaced(PLAIN, rule="errors"), spans=5), 0.5, 0)
    refused = made.decide(glimpse(HIGH[:1] + b"\x01" + HIGH[2:], replaced(PLAIN, rule="mine")), 0.5, 0)
    assert (refused.kept, refused.rule, refused.priority) == (True, None, Priority.RULE)


def test_a_refused_request_is_taken_back_and_decided_alike_when_it_is_sent_again() -> None:
    made, first = decisions(), glimpse(LOW, replaced(PLAIN, cost_usd=0.3), spans=3)
    made.take_back(first, made.decide(first, 0.01, 0))
    assert not made.decide(first, 0.01, 1).kept
    wanted = glimpse(LOW, replaced(PLAIN, rule="errors"))
    refused = made.decide(wanted, 0.01, 2)
    made.take_back(wanted, refused)

    assert refused.rescues == 3
    assert made.decide(wanted, 0.01, 3).rescues == 3
    made.take_back(glimpse(HIGH), refused)


def test_whether_a_rule_is_granted_never_depends_on_r() -> None:
    """The same story for traces with the lowest and with the highest R, side by side, each with its own allowance."""
    story = random.Random(5)
    tree = {"capacity": {"spans_per_s": 2, "burst_s": 5}, "minimum_per_minute": 2}
    low, high, now = decisions(tree), decisions(tree), 0.0
    for _ in range(3000):
        now += story.random()
        number = story.randrange(400)
        found = replaced(
            PLAIN, rule=story.choice([None, None, None, "errors", "mine"]), agent=story.choice([None, "a", "b"]), cost_usd=story.random() / 5
        )
        pair = [
            made.decide(glimpse(bytes([1]) + number.to_bytes(8, "big") + tail, found), 0.1, now)
            for made, tail in ((low, bytes(7)), (high, b"\xff" * 7))
        ]
        assert pair[0].rule == pair[1].rule
    assert low.excess == high.excess != Counter()


def test_feedback_from_outside_keeps_a_trace() -> None:
    made = decisions()
    made.decide(glimpse(LOW, spans=4), 0.01, 0)
    wanted = made.demand(LOW, "feedback", 1)

    assert wanted is not None
    assert (wanted.kept, wanted.rule, wanted.rescues) == (True, "feedback", 4)
    assert made.demand(HIGH, "feedback", 1) is None


def test_a_torn_trace_says_so_from_then_on() -> None:
    made = decisions()
    made.decide(glimpse(HIGH), 0.5, 0)
    made.tear(HIGH)

    assert made.decide(glimpse(HIGH), 0.5, 1).torn


def test_a_shed_trace_is_dropped_until_a_rule_keeps_it() -> None:
    made = decisions()
    made.decide(glimpse(HIGH), 1.0, 0)
    made.shed(HIGH, NEVER - 1, 7, NEVER - 1)
    made.shed(LOW, 1, 2, 5)

    assert made.decide(glimpse(HIGH), 1.0, 1) == Decision(False, NEVER - 1, NEVER - 1, reason=Reason.SHED)
    assert not made.decide(glimpse(LOW), 1.0, 1).kept
    assert made.decide(glimpse(HIGH, replaced(PLAIN, rule="errors")), 1.0, 2).rescues == 8


def test_traces_that_are_shed_forget_no_live_ones() -> None:
    made = decisions(max_bytes=2 * ENTRY_BYTES)
    for trace_id in (LOW, HIGH):
        made.decide(glimpse(trace_id), 1.0, 0)
    made.shed((7).to_bytes(16, "big"), 7, 1, 8)

    assert (len(made), made.forgotten) == (2, 0)


def test_memory_is_bounded_and_the_longest_unseen_is_forgotten() -> None:
    made = decisions(max_bytes=10 * ENTRY_BYTES)
    for number in range(1, 12):
        made.decide(glimpse(number.to_bytes(16, "big")), 0.01, 0)
        made.decide(glimpse(LOW), 0.01, 0)

    assert (len(made), made.forgotten) == (10, 1)
    assert not made.decide(glimpse(LOW), 1.0, 0).kept


def test_a_trace_takes_no_more_memory_than_is_counted() -> None:
    made = decisions(max_bytes=20_000 * ENTRY_BYTES)
    chance = random.Random(1)
    tracemalloc.start()
    for _ in range(20_000):
        made.decide(glimpse(chance.randbytes(16), replaced(PLAIN, cost_usd=0.001, tokens=1000)), 0.0101, 0)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert taken <= 20_000 * ENTRY_BYTES
    assert taken >= 20_000 * ENTRY_BYTES * 0.6


def test_kept_spans_say_how_they_were_chosen() -> None:
    spans = [Span(trace_id=HIGH), Span(trace_id=HIGH, trace_state=b"a=1,ot=th:c")]
    total = mark_kept(spans, Decision(True, 1 << 55, NEVER - 1))

    assert total == 2 + 4
    assert [span.trace_state for span in spans] == [b"ot=th:8", b"a=1,ot=th:c"]
    assert attributes(spans[0]) == {PROBABILITY: "0.5", ADJUSTED_COUNT: "2"}
    assert attributes(spans[1]) == {PROBABILITY: "0.25", ADJUSTED_COUNT: "4"}


def test_what_a_rule_keeps_has_the_probability_that_it_came_with() -> None:
    spans = [Span(), Span(trace_state=b"ot=th:8")]
    total = mark_kept(spans, Decision(True, KEEP_ALL, NEVER - 1, "errors", torn=True))

    assert total == 1 + 2
    assert [span.trace_state for span in spans] == [b"", b"ot=th:8"]
    assert attributes(spans[1]) == {PROBABILITY: "0.5", ADJUSTED_COUNT: "2", RULE: "errors", TORN: "true"}


def test_a_threshold_that_r_cannot_have_passed_is_erased() -> None:
    span = Span(trace_state=b"ot=th:c;rv:00000000000009")

    assert mark_kept([span], Decision(True, KEEP_ALL, 9, "errors")) == 1
    assert span.trace_state == b"ot=rv:00000000000009"


def test_while_nothing_is_sampled_spans_stay_as_they_came() -> None:
    span = Span(trace_id=HIGH, trace_state=b"ot=th:8")
    before = span.SerializeToString()

    assert mark_kept([span], Decision(True, KEEP_ALL, NEVER - 1)) == 2
    assert span.SerializeToString() == before


def test_dropped_spans_are_marked_as_counting_for_nothing_if_they_come_back() -> None:
    span = Span(trace_state=b"ot=th:4;rv:0123456789abcd")
    mark_dropped([span])

    assert attributes(span) == {ADJUSTED_COUNT: "0", RESCUED: "true"}
    assert explicit_randomness(span.trace_state) is not None
    assert threshold(span.trace_state) is None


def test_glimpses_put_the_spans_of_a_trace_together() -> None:
    found = [
        (Span(trace_id=LOW), replaced(PLAIN, agent=None, rule="mine", base=0.2)),
        (Span(trace_id=HIGH), PLAIN),
        (Span(trace_id=LOW, trace_state=b"ot=rv:00000000000007"), replaced(PLAIN, rule="errors", priority=0, base=0.4, cost_usd=1, tokens=3)),
        (Span(trace_id=LOW), replaced(PLAIN, agent="b", rule="other", priority=2, cost_usd=1, tokens=4)),
    ]
    seen = glimpses(found)[LOW]

    assert list(glimpses(found)) == [LOW, HIGH]
    assert seen.members == [found[0][0], found[2][0], found[3][0]]
    assert (seen.spans, seen.randomness, seen.agent, seen.base, seen.rule, seen.cost_usd, seen.tokens, seen.priority) == (
        3,
        7,
        "a",
        1.0,
        "errors",
        2,
        7,
        2,
    )


def test_a_row_that_passed_a_higher_threshold_since_says_so() -> None:
    spans = [Span(trace_id=HIGH, trace_state=b"a=1"), Span(trace_id=HIGH)]
    mark_kept(spans, Decision(True, 1 << 55, NEVER - 1))
    plain, rescued = Span(), Span()
    mark_dropped([rescued])
    before = rescued.SerializeToString()

    assert mark_raised([*spans, plain, rescued], 3 << 54)
    assert [span.trace_state for span in (*spans, plain)] == [b"ot=th:c,a=1", b"ot=th:c", b"ot=th:c"]
    assert all(attributes(span) == {PROBABILITY: "0.25", ADJUSTED_COUNT: "4"} for span in (*spans, plain))
    assert len(spans[0].attributes) == 2
    assert rescued.SerializeToString() == before


def test_a_row_that_came_with_its_threshold_stays_as_it_is() -> None:
    """Its spans may have passed different ones; the row has the highest."""
    spans = [Span(trace_state=b"ot=th:c"), Span()]

    assert not mark_raised(spans, 3 << 54)
    assert list(spans[1].attributes) == []

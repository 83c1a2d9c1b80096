"""The table of live traces."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.trace.live import (
    ABOVE_BYTES,
    CALL_BELOW,
    CALL_BYTES,
    COUNTED_BELOW,
    ENTRY_BYTES,
    MAX_ANSWERS,
    MAX_CALLS,
    MAX_CONTENT_BYTES,
    MAX_CONTEXT_BYTES,
    MAX_NODES,
    MAX_TAGS,
    NODE_BYTES,
    Call,
    Content,
    Learned,
    LiveTraces,
    Node,
    Said,
)
from sidecar.trace.measure import MEASURE_BYTES, Measure

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))
PLAIN = Node(b"parent-1", None, kept=True)
MEASURE = Measure(ONE, "generation", cost_usd=0.5)


def room_for(entries: int) -> LiveTraces:
    return LiveTraces(max_bytes=entries * ENTRY_BYTES)


def message(text: str, at: int = 0) -> Content:
    return Content("input", time_unix_nano=at, text=text, many=False)


def test_a_trace_begins_when_it_is_first_seen() -> None:
    live = room_for(10)
    first = live.see(ONE, 100)
    assert live.see(ONE, 200) is first
    assert first.first_seen_ms == 100
    assert live.get(TWO) is None


def test_a_clock_set_back_moves_the_beginning_back() -> None:
    live = room_for(10)
    live.see(ONE, 1_000_000)
    assert live.see(ONE, 1000).first_seen_ms == 1000


def test_the_trace_unseen_for_longest_leaves_first() -> None:
    live = room_for(2)
    for trace_id in (ONE, TWO, ONE, THREE):
        live.see(trace_id, 0)
    assert live.get(TWO) is None
    assert live.get(ONE) is not None and live.get(THREE) is not None
    assert live.evictions == 1


def test_a_forgotten_trace_that_is_still_held_changes_the_table_no_more() -> None:
    live = room_for(1)
    forgotten = live.see(ONE, 0)
    live.see(TWO, 0)
    live.add_span(forgotten, b"span-001", PLAIN)
    live.add_tag(forgotten, "tag")
    assert live.size_bytes == ENTRY_BYTES


def test_of_a_trace_the_newest_spans_are_remembered() -> None:
    live = LiveTraces(1 << 30)
    state = live.see(ONE, 0)
    for number in range(MAX_NODES + 10):
        live.add_span(state, number.to_bytes(8), PLAIN)
    assert len(state.nodes) == MAX_NODES
    assert (9).to_bytes(8) not in state.nodes and (10).to_bytes(8) in state.nodes
    assert live.size_bytes == ENTRY_BYTES + MAX_NODES * NODE_BYTES


def test_a_span_seen_again_is_counted_once() -> None:
    live = room_for(10)
    state = live.see(ONE, 0)
    live.add_span(state, b"span-001", Node(b"", Said((b"agent",), {"user": b"raw"}), kept=True))
    live.add_span(state, b"span-001", PLAIN)
    assert state.nodes == {b"span-001": PLAIN}
    assert live.size_bytes == ENTRY_BYTES + NODE_BYTES


def test_the_stronger_claim_counts() -> None:
    live = room_for(10)
    state = live.see(ONE, 0)
    live.learn(state, "user", Learned(1, b"weak"))
    live.learn(state, "user", Learned(3, b"strong"))
    live.learn(state, "user", Learned(2, b"late"))
    assert state.context["user"] == Learned(3, b"strong")


def test_equally_strong_claims_that_differ_cancel_out_until_a_stronger_one_comes() -> None:
    live = room_for(10)
    state = live.see(ONE, 0)
    for raw in (b"anna", b"anna", b"bert", b"anna"):
        live.learn(state, "user", Learned(3, raw))
    assert state.context["user"].raw == b""
    live.learn(state, "user", Learned(4, b"root"))
    assert state.context["user"].raw == b"root"


def test_context_tags_and_content_are_bounded() -> None:
    live = LiveTraces(1 << 30)
    state = live.see(ONE, 0)
    for number in range(100):
        live.learn(state, f"metadata.{number}", Learned(3, b"x" * 1000))
        live.add_tag(state, f"tag {number}")
    assert state.context_bytes <= MAX_CONTEXT_BYTES
    assert len(state.tags) == MAX_TAGS
    taken = [live.add_content(state, b"span-001", message("\N{SNOWMAN}" * 100_000, at)) for at in (0, 0, 1, 2, 3)]
    assert taken == [True, False, True, False, False]
    assert state.content_bytes <= MAX_CONTENT_BYTES


def test_content_is_taken_once_in_the_order_of_its_time() -> None:
    live = room_for(10)
    state = live.see(ONE, 0)
    for text, at in (("second", 2), ("first", 1)):
        assert live.add_content(state, b"span-001", message(text, at))
    assert [content.text for content in live.take_content(state, b"span-001")] == ["first", "second"]
    assert live.take_content(state, b"span-001") == []
    assert live.size_bytes == ENTRY_BYTES


def test_a_measure_waits_at_its_span_and_is_taken_once() -> None:
    live = room_for(10)
    state = live.see(ONE, 0)
    live.add_span(state, b"span-001", PLAIN)
    assert live.take_measure(state, b"span-001") is None
    assert live.keep_measure(state, b"span-001", MEASURE)
    assert live.size_bytes == ENTRY_BYTES + NODE_BYTES + MEASURE_BYTES
    assert live.take_measure(state, b"span-001") is MEASURE
    assert live.take_measure(state, b"span-001") is None
    assert live.size_bytes == ENTRY_BYTES + NODE_BYTES
    assert live.take_left() == []


def test_a_measure_of_a_span_or_trace_that_is_forgotten_already_cannot_wait() -> None:
    live = room_for(1)
    state = live.see(ONE, 0)
    assert not live.keep_measure(state, b"span-001", MEASURE)
    live.add_span(state, b"span-001", PLAIN)
    assert not state.is_live
    assert not live.keep_measure(state, b"span-001", MEASURE)


def test_the_measures_of_a_forgotten_trace_are_left_and_given_once() -> None:
    live = room_for(3)
    state = live.see(ONE, 0)
    live.add_span(state, b"span-001", PLAIN)
    live.keep_measure(state, b"span-001", MEASURE)
    for trace_id in (TWO, THREE):
        live.see(trace_id, 0)
    assert live.get(ONE) is None
    assert live.take_left() == [MEASURE]
    assert live.take_left() == []


def test_the_measure_of_a_span_that_makes_room_in_its_trace_is_left() -> None:
    live = LiveTraces(1 << 30)
    state = live.see(ONE, 0)
    for number in range(MAX_NODES + 1):
        live.add_span(state, number.to_bytes(8), PLAIN)
        live.keep_measure(state, number.to_bytes(8), MEASURE)
    assert live.take_left() == [MEASURE]
    assert live.size_bytes == ENTRY_BYTES + MAX_NODES * (NODE_BYTES + MEASURE_BYTES)


def test_of_a_span_that_is_seen_again_only_the_newer_measure_counts() -> None:
    live = room_for(10)
    state = live.see(ONE, 0)
    live.add_span(state, b"span-001", PLAIN)
    live.keep_measure(state, b"span-001", MEASURE)
    live.add_span(state, b"span-001", PLAIN)
    assert live.take_measure(state, b"span-001") is None
    assert live.take_left() == []
    assert live.size_bytes == ENTRY_BYTES + NODE_BYTES


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from([ONE, TWO, THREE]), st.integers(0, 6), st.integers(0, 600), st.integers(0, 20)), max_size=80))
def test_the_table_never_grows_beyond_its_bound(actions: list[tuple[bytes, int, int, int]]) -> None:
    live = LiveTraces(8 * ENTRY_BYTES)
    waiting = 0
    for trace_id, action, size, number in actions:
        state = live.see(trace_id, 0)
        key = number.to_bytes(8)
        match action:
            case 0:
                live.add_span(state, key, PLAIN)
            case 1:
                live.add_span(state, key, Node(b"", Said((b"x" * size,), {"user": b"y" * size}), kept=True))
            case 2:
                live.learn(state, f"metadata.{number}", Learned(number % 5, b"z" * size))
            case 3:
                live.add_content(state, key, message("x" * size, size))
            case 4:
                waiting += live.keep_measure(state, key, MEASURE)
            case 5:
                waiting -= live.take_measure(state, key) is not None
            case _:
                live.take_content(state, key)
        waiting -= len(live.take_left())
        assert live.size_bytes <= 8 * ENTRY_BYTES
        states = [each for each in (live.get(known) for known in (ONE, TWO, THREE)) if each is not None]
        assert live.size_bytes == sum(each.size_bytes for each in states)
        kept = sum(node.measure is not None for each in states for node in each.nodes.values())
        assert sum(each.measures for each in states) == kept <= waiting


def test_the_stated_size_of_a_span_covers_what_python_takes() -> None:
    parent, span_id = b"parent-1"[:], b"span-001"[:]
    nodes = {number.to_bytes(8): Node(parent, None, kept=True) for number in range(1000)}
    real = sys.getsizeof(nodes) / 1000 + sys.getsizeof(Node(parent, None, kept=True)) + sys.getsizeof(parent) + sys.getsizeof(span_id)
    assert real <= NODE_BYTES


def a_call(tokens: int = 5) -> Call:
    return Call(scope=1, models=(2,), tokens=tokens, start_ns=0, end_ns=1, answer=None, is_agent=False)


def test_of_the_calls_of_a_trace_the_newest_are_remembered() -> None:
    live = LiveTraces(1 << 20)
    state = live.see(b"t", 0)
    for number in range(MAX_CALLS + 3):
        live.add_call(state, b"%d" % number, a_call())
    live.add_call(state, b"5", a_call(tokens=7))
    assert (len(state.calls), b"2" in state.calls, b"3" in state.calls) == (MAX_CALLS, False, True)
    assert list(state.calls)[-1] == b"5"
    assert state.size_bytes == ENTRY_BYTES + MAX_CALLS * CALL_BYTES


def test_an_answer_counts_for_the_first_span_that_counts() -> None:
    live = LiveTraces(1 << 20)
    told = [(b"zero", False), (b"one", True), (b"two", True), (b"one", True), (b"zero", False)]
    assert [live.is_first(1, span_id, counts=counts) for span_id, counts in told] == [True, True, False, True, False]
    assert live.is_first(2, b"two", counts=True)


def test_no_more_answers_are_remembered_than_the_bound() -> None:
    live = LiveTraces(1 << 20)
    for number in range(MAX_ANSWERS + 1):
        live.is_first(number, b"s", counts=True)
    assert [live.is_first(number, b"t", counts=False) for number in (0, 1, MAX_ANSWERS)] == [True, False, False]


def test_what_lies_below_is_marked_up_to_the_first_unknown_span_and_loses_what_is_bounded() -> None:
    live = LiveTraces(1 << 20)
    state = live.see(b"t", 0)
    live.add_span(state, b"chain", Node(b"tool", None, kept=True))
    live.add_span(state, b"tool", Node(b"root", None, kept=True, bounds=True))
    live.mark_above(state, b"chain", CALL_BELOW | COUNTED_BELOW)
    assert state.above == {b"chain": CALL_BELOW | COUNTED_BELOW, b"tool": CALL_BELOW | COUNTED_BELOW, b"root": CALL_BELOW}
    assert state.size_bytes == ENTRY_BYTES + 2 * NODE_BYTES + 3 * ABOVE_BYTES
    live.mark_above(state, b"chain", CALL_BELOW)
    live.mark_above(state, b"", CALL_BELOW)
    assert len(state.above) == 3


def test_a_circle_is_marked_once() -> None:
    live = LiveTraces(1 << 20)
    state = live.see(b"t", 0)
    live.add_span(state, b"a", Node(b"b", None, kept=True))
    live.add_span(state, b"b", Node(b"a", None, kept=True))
    live.mark_above(state, b"a", CALL_BELOW)
    assert set(state.above) == {b"a", b"b"}


def test_no_more_spans_of_a_trace_are_marked_than_the_bound() -> None:
    live = LiveTraces(16 << 20)
    state = live.see(b"t", 0)
    for number in range(MAX_NODES + 2):
        live.mark_above(state, b"%d" % number, CALL_BELOW)
    assert len(state.above) == MAX_NODES


def test_the_stated_size_of_a_measure_covers_what_python_takes() -> None:
    tokens = tuple(range(1_000_000, 1_000_008))
    full = Measure(ONE, "generation", "gpt-4o", "openai", 1.5, 0.5, tokens, 0.25, "timeout", ("decision",), 0.75, 100_000, 200_000)
    parts = (full, full.trace_id, full.duration_s, full.first_token_s, full.cost_usd, full.confidence, tokens, full.signals, *tokens, 300, 300)
    assert 0.9 * MEASURE_BYTES <= sum(map(sys.getsizeof, parts)) <= MEASURE_BYTES

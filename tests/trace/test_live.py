"""The table of live traces."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.trace.live import ENTRY_BYTES, LiveTraces, TraceState

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))
SETTLE_MS = 6000


def room_for(entries: int) -> LiveTraces:
    return LiveTraces(max_bytes=entries * ENTRY_BYTES)


def test_observing_adds_up_what_was_seen() -> None:
    live = room_for(10)
    live.observe(ONE, spans=2, root_seen=False, now_ms=100)
    live.observe(ONE, spans=3, root_seen=True, now_ms=200)
    state = live.observe(ONE, spans=1, root_seen=False, now_ms=150)
    assert state == TraceState(first_seen_ms=100, last_seen_ms=200, spans=6, root_seen=True)


def test_a_row_settles_until_its_traces_first_row_has_settled() -> None:
    live = room_for(10)
    live.observe(ONE, 1, root_seen=False, now_ms=1000)
    assert live.seal_at(ONE, now_ms=1000, settle_ms=SETTLE_MS) == 7000
    assert live.seal_at(ONE, now_ms=6999, settle_ms=SETTLE_MS) == 7000
    assert live.seal_at(ONE, now_ms=7000, settle_ms=SETTLE_MS) is None, "later rows are born sealed"


def test_a_row_is_born_sealed_once_the_root_is_known() -> None:
    live = room_for(10)
    live.observe(ONE, 1, root_seen=True, now_ms=1000)
    assert live.seal_at(ONE, now_ms=1000, settle_ms=SETTLE_MS) is None


def test_without_time_to_settle_every_row_is_born_sealed() -> None:
    live = room_for(10)
    live.observe(ONE, 1, root_seen=False, now_ms=1000)
    assert live.seal_at(ONE, now_ms=1000, settle_ms=0) is None


def test_an_unknown_trace_begins_now() -> None:
    assert room_for(10).seal_at(ONE, now_ms=1000, settle_ms=SETTLE_MS) == 7000


def test_a_clock_set_back_never_makes_a_row_wait_longer() -> None:
    live = room_for(10)
    live.observe(ONE, 1, root_seen=False, now_ms=1_000_000)
    assert live.seal_at(ONE, now_ms=1000, settle_ms=SETTLE_MS) == 7000


def test_the_trace_unseen_for_longest_leaves_first() -> None:
    live = room_for(2)
    for trace_id in (ONE, TWO, ONE, THREE):
        live.observe(trace_id, 1, root_seen=False, now_ms=1)
    assert [live.get(trace_id) is not None for trace_id in (ONE, TWO, THREE)] == [True, False, True]
    assert live.evictions == 1


def test_learned_facts_are_kept_and_newer_ones_win() -> None:
    live = room_for(10)
    live.observe(ONE, 1, root_seen=False, now_ms=1)
    assert live.learn(ONE, {"user.id": "a", "session.id": "s"})
    assert live.learn(ONE, {"user.id": "b"})
    state = live.get(ONE)
    assert state is not None and state.context == {"user.id": "b", "session.id": "s"}


def test_nothing_is_learned_of_an_unknown_trace() -> None:
    live = room_for(10)
    assert not live.learn(ONE, {"user.id": "a"})
    assert len(live) == 0


def test_a_trace_that_learns_too_much_leaves_like_any_other() -> None:
    live = room_for(3)
    live.observe(ONE, 1, root_seen=False, now_ms=1)
    assert not live.learn(ONE, {"user.id": "x" * 10_000})
    assert (len(live), live.size_bytes, live.evictions) == (0, 0, 1)


@given(st.lists(st.tuples(st.integers(0, 20), st.text(max_size=40), st.text(max_size=40)), max_size=60), st.integers(0, 8000))
@settings(max_examples=100, deadline=None)
def test_the_count_of_bytes_is_exact_and_never_over_the_bound(steps: list[tuple[int, str, str]], max_bytes: int) -> None:
    live = LiveTraces(max_bytes)
    for number, key, value in steps:
        trace_id = bytes([number]) * 16
        if key:
            live.learn(trace_id, {key: value})
        else:
            live.observe(trace_id, 1, root_seen=False, now_ms=number)
        states = [live.get(bytes([each]) * 16) for each in range(21)]
        assert live.size_bytes == sum(state.size_bytes for state in states if state is not None) <= max_bytes


def test_an_entry_takes_no_more_memory_than_its_arithmetic_says() -> None:
    state = TraceState(first_seen_ms=1_795_000_000_000, last_seen_ms=1_795_000_000_001, spans=10_000)
    parts = [ONE, state, state.first_seen_ms, state.last_seen_ms, state.spans, state.context]
    assert sum(map(sys.getsizeof, parts)) < ENTRY_BYTES * 3 // 4

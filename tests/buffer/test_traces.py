from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.buffer.traces import FILTER_BYTES, FILTER_TRACES, RecentTraces, TraceFilter


@given(st.lists(st.binary(min_size=16, max_size=16)))
def test_a_filter_forgets_nothing_that_it_holds(traces: list[bytes]) -> None:
    found = TraceFilter()
    for trace_id in traces:
        found.add(trace_id)

    assert all(trace_id in found for trace_id in traces)
    assert found.added <= len(set(traces))


def test_a_full_filter_claims_few_others() -> None:
    rng = random.Random(5)
    found = TraceFilter()
    for _ in range(FILTER_TRACES):
        found.add(rng.randbytes(16))

    claimed = sum(rng.randbytes(16) in found for _ in range(5000))

    assert len(found._bits) == FILTER_BYTES == 512 * 1024
    assert 5 < claimed < 100, "0.8 % of 5000"


def test_an_empty_filter_claims_nothing() -> None:
    assert bytes(16) not in TraceFilter()


def test_the_last_traces_are_remembered_and_the_oldest_are_not() -> None:
    traces = [number.to_bytes(16, "big") for number in range(5 * FILTER_TRACES // 2)]
    found = RecentTraces()
    found.add(traces)

    assert all(trace_id in found for trace_id in traces[-FILTER_TRACES:])
    assert sum(trace_id in found for trace_id in traces[:1000]) < 100


def test_a_trace_that_comes_often_fills_nothing() -> None:
    found = RecentTraces()
    found.add([b"a" * 16, b"a" * 16, b"b" * 16, b"a" * 16])

    assert found._new.added == 2

"""Limbo: what was dropped comes back whole or marked, and never more than its bounds is held."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from sidecar.enrich.edit import encode_text
from sidecar.sample.decision import TORN
from sidecar.sample.limbo import ENTRY_BYTES, Limbo, mark_torn
from sidecar.wire.rows import NewRow
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span
from sidecar.wire.split import compress, decompress

MIB = 1 << 20


def row(trace: int, spans: int = 2, body: bytes | None = None) -> NewRow:
    trace_id = trace.to_bytes(16, "big")
    made = [Span(trace_id=trace_id, span_id=bytes([number + 1] * 8), name=b"step") for number in range(spans)]
    payload = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=made)])]).SerializeToString()
    return NewRow("default", trace_id, trace, 0, 0, spans, len(payload), compress(payload) if body is None else body, 1)


def spans_in(row: NewRow) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(decompress(row.body))
    return list(request.resource_spans[0].scope_spans[0].spans)


def test_a_trace_comes_back_whole_in_its_order() -> None:
    limbo = Limbo(MIB, 30)
    rows = [row(1), row(2), row(1, spans=3)]
    for each in rows:
        limbo.put(each, 0)
    back = limbo.rescue(rows[0].trace_id, 5, 29.9)

    assert back.rows == (rows[0], rows[2])
    assert (back.spans, back.torn) == (5, False)
    assert limbo.rows == 1
    assert limbo.rescue(rows[0].trace_id, 0, 29.9).rows == ()


def test_what_came_too_late_for_the_whole_is_torn_and_can_be_marked_on_every_span() -> None:
    limbo = Limbo(MIB, 30)
    limbo.put(row(1), 0)
    limbo.put(row(1, spans=3), 20)
    back = limbo.rescue(row(1).trace_id, 5, 31)

    assert (len(back.rows), back.spans, back.torn) == (1, 3, True)
    marked = mark_torn(back.rows[0])
    assert [list(span.attributes) for span in spans_in(marked)] == [[encode_text(TORN, "true")]] * 3
    assert marked.raw_bytes == len(decompress(marked.body))


def test_a_row_that_was_not_dropped_after_all_is_let_go_of() -> None:
    limbo = Limbo(MIB, 30)
    first, second = limbo.put(row(1), 0), limbo.put(row(1, spans=3), 0)
    assert first is not None and second is not None
    limbo.take_out(first)
    assert limbo.rows == 1
    assert limbo.rescue(row(1).trace_id, 3, 1).spans == 3
    limbo.take_out(second)
    limbo.expire(31)
    limbo.take_out(second)

    assert (limbo.rows, limbo.size_bytes) == (0, 0)


def test_a_trace_of_which_nothing_is_left_is_torn() -> None:
    assert Limbo(MIB, 30).rescue(row(1).trace_id, 4, 0) == ((), 0, True)


def test_the_oldest_rows_leave_for_new_ones() -> None:
    limbo = Limbo(3 * (ENTRY_BYTES + 1000), 30)
    for trace in range(5):
        limbo.put(row(trace, body=b"x" * 1000), 0)

    assert limbo.evicted_rows == 2
    assert limbo.rescue(row(1).trace_id, 2, 0).torn
    assert not limbo.rescue(row(2).trace_id, 2, 0).torn


def test_a_row_larger_than_limbo_is_not_held_and_pushes_nobody_out() -> None:
    limbo = Limbo(4000, 30)
    limbo.put(row(1), 0)
    limbo.put(row(2, body=b"x" * 4000), 0)

    assert (limbo.rows, limbo.evicted_rows) == (1, 1)


@given(st.lists(st.tuples(st.sampled_from("prx"), st.integers(0, 5), st.integers(0, 3000), st.floats(0, 10)), max_size=120))
def test_bytes_are_counted_right_whatever_happens(steps: list[tuple[str, int, int, float]]) -> None:
    limbo, now = Limbo(12_000, 30), 0.0
    for what, trace, size, later_s in steps:
        now += later_s
        if what == "p":
            limbo.put(row(trace, body=bytes(size)), now)
        elif what == "r":
            limbo.rescue(row(trace).trace_id, 0, now)
        else:
            limbo.expire(now)
        held = sum(len(each.row.body) if each.row is not None else 0 for each in limbo._all)
        assert limbo.size_bytes == held + ENTRY_BYTES * len(limbo._all) <= 12_000
        assert limbo.rows == sum(each.row is not None for each in limbo._all)
    limbo.expire(now + 30)
    assert (limbo.size_bytes, limbo.rows) == (0, 0)


def test_an_entry_takes_no_more_memory_than_is_counted() -> None:
    limbo = Limbo(100 * MIB, 30)
    tracemalloc.start()
    for number in range(5000):
        limbo.put(
            NewRow("default", (number << 60).to_bytes(16, "big"), (1 << 55) + number, 0, 0, 2, 100_000 + number, bytes(100), 10**12 + number), 0
        )
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert taken <= limbo.size_bytes * 1.02
    assert taken >= limbo.size_bytes * 0.5

"""Content limits of a span."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.limits import NOTHING, Cut, Limits, cut_span
from sidecar.wire import shallow_pb2
from tests.fakes.langfuse_mapping import Attributes, plain_attributes
from tests.spans import event, span

CUT = "langfuse.observation.metadata.sidecar_cut"
LIMITS = Limits(max_value_bytes=4096, max_span_bytes=16 * 1024)


def cut(target: Span, limits: Limits = LIMITS) -> tuple[Cut, Span]:
    shallow = shallow_pb2.Span.FromString(target.SerializeToString())
    done = cut_span(shallow, limits)
    return done, Span.FromString(shallow.SerializeToString())


def attributes(target: Span) -> Attributes:
    return plain_attributes(target.attributes)


def mark(target: Span) -> object:
    return json.loads(str(attributes(target)[CUT]))


def test_a_span_within_the_limits_is_not_touched() -> None:
    target = span(attributes={f"a{n}": "x" * 1000 for n in range(10)})

    assert cut(target) == (NOTHING, target)


def test_a_value_over_the_limit_is_cut_and_the_span_is_marked_with_its_key_and_what_it_had() -> None:
    done, after = cut(span(attributes={"input.value": "x" * 10_000, "other": "kept"}))

    assert len(str(attributes(after)["input.value"])) <= LIMITS.max_value_bytes
    assert attributes(after)["other"] == "kept"
    assert mark(after) == {"input.value": 10_000}
    assert (done.values, done.dropped) == (1, 0)
    assert 5900 <= done.bytes <= 6000


def test_json_over_the_limit_stays_json() -> None:
    text = json.dumps([{"role": "user", "content": "x" * 3000} for _ in range(4)])

    _, after = cut(span(attributes={"gen_ai.input.messages": text}))

    assert json.loads(str(attributes(after)["gen_ai.input.messages"]))[-1]["content"] == "x" * 3000


def test_a_list_over_the_limit_becomes_json_and_is_cut() -> None:
    _, after = cut(span(attributes={"texts": ["x" * 3000, "y" * 3000]}))

    assert [each[0] for each in json.loads(str(attributes(after)["texts"]))] == ["x", "y"]


def test_a_span_over_its_limit_has_its_largest_values_cut_to_the_same_size_and_small_ones_whole() -> None:
    said = {f"big{n}": "x" * 4000 for n in range(8)} | {"small": "s" * 500}

    done, after = cut(span(attributes=said))

    lengths = {key: len(str(value)) for key, value in attributes(after).items()}
    assert lengths["small"] == 500
    assert max(lengths.values()) - min(lengths[f"big{n}"] for n in range(8)) < 40
    assert after.ByteSize() <= LIMITS.max_span_bytes
    assert done.values == 8


def test_events_count_and_are_cut_too() -> None:
    done, after = cut(span(events=[event("exception", {"exception.stacktrace": "line\n" * 2000})]))

    assert len(str(plain_attributes(after.events[0].attributes)["exception.stacktrace"])) <= LIMITS.max_value_bytes
    assert mark(after) == {"event exception.stacktrace": 10_000}
    assert done.values == 1


def test_a_name_and_a_status_message_over_the_limit_are_cut() -> None:
    _, after = cut(span(name="n" * 9000, error="é" * 9000))

    assert len(after.name) <= LIMITS.max_value_bytes and len(after.status.message.encode()) <= LIMITS.max_value_bytes
    assert mark(after) == {"span name": 9000, "status message": 18_000}


def test_a_span_of_more_small_values_than_fit_leaves_out_events_and_then_attributes_but_not_langfuses_own() -> None:
    said = {"langfuse.observation.type": "tool"} | {f"key{n}": "x" * 100 for n in range(300)}

    done, after = cut(span(attributes=said, events=[event("tick", {"n": n}) for n in range(3)]))

    assert after.ByteSize() <= LIMITS.max_span_bytes
    assert attributes(after)["langfuse.observation.type"] == "tool"
    assert not after.events
    assert after.dropped_events_count == 3
    assert done.dropped == 3 + after.dropped_attributes_count > 3
    assert mark(after) == {"left out": done.dropped}


def test_the_mark_names_a_bounded_number_of_keys_of_bounded_length() -> None:
    _, after = cut(span(attributes={f"{n}" + "k" * 300: "x" * 5000 for n in range(40)}), Limits(max_value_bytes=4096, max_span_bytes=1 << 20))

    assert len(str(attributes(after)[CUT])) < 2048
    assert json.loads(str(attributes(after)[CUT]))["other values"] == 28


def test_a_mark_that_the_agent_set_is_replaced() -> None:
    _, after = cut(span(attributes={CUT: "mine", "input.value": "x" * 10_000}))

    assert [each.key for each in after.attributes].count(CUT) == 1
    assert mark(after) == {"input.value": 10_000}


def test_ids_times_and_the_tree_stay() -> None:
    target = span(attributes={"input.value": "x" * 10_000}, parent=b"12345678")
    _, after = cut(target)

    fields = ("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "kind")
    assert [getattr(after, name) for name in fields] == [getattr(target, name) for name in fields]


@given(sizes=st.lists(st.integers(0, 6000), max_size=30), events=st.lists(st.integers(0, 3000), max_size=10))
@settings(max_examples=60, deadline=None)
def test_every_span_fits_afterwards(sizes: list[int], events: list[int]) -> None:
    target = span(attributes={f"k{n}": "x" * size for n, size in enumerate(sizes)}, events=[event("e", {"t": "y" * size}) for size in events])

    done, after = cut(target)

    assert after.ByteSize() <= LIMITS.max_span_bytes
    assert all(len(str(value)) <= LIMITS.max_value_bytes for value in attributes(after).values())
    assert (done == NOTHING) == (after == target)

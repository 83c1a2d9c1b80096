"""SpanView reads one span by key, as the types that dialects ask for."""

from __future__ import annotations

import pytest

from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import AttributeMemo, decode
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest
from tests import spans
from tests.corpus import trace_requests
from tests.enrich.views import view, views

LONG = "x" * 2000


def test_short_and_long_values_are_found_by_key() -> None:
    seen = view({"short": "a", "long": LONG, "list": ["a", "b"], "map": {"a": 1}})
    assert [seen.get(key) for key in ("short", "long", "list", "map", "none")] == ["a", LONG, ["a", "b"], {"a": 1}, None]


def test_a_key_longer_than_127_bytes_is_found_with_its_long_value() -> None:
    key = "k" * 300
    assert view({key: LONG}).get(key) == LONG


def test_a_long_value_that_was_read_once_stays_readable() -> None:
    seen = view({"long": LONG})
    assert (seen.get("long"), seen.text("long"), seen.get("long")) == (LONG, LONG, LONG)


def test_of_a_key_that_occurs_twice_the_last_value_counts() -> None:
    span = spans.span()
    span.attributes.extend(
        [*spans.key_values({"k": LONG}), *spans.key_values({"k": "short"}), *spans.key_values({"j": "a"}), *spans.key_values({"j": LONG})]
    )
    request = ExportTraceServiceRequest.FromString(spans.request(span).SerializeToString())
    holder = request.resource_spans[0]
    seen = SpanView(holder.scope_spans[0].spans[0], holder.scope_spans[0].scope, holder.resource, AttributeMemo())
    assert (seen.get("k"), seen.get("j")) == ("short", LONG)


def test_text_is_a_string_that_is_not_empty() -> None:
    seen = view({"empty": "", "number": 1, "text": "a", "nothing": None})
    assert [seen.text(key) for key in ("empty", "number", "text", "nothing", "absent")] == [None, None, "a", None, None]


def test_first_skips_keys_that_say_nothing() -> None:
    assert view({"a": "", "b": 3, "c": "x", "d": "y"}).first("z", "a", "b", "c", "d") == "x"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7),
        (7.0, 7),
        (7.5, None),
        ("7", 7),
        ("7.0", None),
        ("-7", None),
        ("9" * 20, None),
        ("", None),
        (True, None),
        (float("inf"), None),
        (None, None),
        (["1"], None),
    ],
)
def test_int_reads_integers_integral_floats_and_digits(value: spans.Value, number: int | None) -> None:
    assert view({"n": value}).int("n") == number


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7.0), (0.25, 0.25), ("0.25", 0.25), ("1e-3", 0.001), ("nan", None), (float("inf"), None), ("x", None), (True, None), (b"1", None)],
)
def test_float_reads_finite_numbers(value: spans.Value, number: float | None) -> None:
    assert view({"n": value}).float("n") == number


@pytest.mark.parametrize(("value", "truth"), [(True, True), (False, False), ("False", False), ("true", True), ("yes", None), (1, None), (None, None)])
def test_bool_reads_bools_and_their_words(value: spans.Value, truth: bool | None) -> None:
    assert view({"b": value}).bool("b") is truth


def test_a_prefix_is_found_only_at_the_start_of_a_key() -> None:
    seen = view({"a.llm.x": 1, "llm.y": 2})
    assert (seen.has_prefix("llm."), seen.has_prefix("a.llm."), seen.has_prefix("x"), seen.has_prefix("llm.y")) == (True, True, False, True)


def test_items_with_a_prefix_come_with_their_values() -> None:
    assert dict(view({"p.a": 1, "q": 2, "p.b": LONG}).items_with_prefix("p.")) == {"p.a": 1, "p.b": LONG}


def test_what_is_not_plain_is_noted_every_time_short_or_long() -> None:
    odd: spans.Attributes = {"list": ["a"], "map": {"a": LONG}, "bytes": b"x", "nothing": None, "big": 2**53 + 1}
    span = spans.span(attributes={**odd, "text": LONG, "short": "a", "no": False, "int": -(2**53), "float": 0.5})
    for seen in views(span, span):
        assert {key: value for _, key, value in seen.odd} == odd
        assert [decode(raw) for raw, _, _ in seen.odd] == [(key, value) for _, key, value in seen.odd]


def test_a_plain_view_notes_nothing() -> None:
    assert view({"text": LONG, "short": "a", "int": 7}).odd == []


def test_lines_hold_every_key_after_a_line_break() -> None:
    assert (view({"a.b": 1, "c": None}).lines, view().lines) == ("\na.b\nc", "")


def test_keys_hold_every_key_even_of_empty_values() -> None:
    seen = view({"a": None, "b": LONG})
    assert list(seen.keys) == ["a", "b"]
    assert "a" in seen


def test_scope_and_resource_are_readable() -> None:
    seen = view(scope="acme.agent", resource={"service.name": "shop"})
    assert (seen.scope_name, seen.scope_version, seen.resource("service.name"), seen.resource("host.name")) == ("acme.agent", "1.0", "shop", None)


def test_name_status_times_and_ids_are_the_spans() -> None:
    seen = view(name="chat gpt", error="it broke", start_ns=5, end_ns=9, parent=b"12345678")
    assert (seen.name, seen.status_code, seen.status_message, seen.start_ns, seen.end_ns) == ("chat gpt", 2, "it broke", 5, 9)
    assert (seen.trace_id, seen.span_id, seen.parent_id, seen.is_root, seen.kind) == (spans.TRACE_ID, spans.SPAN_ID, b"12345678", False, 1)


def test_a_span_without_a_parent_is_a_root() -> None:
    assert view().is_root


def test_events_come_in_order_with_their_attributes() -> None:
    seen = view(events=[spans.event("one", {"k": LONG}, time_ns=3), spans.event("two")])
    assert [(each.name, each.time_unix_nano, each.attributes.text("k")) for each in seen.find_events({b"one", b"two"})] == [
        ("one", 3, LONG),
        ("two", spans.START_NS, None),
    ]


def test_every_attribute_of_the_corpus_reads_as_the_plain_decoder_reads_it() -> None:
    memo = AttributeMemo()
    count = 0
    for sent in trace_requests():
        if sent.is_json:
            continue
        for holder in ExportTraceServiceRequest.FromString(sent.body).resource_spans:
            for scope_spans in holder.scope_spans:
                for span in scope_spans.spans:
                    seen = SpanView(span, scope_spans.scope, holder.resource, memo)
                    expected = dict(decode(raw) for raw in span.attributes)
                    assert {key: seen.get(key) for key in seen.keys} == expected
                    count += 1
    assert count > 3000


def test_events_are_found_by_name_and_the_first_by_its_time() -> None:
    seen = view(
        events=[spans.event("chunk", time_ns=3), spans.event("exception", {"exception.type": "E"}, time_ns=4), spans.event("chunk", time_ns=5)]
    )
    assert [(each.name, each.attributes.text("exception.type")) for each in seen.find_events({b"exception"})] == [("exception", "E")]
    assert (seen.first_event_ns({b"chunk"}), seen.first_event_ns({b"none"})) == (3, None)


def test_a_span_without_events_has_none() -> None:
    assert (view().has_events, view().find_events({b"exception"}), view().first_event_ns({b"chunk"})) == (False, [], None)
    assert view(events=[spans.event("one")]).has_events

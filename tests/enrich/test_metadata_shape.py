"""What Langfuse throws away is said again as metadata."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.facts import Facts
from sidecar.enrich.metadata_shape import MAX_EVENTS, MAX_TEXT_BYTES
from tests.enrich.shaping import call, shaped
from tests.spans import SPAN_ID, START_NS, TRACE_ID, Attributes, event, link, span


@pytest.mark.parametrize(
    ("kind", "shown"), [(Span.SPAN_KIND_CLIENT, "client"), (Span.SPAN_KIND_SERVER, "server"), (Span.SPAN_KIND_CONSUMER, "consumer")]
)
def test_the_kind_of_a_span_is_kept(kind: Span.SpanKind.ValueType, shown: str) -> None:
    assert shaped(span(kind=kind)).after.metadata["span_kind"] == shown


def test_the_internal_kind_says_nothing_and_is_not_kept() -> None:
    assert "span_kind" not in shaped(span()).after.metadata


def test_the_trace_state_is_kept() -> None:
    assert shaped(span(trace_state="ot=th:8")).after.metadata["trace_state"] == "ot=th:8"


def test_exception_events_are_kept_with_their_stack_trace() -> None:
    said = {"exception.type": "KeyError", "exception.message": "'x'", "exception.stacktrace": "Traceback...\n  line 1"}

    events = json.loads(str(shaped(span(events=[event("exception", said)])).after.metadata["span_events"]))

    assert events == [{"name": "exception", "time": "2026-11-18T11:06:40.000Z", "attributes": said}]


def test_other_events_with_attributes_are_kept_and_exceptions_come_first() -> None:
    events = [event("gen_ai.evaluation.result", {"gen_ai.evaluation.score.value": 0.5, "tags": ["a"]}), event("exception")]

    kept = json.loads(str(shaped(span(events=events)).after.metadata["span_events"]))

    assert [each["name"] for each in kept] == ["exception", "gen_ai.evaluation.result"]
    assert kept[1]["attributes"] == {"gen_ai.evaluation.score.value": 0.5, "tags": '["a"]'}


def test_events_that_are_shown_as_content_and_those_that_say_nothing_are_not_kept() -> None:
    events = [event("gen_ai.user.message", {"content": "hi"}), event("gen_ai.choice", {"content": "x"}), event("llm.content.completion.chunk")]

    assert "span_events" not in shaped(span(events=events)).after.metadata


def test_many_events_are_counted_instead_and_long_texts_are_cut() -> None:
    events = [event("tick", {"n": n, "text": "x" * 100_000}) for n in range(MAX_EVENTS + 5)]

    kept = json.loads(str(shaped(span(events=events)).after.metadata["span_events"]))

    assert kept[-1] == {"left_out": 5}
    assert all(len(each["attributes"]["text"]) <= MAX_TEXT_BYTES for each in kept[:-1])


def test_the_events_stay_on_the_span_as_they_are() -> None:
    events = [event("exception", {"exception.message": "no"})]

    assert list(shaped(span(events=events)).span.events) == events


def test_links_are_kept_by_their_ids() -> None:
    links = [link(attributes={"why": "handoff"})]

    kept = json.loads(str(shaped(span(links=links)).after.metadata["span_links"]))

    assert kept == [{"trace_id": TRACE_ID.hex(), "span_id": SPAN_ID.hex(), "attributes": {"why": "handoff"}}]


def test_what_the_agents_sdk_dropped_is_kept() -> None:
    limited = span()
    limited.dropped_attributes_count, limited.dropped_links_count = 9, 1

    assert json.loads(str(shaped(limited).after.metadata["span_dropped"])) == {"attributes": 9, "links": 1}


def test_attributes_of_langfuses_sdk_that_the_server_does_not_store_are_kept() -> None:
    said: Attributes = {"acme.tenant": "x", "acme.shards": [1, 2], "user.id": "u", "langfuse.observation.input": "i"}

    result = shaped(span(attributes=said), Facts("langfuse_sdk"), scope="langfuse-sdk", version="5.0.4")

    assert "acme.tenant" not in result.before.metadata
    assert (result.after.metadata["acme.tenant"], result.after.metadata["acme.shards"]) == ("x", "[1,2]")
    assert "user.id" not in result.after.metadata


def test_attributes_of_other_scopes_are_stored_by_the_server_and_not_repeated() -> None:
    result = shaped(span(attributes={"acme.tenant": "x"}))

    assert "acme.tenant" not in result.after.metadata
    assert "'acme.tenant': 'x'" in str(result.after.metadata["attributes"])


def test_metadata_that_the_agent_set_under_the_same_name_is_not_overwritten() -> None:
    said = {"langfuse.observation.metadata.span_kind": "mine", "langfuse.observation.metadata.trace_state": "mine"}

    metadata = shaped(span(attributes=said, kind=Span.SPAN_KIND_CLIENT, trace_state="a=b"), call()).after.metadata

    assert (metadata["span_kind"], metadata["trace_state"]) == ("mine", "mine")


def test_an_event_at_no_time_is_kept() -> None:
    events = [event("exception", time_ns=0), event("exception", time_ns=2**64 - 1), event("exception", time_ns=START_NS)]

    kept = json.loads(str(shaped(span(events=events)).after.metadata["span_events"]))

    assert [each["time"][:4] for each in kept] == ["1970", "2554", "2026"]

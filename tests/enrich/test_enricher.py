"""Enrichment of whole batches."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from opentelemetry.proto.trace.v1 import trace_pb2

from sidecar.enrich.agents import Agent, AgentBook, parse_agents
from sidecar.enrich.enricher import MAX_FAILURES, NOWHERE, Enricher, relate, tidy_names
from sidecar.enrich.facts import Kind
from sidecar.enrich.keys import METADATA
from sidecar.enrich.orchestration import Signal, SignalKind, parse_orchestration, signal_attributes
from sidecar.enrich.place import Place
from sidecar.enrich.prices import PriceBook, Priced, Reason, Unpriced
from sidecar.wire.attributes import decode, find
from sidecar.wire.batch import SpanBatch, decode_protobuf
from sidecar.wire.mend import mend
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.shallow_pb2 import Span
from tests.corpus import trace_requests
from tests.spans import Value, request, span

TABLE = resources.files("sidecar.enrich").joinpath("prices.json").read_bytes()
CALL: dict[str, Value] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
}


def spans_of(batch: SpanBatch) -> list[Span]:
    return [each for resource in batch.request.resource_spans for scope in resource.scope_spans for each in scope.spans]


def enriched(*sent: trace_pb2.Span) -> list[Span]:
    batch = decode_protobuf(request(*sent).SerializeToString())
    Enricher(PriceBook.load(TABLE))(batch)
    return spans_of(batch)


def test_a_call_is_typed_counted_and_priced() -> None:
    (call,) = enriched(span(name="chat gpt-4o", attributes=CALL))

    assert find(call.attributes, b"langfuse.observation.type") == "generation"
    assert json.loads(str(find(call.attributes, b"langfuse.observation.cost_details")))["total"] == 0.0035


def test_what_spans_say_can_be_read_and_priced_without_changing_or_counting_them() -> None:
    parent, child = bytes(7) + b"\x01", bytes(7) + b"\x02"
    unknown: dict[str, Value] = {**CALL, "gen_ai.request.model": "nobody-knows-1"}
    sent = decode_protobuf(
        request(
            span(span_id=parent, name="chat gpt-4o", attributes=CALL),
            span(span_id=child, parent=parent, name="chat gpt-4o", attributes=CALL),
            span(name="chat", attributes=unknown),
            span(name="chat", attributes={"gen_ai.operation.name": "chat"}),
            span(name="chat", attributes={**CALL, "gen_ai.usage.cost": 0.5}),
        ).SerializeToString()
    ).request
    before = sent.SerializeToString()
    enricher = Enricher(PriceBook.load(TABLE))

    seen = enricher.read(sent)
    assert [facts.is_call for _, facts in seen] == [True, True, True, True, True]
    relate(seen)
    assert [facts.is_call for _, facts in seen] == [True, False, True, True, True]
    costs = [enricher.price(*each) for each in seen]
    assert [isinstance(cost, Priced) and cost.cost_usd for cost in costs] == [0.0035, False, False, False, False]
    assert costs[1:] == [None, Unpriced(Reason.UNKNOWN_MODEL), Unpriced(Reason.NO_MODEL), None]
    assert sent.SerializeToString() == before
    assert not enricher.unpriced


def test_a_parent_that_adds_up_its_calls_costs_nothing_itself() -> None:
    parent, child = bytes(7) + b"\x01", bytes(7) + b"\x02"
    agent: dict[str, Value] = {**CALL, "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}

    spans = enriched(
        span(span_id=parent, name="invoke_agent support", attributes=agent), span(span_id=child, parent=parent, name="chat gpt-4o", attributes=CALL)
    )

    costs = [find(each.attributes, b"langfuse.observation.cost_details") for each in spans]
    assert json.loads(str(costs[1]))["total"] == 0.0035
    assert costs[0] is None or json.loads(str(costs[0])).get("total", 0) == 0


def test_a_call_that_two_instrumentations_saw_costs_once() -> None:
    twice: dict[str, Value] = {**CALL, "gen_ai.response.id": "chatcmpl-0123456789"}

    spans = enriched(span(span_id=bytes(7) + b"\x01", attributes=twice), span(span_id=bytes(7) + b"\x02", attributes=twice))

    costs = [json.loads(str(find(each.attributes, b"langfuse.observation.cost_details")))["total"] for each in spans]
    assert sorted(costs) == [0, 0.0035]


def test_a_call_without_a_price_is_counted_by_reason() -> None:
    enricher = Enricher(PriceBook.load(TABLE))

    enricher(decode_protobuf(request(span(attributes={**CALL, "gen_ai.request.model": "nobody-knows-this-model"})).SerializeToString()))

    assert enricher.unpriced == {Reason.UNKNOWN_MODEL: 1}


def test_every_span_of_the_corpus_passes_and_stays_valid() -> None:
    enricher = Enricher(PriceBook.load(TABLE))
    for sent in trace_requests():
        batch = decode_json(sent.body) if sent.is_json else decode_protobuf(sent.body)
        mend(batch)
        before = [each.span_id for each in spans_of(batch)]

        notes = enricher(batch)

        assert [note.span.span_id for note in notes] == before
        assert enricher.failures == 0
        again = decode_protobuf(batch.request.SerializeToString())
        assert [each.span_id for each in spans_of(again)] == before
        assert again.clean, sent.name


def sent_by(service: str, scope: str, *sent: trace_pb2.Span) -> SpanBatch:
    return decode_protobuf(request(*sent, resource={"service.name": service}, scope=scope).SerializeToString())


def enricher(*rules: object, llm_only: bool = False, place: Place = NOWHERE) -> Enricher:
    return Enricher(PriceBook.load(TABLE), AgentBook(parse_agents({"agents": list(rules)})), place=place, llm_only=llm_only)


def said(span: Span, key: str) -> object:
    return find(span.attributes, f"{METADATA}.{key}".encode())


AGENT: dict[str, Value] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "pricing-7"}
PARENT = b"parent.."
VOICE = {"match": {"service": "voice-*"}, "name": "caller", "team": "voice"}


def test_a_rule_by_name_says_who_the_agent_is() -> None:
    batch = sent_by("shop", "acme", span(attributes=AGENT))
    rule = {
        "match": "pricing*",
        "name": "pricing",
        "type": "specialist",
        "version": "2.1",
        "team": "retail",
        "owner": "a@example.com",
        "tags": ["core"],
    }

    (note,) = enricher(rule)(batch)

    (agent,) = spans_of(batch)
    assert {key: said(agent, f"agent_{key}") for key in ("name", "type", "version", "team", "owner", "tags")} == {
        "name": "pricing",
        "type": "specialist",
        "version": "2.1",
        "team": "retail",
        "owner": "a@example.com",
        "tags": '["core"]',
    }
    assert note.speaks_by and note.tags == ("core",)


def test_an_agent_without_a_rule_is_its_normalised_name() -> None:
    batch = sent_by("shop", "acme", span(attributes=AGENT))
    notes = enricher()(batch)

    assert said(spans_of(batch)[0], "agent_name") == AGENT["gen_ai.agent.name"], "masking sees the name as it came"
    tidy_names(notes)
    assert said(spans_of(batch)[0], "agent_name") == "pricing"


SERVER, CONSUMER, CLIENT = trace_pb2.Span.SPAN_KIND_SERVER, trace_pb2.Span.SPAN_KIND_CONSUMER, trace_pb2.Span.SPAN_KIND_CLIENT


@pytest.mark.parametrize(
    ("kind", "parent", "flags", "named"),
    [
        (CLIENT, b"", 0, True),
        (SERVER, PARENT, 0, True),
        (CONSUMER, PARENT, 0, True),
        (CLIENT, PARENT, 0x300, True),
        (CLIENT, PARENT, 0x100, False),
        (CLIENT, PARENT, 0, False),
    ],
)
def test_a_whole_services_rule_counts_where_its_part_of_a_trace_begins(
    kind: trace_pb2.Span.SpanKind.ValueType, parent: bytes, flags: int, named: bool
) -> None:
    top = span(parent=parent, name="turn", kind=kind)
    top.flags = flags
    batch = sent_by("voice-eu", "acme", top)

    enricher(VOICE)(batch)

    assert said(spans_of(batch)[0], "agent_name") == ("caller" if named else None)


def test_a_span_that_names_its_agent_is_found_by_service_anywhere() -> None:
    batch = sent_by("voice-eu", "acme", span(parent=PARENT, attributes=AGENT))
    tidy_names(enricher({"match": {"service": "voice-*"}, "team": "voice"})(batch))

    assert (said(spans_of(batch)[0], "agent_name"), said(spans_of(batch)[0], "agent_team")) == ("pricing", "voice")


def test_a_call_of_another_model_is_marked_and_counted_under_a_bounded_label() -> None:
    call = {**CALL, "gen_ai.agent.name": "pricing-7"}
    spans = [span(attributes={**call, "gen_ai.response.model": model}) for model in ("gpt-4o-2024-08-06", "claude-sonnet-4-5", "claude-sonnet-4-5")]
    batch = sent_by("shop", "acme", *spans, span(attributes={**AGENT, "gen_ai.request.model": "claude-sonnet-4-5"}))
    enrich = enricher({"match": "pricing", "model": "gpt-4o*"})

    enrich(batch)

    # The call asked for gpt-4o: a model that was asked for or answered is enough.
    assert [said(each, "agent_model_drift") for each in spans_of(batch)] == [None, None, None, None]
    other = sent_by("shop", "acme", span(attributes={**call, "gen_ai.request.model": "claude-sonnet-4-5"}))
    enrich(other)
    assert said(spans_of(other)[0], "agent_model_drift") == "claude-sonnet-4-5"
    assert said(spans_of(other)[0], "agent_model_expected") == "gpt-4o*"
    assert enrich.drifts == {"pricing": 1}


def test_the_filter_takes_infrastructure_out_and_its_notes_stay_usable() -> None:
    message = request(
        span(span_id=PARENT, name="invoke_agent", attributes=AGENT),
        span(span_id=b"call....", parent=b"http....", attributes=CALL),
        scope="acme",
    )
    http = request(
        span(span_id=b"http....", parent=PARENT, name="POST /v1", attributes={"http.request.method": "POST", "user.id": "hidden"}),
        span(span_id=b"sql.....", parent=PARENT, name="SELECT", attributes={"db.system": "postgresql"}),
        scope="opentelemetry.instrumentation.httpx",
    )
    message.resource_spans.extend(http.resource_spans)
    batch = decode_protobuf(message.SerializeToString())

    notes = enricher(llm_only=True)(batch)

    assert [each.span_id for each in spans_of(batch)] == [PARENT, b"call...."]
    assert (batch.filtered, batch.span_count) == (2, 4)
    assert [(note.span.span_id, note.span.parent_span_id, note.kept) for note in notes] == [
        (PARENT, b"", True),
        (b"call....", b"http....", True),
        (b"http....", PARENT, False),
        (b"sql.....", PARENT, False),
    ]
    assert not any(note.speaks_by for note in notes if not note.kept)
    del batch
    assert notes[2].span.name == b"POST /v1", "though its request is gone"


def test_without_the_filter_infrastructure_stays_and_is_a_plain_span() -> None:
    batch = sent_by("shop", "opentelemetry.instrumentation.httpx", span(name="POST", attributes={"http.request.method": "POST"}))
    notes = enricher()(batch)

    assert [note.kind for note in notes] == [Kind.INFRA] and notes[0].kept and batch.filtered == 0
    assert find(spans_of(batch)[0].attributes, b"langfuse.observation.type") in ("span", None)


def test_place_environment_and_release_are_on_every_resource() -> None:
    message = request(span(), resource={"service.name": "a"})
    message.resource_spans.extend(request(span(), resource={"k8s.pod.name": "own", "deployment.environment.name": "dev"}).resource_spans)
    batch = decode_protobuf(message.SerializeToString())

    enricher(place=Place({"k8s.pod.name": "pod-1"}, "staging", "r7"))(batch)

    around = [dict(decode(raw) for raw in each.resource.attributes) for each in batch.request.resource_spans]
    assert around == [
        {"service.name": "a", "k8s.pod.name": "pod-1", "deployment.environment": "staging", "langfuse.release": "r7"},
        {"k8s.pod.name": "own", "deployment.environment.name": "dev", "langfuse.release": "r7"},
    ]


def test_signals_become_metadata() -> None:
    rules = parse_orchestration({"rules": [{"signal": "decision", "match": {"span": "route.*"}, "outcome": {"attribute": "side"}}]})
    batch = sent_by("shop", "acme", span(name="route.order", attributes={"side": "buy"}), span(name="chat", attributes=CALL))
    enrich = enricher()
    enrich.use_rules(rules)

    enrich(batch)

    decision, call = spans_of(batch)
    expected = set(signal_attributes((Signal(SignalKind.DECISION, "route.order", "buy", None, None, None),)))
    assert expected and expected <= {decode(raw)[0] for raw in decision.attributes}
    assert expected.isdisjoint({decode(raw)[0] for raw in call.attributes})


class Odd(AgentBook):
    """Fails for one name, as a rule could that nobody foresaw."""

    def resolve(self, name: str | None, agent_id: str | None, version: str | None, service: str | None, scope: str) -> Agent | None:
        if name == "odd":
            raise ZeroDivisionError
        return super().resolve(name, agent_id, version, service, scope)


def test_a_span_that_fails_passes_and_its_neighbours_are_enriched() -> None:
    enrich = Enricher(PriceBook.load(TABLE), Odd())
    batch = sent_by("shop", "acme", span(attributes={**AGENT, "gen_ai.agent.name": "odd"}), span(attributes=CALL))

    notes = enrich(batch)

    odd, call = spans_of(batch)
    assert find(odd.attributes, b"gen_ai.agent.name") == "odd"
    assert find(call.attributes, b"langfuse.observation.type") == "generation"
    assert len(notes) == 2 and notes[0].speaks_by
    assert enrich.failures == 1 and [type(error) for error in enrich.take_failures()] == [ZeroDivisionError]
    assert enrich.take_failures() == []


def test_failures_are_kept_up_to_a_bound_and_counted_beyond() -> None:
    enrich = Enricher(PriceBook.load(TABLE), Odd())
    enrich(sent_by("shop", "acme", *(span(attributes={**AGENT, "gen_ai.agent.name": "odd"}) for _ in range(3 * MAX_FAILURES))))

    assert enrich.failures == 3 * MAX_FAILURES and len(enrich.take_failures()) == MAX_FAILURES


@pytest.mark.parametrize(
    ("attributes", "speaks"),
    [
        ({}, False),
        (CALL, False),
        ({"user.id": "u"}, True),
        ({"gen_ai.conversation.id": "c"}, True),
        ({"langfuse.trace.metadata.tier": "gold"}, True),
        (AGENT, True),
    ],
)
def test_only_spans_that_say_something_for_others_are_read_again(attributes: dict[str, Value], speaks: bool) -> None:
    (note,) = enricher()(sent_by("shop", "acme", span(parent=PARENT, attributes=attributes)))

    assert bool(note.speaks_by) is speaks


def test_a_call_without_content_may_get_it_from_logs() -> None:
    notes = enricher()(sent_by("shop", "acme", span(attributes=CALL), span(attributes={**CALL, "input.value": "hi"}), span(attributes=AGENT)))

    assert [note.lacks_content for note in notes] == [True, False, False]

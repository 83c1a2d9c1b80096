"""Enrichment of whole batches."""

from __future__ import annotations

import json
from importlib import resources

from opentelemetry.proto.trace.v1 import trace_pb2

from sidecar.enrich.enricher import Enricher
from sidecar.enrich.prices import PriceBook, Reason
from sidecar.wire.attributes import find
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
    return spans_of(Enricher(PriceBook.load(TABLE))(batch))


def test_a_call_is_typed_counted_and_priced() -> None:
    (call,) = enriched(span(name="chat gpt-4o", attributes=CALL))

    assert find(call.attributes, b"langfuse.observation.type") == "generation"
    assert json.loads(str(find(call.attributes, b"langfuse.observation.cost_details")))["total"] == 0.0035


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

        after = enricher(batch)

        again = decode_protobuf(after.request.SerializeToString())
        assert [each.span_id for each in spans_of(again)] == before
        assert again.clean, sent.name

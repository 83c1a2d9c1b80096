"""What clients get wrong, and the signals that nobody asked for: Langfuse is never sent what it would lose."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from tests import corpus, spans
from tests.acceptance.sending import ids_of, outgoing
from tests.fakes.langfuse import langfuse_thread
from tests.fakes.langfuse_rules import loss, oddities
from tests.processes import Sidecar, sidecar_process

pytestmark = pytest.mark.acceptance


def post(sidecar: Sidecar, path: str, body: bytes, content_type: str) -> bytes:
    request = urllib.request.Request(sidecar.http_url + path, data=body, headers={"Content-Type": content_type}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200
        answer = response.read()
        assert isinstance(answer, bytes)
        return answer


def malformed() -> ExportTraceServiceRequest:
    """Nine spans that Langfuse would refuse, lose or show wrongly, and one that is right."""
    request = spans.request(
        spans.span(span_id=b"right..1"),
        spans.span(span_id=b"noparent", parent=bytes(8)),
        spans.span(span_id=b"short_pa", parent=b"abc"),
        spans.span(span_id=b"no_end..", end_ns=0),
        spans.span(span_id=b"backward", end_ns=spans.START_NS - 1),
        spans.span(span_id=b"no_value"),
        spans.span(span_id=b"evt_none", events=[spans.event("gen_ai.choice")]),
        spans.span(span_id=b""),
        spans.span(span_id=b"notrace.", trace_id=b""),
        spans.span(span_id=b"zerotrac", trace_id=bytes(16)),
    )
    sent = request.resource_spans[0].scope_spans[0].spans
    sent[5].attributes.add(key="nothing")
    sent[6].events[0].attributes.add(key="nothing")
    return request


@pytest.mark.parametrize("as_json", [False, True], ids=["protobuf", "json"])
def test_malformed_spans_are_mended_or_rejected_one_by_one(tmp_path: Path, as_json: bool) -> None:
    request = malformed()
    assert loss(request) and oddities(request)
    export = outgoing(request, json=as_json, compress=False)
    content_type = corpus.JSON if as_json else corpus.PROTOBUF
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        answer = post(sidecar, "/v1/traces", export.body, content_type)
        fake.block_for_spans(7, 20)
        ledger = sidecar.settled()

        rejected = (
            int(json.loads(answer)["partialSuccess"]["rejectedSpans"])
            if as_json
            else ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
        )
        assert rejected == ledger.total("rejected") == 3
        assert {span_id for _, span_id in fake.seen.ids()} == {span_id for _, span_id in ids_of([request])} - {b"", b"notrace.", b"zerotrac"}
        assert fake.seen.lost == [] and fake.seen.oddities == []


def test_logs_and_metrics_are_accepted_and_nothing_of_them_is_passed_on(tmp_path: Path) -> None:
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        for request in corpus.log_requests():
            assert post(sidecar, "/v1/logs", request.body, request.content_type) == b""
        for request in corpus.metric_requests():
            assert post(sidecar, "/v1/metrics", request.body, request.content_type) == b""
        sent = ids_of([spans.request(spans.span())])
        post(sidecar, "/v1/traces", spans.request(spans.span()).SerializeToString(), corpus.PROTOBUF)
        fake.block_for_spans(1, 20)
        sidecar.settled()

        assert fake.seen.ids() == sent
        assert len(fake.seen.requests) == 1


def test_a_repeated_export_is_acknowledged_and_delivered_once(tmp_path: Path) -> None:
    """An exporter that gave up waiting sends the same body again."""
    body = spans.many(2, 5, 1000).SerializeToString()
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        for _ in range(3):
            assert post(sidecar, "/v1/traces", body, corpus.PROTOBUF) == b""
        fake.block_for_spans(10, 20)
        ledger = sidecar.settled()

        assert fake.seen.duplicates() == 0
        assert (ledger.total("received"), ledger.spans[("rejected", "duplicate")]) == (30, 20)

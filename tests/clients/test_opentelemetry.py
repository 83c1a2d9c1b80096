"""The OpenTelemetry SDK's own exporters, as an agent would set them up, deliver through the sidecar."""

from __future__ import annotations

import pytest
from grpc import Compression as GrpcCompression
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from tests.acceptance.sending import content
from tests.clients.conftest import Relay
from tests.fakes.langfuse_rules import flatten

EXPORTERS = ["http", "http-gzip", "http-langfuse-path", "grpc", "grpc-gzip"]


def exporter(kind: str, relay: Relay) -> SpanExporter:
    """An exporter as the documentation of the SDK shows it, pointed at the sidecar."""
    sidecar = relay.sidecar
    match kind:
        case "http":
            return HttpExporter(endpoint=sidecar.traces_url, compression=HttpCompression.NoCompression)
        case "http-gzip":
            return HttpExporter(endpoint=sidecar.traces_url, compression=HttpCompression.Gzip)
        case "http-langfuse-path":
            return HttpExporter(endpoint=f"{sidecar.http_url}/api/public/otel/v1/traces", headers={"Authorization": "Basic cGs6c2s="})
        case "grpc":
            return GrpcExporter(endpoint=sidecar.grpc_target, insecure=True)
        case _:
            return GrpcExporter(endpoint=sidecar.grpc_target, insecure=True, compression=GrpcCompression.Gzip)


def record_agent_run(export_to: SpanExporter, turns: int) -> list[ReadableSpan]:
    """Run a small agent under a tracer provider of its own, flush as at the end of a program; gives what the SDK recorded."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "shop-agent", "service.version": "2.0"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(export_to, max_export_batch_size=64))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("shop.agent", "2.0", schema_url="https://opentelemetry.io/schemas/1.37.0")
    with tracer.start_as_current_span("invoke_agent pricing", attributes={"gen_ai.agent.name": "pricing", "session.id": "s-1"}) as root:
        for turn in range(turns):
            with tracer.start_as_current_span(
                "chat gpt-4o-mini", kind=SpanKind.CLIENT, links=[Link(root.get_span_context(), {"why": "retry"})], attributes={"turn": turn}
            ) as chat:
                chat.set_attribute("gen_ai.prompt", "Wie teuer ist das? \N{EURO SIGN}\N{ROBOT FACE}" * 20)
                chat.set_attribute("gen_ai.response.finish_reasons", ["stop"])
                chat.set_attribute("temperature", 0.7)
                chat.add_event("first token", {"ms": 120})
                if turn == 1:
                    chat.record_exception(ValueError("no price"))
                    chat.set_status(Status(StatusCode.ERROR, "no price"))
    provider.shutdown()
    return list(memory.get_finished_spans())


@pytest.mark.parametrize("kind", EXPORTERS)
def test_what_the_sdk_recorded_arrives_unchanged(relay: Relay, kind: str) -> None:
    recorded = {each.id: each for each in flatten(encode_spans(record_agent_run(exporter(kind, relay), turns=100)))}

    relay.langfuse.seen.block_until(lambda: recorded.keys() <= relay.langfuse.seen.ids(), 20, f"{len(recorded)} spans over {kind}")

    arrived = relay.langfuse.seen.unique()
    assert len(recorded) == 101
    assert [one.span.name for id_, one in recorded.items() if content(arrived[id_]) != content(one)] == []


def test_one_environment_variable_is_enough(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", relay.sidecar.http_url)
    recorded = {each.id for each in flatten(encode_spans(record_agent_run(HttpExporter(), turns=1)))}

    relay.langfuse.seen.block_until(lambda: recorded <= relay.langfuse.seen.ids(), 20, f"{len(recorded)} spans")


def test_an_agent_that_ends_at_once_has_lost_nothing_when_langfuse_is_down(relay: Relay) -> None:
    relay.langfuse.down()
    recorded = {each.id for each in flatten(encode_spans(record_agent_run(exporter("http", relay), turns=5)))}

    relay.langfuse.up()
    relay.langfuse.seen.block_until(lambda: recorded <= relay.langfuse.seen.ids(), 20, f"{len(recorded)} spans")

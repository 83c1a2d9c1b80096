"""Unmodified exporters of the OpenTelemetry SDK against both receivers."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sidecar.errors import BufferFull
from sidecar.receive.auth import Guard
from sidecar.receive.grpc import run_grpc
from tests.receive.grpc_rig import loopback
from tests.receive.rig import INSTANCE, LOG, http_rig, make_rig, run
from tests.waiting import until


def finished(*names: str) -> list[ReadableSpan]:
    """Spans as the SDK hands them to an exporter."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for name in names:
        with provider.get_tracer("tests").start_as_current_span(name, attributes={"gen_ai.request.model": "gpt-4o"}):
            pass
    return list(memory.get_finished_spans())


async def export(exporter: SpanExporter, *names: str) -> str:
    """Export from a thread, as the SDK does; gives the name of the result."""
    try:
        return (await asyncio.to_thread(exporter.export, finished(*names))).name
    finally:
        await asyncio.to_thread(exporter.shutdown)


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("path", ["/v1/traces", "//api/public/otel/v1/traces"])
def test_the_http_exporter_delivers(compression: Compression, path: str) -> None:
    async def scene() -> None:
        async with http_rig() as http:
            assert await export(HttpExporter(f"http://{http.endpoint}{path}", compression=compression), "plan", "act") == "SUCCESS"
            assert http.buffer.names == {"plan": 1, "act": 1}

    run(scene())


def test_the_http_exporter_sends_again_after_a_503() -> None:
    async def scene() -> None:
        async with http_rig() as http:
            http.buffer.error = BufferFull("the buffer is full")
            sending = asyncio.create_task(export(HttpExporter(f"http://{http.endpoint}/v1/traces"), "plan"))
            await until(lambda: bool(http.outcomes("http")))
            http.buffer.error = None
            assert await sending == "SUCCESS"
            assert http.outcomes("http") == {("traces", "buffer_full"): 1, ("traces", "ok"): 1}
            assert http.buffer.ledger == {"received": 1, "stored": 1}

    run(scene())


def test_the_grpc_exporter_delivers() -> None:
    async def scene() -> None:
        rig = make_rig()
        async with run_grpc(loopback(), rig.intake, Guard(None, "receivers.grpc.auth"), rig.budget, LOG, instance_id=INSTANCE) as endpoint:
            assert await export(GrpcExporter(f"localhost:{endpoint.port}", insecure=True), "plan", "act") == "SUCCESS"
        assert rig.buffer.names == {"plan": 1, "act": 1}

    run(scene())

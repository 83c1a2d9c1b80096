"""`sidecar demo`: a sample agent through the whole path, and what Langfuse would get, as a table.

The agent is plain OpenTelemetry; the sidecar is the real program in a process of its own, on ports
that the system picks, with a `local` destination and a buffer that is removed afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode, Tracer

from sidecar.errors import StartError

DELIVER_S = 20.0
"""Delivery takes the linger time (a second) and a moment."""
POLL_S = 0.2
CELL_CHARS = 44


@dataclass(frozen=True, slots=True)
class Running:
    """The sample sidecar: where agents reach it, and the settings that other commands need to find its buffer."""

    http: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One delivered span as a line of the table."""

    span_id: str
    parent_id: str
    name: str
    started_ns: int
    duration_ms: float
    failed: str
    attributes: dict[str, str]


class Made(SpanProcessor):
    """Counts the spans that the agent makes, apart from the way they take."""

    def __init__(self) -> None:
        self.spans = 0

    def on_end(self, span: ReadableSpan) -> None:  # noqa: ARG002  (the base class's signature)
        self.spans += 1


def show(echo: Callable[[str], None]) -> None:
    """Run everything and print it with ``echo``; raises StartError when the sample sidecar doesn't come up."""
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as directory, _sidecar(directory) as running:
        echo(f"A sidecar listens on http://{running.http}. An agent sends it plain OTLP, with no Langfuse code:")
        sent = _sample_agent(f"http://{running.http}/v1/traces")
        spans = _delivered(running, sent)
    echo("")
    for line in table(spans):
        echo(line)
    echo("")
    echo(f"{len(spans)} of {sent} spans arrived: acknowledged once they were on disk, then delivered, here to the `local` destination.")
    echo("With LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY set, `make run` delivers them to your Langfuse project.")
    if len(spans) != sent:
        raise StartError("the demo lost spans; please report it")


@contextmanager
def _sidecar(directory: str) -> Iterator[Running]:
    values = {
        "receivers.http.endpoint": "127.0.0.1:0",
        "receivers.grpc.enabled": "false",
        "admin.enabled": "false",
        "buffer.path": f"{directory}/buffer.db",
        "destinations": "[{name: demo, type: local}]",
        "forward.linger_ms": "50",
        "logging.format": "json",
        "logging.level": "info",
    }
    settings = tuple(part for key, value in values.items() for part in ("--set", f"{key}={value}"))
    command = [sys.executable, "-m", "sidecar", "run", *settings]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=_bare_environment(), text=True) as process:  # noqa: S603  (our own program)
        assert process.stderr is not None
        try:
            yield Running(_address(process.stderr), settings)
        finally:
            process.terminate()
            process.stderr.read()


def _bare_environment() -> dict[str, str]:
    """Without the user's Langfuse settings: a demo must not depend on them, nor send anything anywhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("LANGFUSE_")}


def _address(log: IO[str]) -> str:
    lines = []
    for line in log:
        lines.append(line)
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "ready":
            return str(event["http"])
    raise StartError(f"the sample sidecar did not start: {''.join(lines).strip()}")


def _sample_agent(endpoint: str) -> int:
    """A support agent answers one question: model, tool, failing tool, model. Returns how many spans it made."""
    provider = TracerProvider(resource=Resource({"service.name": "demo-shop", "deployment.environment.name": "demo"}), shutdown_on_exit=False)
    made = Made()
    provider.add_span_processor(made)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    tracer = provider.get_tracer("demo.agent")
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", "user.id": "customer-7", "session.id": "chat-42"}
    with tracer.start_as_current_span("invoke_agent support", attributes=agent):
        _chat(tracer, "Where is my order 1001?", "I will look it up.", (412, 38))
        _tool(tracer, "find_order", '{"order": 1001}', '{"status": "in transit"}')
        _tool(tracer, "carrier_eta", '{"order": 1001}', None)
        _chat(tracer, "order 1001 is in transit, ETA unknown", "Your order is on its way.", (655, 21))
    provider.force_flush()
    provider.shutdown()
    return made.spans


def _chat(tracer: Tracer, question: str, answer: str, tokens: tuple[int, int]) -> None:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    with tracer.start_as_current_span("chat gpt-4o-mini", attributes=attributes) as span:
        span.set_attribute("gen_ai.input.messages", json.dumps([{"role": "user", "parts": [{"type": "text", "content": question}]}]))
        span.set_attribute("gen_ai.output.messages", json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]))
        span.set_attribute("gen_ai.usage.input_tokens", tokens[0])
        span.set_attribute("gen_ai.usage.output_tokens", tokens[1])


def _tool(tracer: Tracer, name: str, arguments: str, result: str | None) -> None:
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name, "gen_ai.tool.call.arguments": arguments}
    with tracer.start_as_current_span(f"execute_tool {name}", attributes=attributes) as span:
        if result is None:
            span.set_status(Status(StatusCode.ERROR, "carrier API timed out"))
        else:
            span.set_attribute("gen_ai.tool.call.result", result)


def _delivered(running: Running, expected: int) -> list[Shown]:
    """What the `local` destination holds, asked as an operator would: `sidecar buffer export --delivered`."""
    command = [sys.executable, "-m", "sidecar", "buffer", "export", "--delivered", *running.settings]
    deadline = time.monotonic() + DELIVER_S
    while True:
        answer = subprocess.run(command, capture_output=True, text=True, env=_bare_environment(), check=False)  # noqa: S603  (our own program)
        if answer.returncode != 0:
            raise StartError(f"the demo can't read what was delivered: {answer.stderr.strip()}")
        spans = [span for line in answer.stdout.splitlines() for span in _spans(json.loads(line)["otlp"])]
        if len(spans) >= expected or time.monotonic() > deadline:
            return sorted(spans, key=lambda span: span.started_ns)
        time.sleep(POLL_S)


def _spans(request: dict[str, list[dict[str, list[dict[str, list[dict[str, object]]]]]]]) -> Iterator[Shown]:
    for resource_spans in request["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                yield _shown(span)


def _shown(span: dict[str, object]) -> Shown:
    start, end = int(str(span["startTimeUnixNano"])), int(str(span["endTimeUnixNano"]))
    status, attributes = span.get("status"), span.get("attributes")
    assert isinstance(attributes, list)
    failed = str(status.get("message", "error")) if isinstance(status, dict) and status.get("code") == 2 else ""
    values = {str(each["key"]): str(next(iter(each["value"].values()), "")) for each in attributes}
    return Shown(str(span["spanId"]), str(span.get("parentSpanId", "")), str(span["name"]), start, (end - start) / 1e6, failed, values)


def table(spans: Sequence[Shown]) -> Iterator[str]:
    """Spans as an indented tree with what they say of model, tokens, tool and error."""
    depths: dict[str, int] = {}
    rows = [("observation", "model", "tokens in/out", "ms", "details")]
    for span in spans:
        depth = depths[span.span_id] = depths.get(span.parent_id, -1) + 1
        get = span.attributes.get
        tokens = f"{get('gen_ai.usage.input_tokens')}/{get('gen_ai.usage.output_tokens')}" if "gen_ai.usage.input_tokens" in span.attributes else ""
        details = f"ERROR {span.failed}" if span.failed else get("gen_ai.tool.call.result") or _identity(span)
        rows.append((f"{'  ' * depth}{span.name}", get("gen_ai.request.model", ""), tokens, f"{span.duration_ms:.1f}", details[:CELL_CHARS]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for i, row in enumerate(rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if i == 0:
            yield "  ".join("-" * width for width in widths)


def _identity(span: Shown) -> str:
    parts = ((name, span.attributes.get(key)) for name, key in (("user", "user.id"), ("session", "session.id")))
    return ", ".join(f"{name} {value}" for name, value in parts if value)

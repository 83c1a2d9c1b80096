"""What is fuzzed: functions of bytes that raise for a defect and return for everything else.

Each takes any bytes, does with them what the program does with bytes that somebody else made, and holds the result against the
fake Langfuse's rules, the official protobuf classes or Python's own JSON.
"""

from __future__ import annotations

import asyncio
import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from sidecar.clock import SystemClock
from sidecar.config import Enrichment as EnrichmentSettings
from sidecar.enrich.agents import parse_agents
from sidecar.enrich.models import parse_models
from sidecar.enrich.orchestration_rules import parse_orchestration
from sidecar.errors import ConfigError, MalformedPayload
from sidecar.loader import load
from sidecar.mask.packs import DETECTORS
from sidecar.mask.policy import parse_policy
from sidecar.mask.stage import MaskingStage
from sidecar.observe.metrics import Metrics
from sidecar.receive.enrichment import EnrichmentRules, new_enrichment
from sidecar.receive.intake import Intake, Payload
from sidecar.receive.pipeline import Enrichment, Pipeline
from sidecar.rulefiles import RuleFile, RuleFiles
from sidecar.sample.keep_rules import parse_sampling
from sidecar.wire.batch import SpanBatch, decode_protobuf, is_clean
from sidecar.wire.encoding import Encoding
from sidecar.wire.mend import mend
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.split import decompress, row_of, slices
from tests.fakes import langfuse_rules
from tests.mask.masking import GITHUB, left_of, masked, stage_of
from tests.receive.rig import LOG, ListBuffer, OneDestination
from tests.spans import request, span

CANARY = "sk-lf-never-shown"
ENVIRONMENT = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": CANARY}
NOW_MS = 1_795_000_000_000


def protobuf(data: bytes) -> None:
    """A body of OTLP: refused, or mended until Langfuse takes and keeps it."""
    try:
        batch = decode_protobuf(data)
    except MalformedPayload:
        return
    _mended(batch)


def json_body(data: bytes) -> None:
    """The same in JSON."""
    try:
        batch = decode_json(data)
    except MalformedPayload:
        return
    _mended(batch)


def _mended(batch: SpanBatch) -> None:
    mend(batch)
    kept = batch.span_count - batch.rejected.total()
    assert kept >= 0
    payload = batch.request.SerializeToString()
    assert is_clean(payload) if payload else True
    seen = ExportTraceServiceRequest.FromString(payload)
    langfuse_rules.validate(seen, ())
    assert not langfuse_rules.loss(seen)
    again = decode_protobuf(payload)
    mend(again)
    assert not again.mends and not again.rejected
    rows = [row_of(part, NOW_MS) for part in slices(batch, "default")]
    assert sum(row.spans for row in rows) == kept
    spans = [(row.trace_id, each.span.trace_id) for row in rows for each in _spans_of(row.body)]
    assert len(spans) == kept
    assert all(row == its for row, its in spans)


def _spans_of(body: bytes) -> list[langfuse_rules.ReceivedSpan]:
    return list(langfuse_rules.flatten(ExportTraceServiceRequest.FromString(decompress(body))))


def masking(data: bytes) -> None:
    """Any text around a secret, plain, in a JSON string, or as it is: the secret is gone, and JSON is still JSON."""
    text = data.decode("utf-8", "replace")
    planted = {
        "plain": f"{text} {GITHUB} {text}",
        "in JSON": json.dumps({"content": f"{text} {GITHUB}", "more": [text]}),
        "in JSON in JSON": json.dumps([json.dumps({"content": f"{text}\n{GITHUB}\n"}, ensure_ascii=False), text]),
    }
    sent = request(span(attributes={**planted, "as it is": text}))
    before = sent.SerializeToString()
    (resource_spans,) = masked(before, _stage()).resource_spans
    attributes = {each.key: each.value.string_value for each in resource_spans.scope_spans[0].spans[0].attributes}
    for name in planted:
        assert left_of([GITHUB], attributes.get(name, "").encode()) == [], "a secret is left"
    for name in ("in JSON", "in JSON in JSON"):
        if _is_json(planted[name]) and attributes.get(name) not in (None, "[MASKING_FAILED]"):
            assert _is_json(attributes[name]), "what was JSON is not JSON any more"


@functools.cache
def _stage() -> MaskingStage:
    """Of all inputs: the detectors take long to build."""
    return stage_of()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def intake(data: bytes) -> None:
    """A body through the whole path but masking: its spans are all accounted for. What looks like JSON is read as JSON."""
    metrics, enrichment = _enrichment()
    failed = metrics.registry.get_sample_value("sidecar_enrich_failures_total")
    buffer = ListBuffer()
    taking = Intake(buffer, OneDestination(), Pipeline(lambda _: (), enrichment), SystemClock(), metrics, LOG)
    encoding = Encoding.JSON if data[:1] in (b"{", b"[", b" ") else Encoding.PROTOBUF
    try:
        accepted = asyncio.run(taking.submit(Payload(data, encoding, "http")))
    except MalformedPayload:
        assert not buffer.appends
        return
    ledger = buffer.ledger
    assert ledger["received"] == sum(spans for state, spans in ledger.items() if state != "received")
    assert accepted.rejected == sum(spans for append in buffer.appends for spans in append.rejected.values())
    assert metrics.registry.get_sample_value("sidecar_enrich_failures_total") == failed, "a span could not be enriched"


@functools.cache
def _enrichment() -> tuple[Metrics, Enrichment]:
    """Of all inputs: the price table takes long to read. What it remembers of traces is bounded."""
    metrics, settings = Metrics(CollectorRegistry()), EnrichmentSettings()
    rules = EnrichmentRules(settings, {})
    RuleFiles(rules.files).load_all()
    return metrics, new_enrichment(settings, rules, metrics, LOG)


def configuration(data: bytes) -> None:
    """A configuration file, and the same bytes as each of the rule files: taken, or refused with problems that quote no secret."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.yaml"
        path.write_bytes(data)
        _refused_politely(lambda: load([path], [], ENVIRONMENT))
        for name, parse in RULES.items():
            _refused_politely(RuleFile(name, str(path), parse, ENVIRONMENT).load)


RULES: Mapping[str, Callable[[object], object]] = {
    "agents": parse_agents,
    "models": parse_models,
    "rules": parse_orchestration,
    "sampling": parse_sampling,
    "masking": lambda tree: parse_policy(tree, DETECTORS),
}


def _refused_politely(attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except ConfigError as error:
        assert error.problems
        assert CANARY not in str(error)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "protobuf": protobuf,
    "json": json_body,
    "masking": masking,
    "intake": intake,
    "configuration": configuration,
}

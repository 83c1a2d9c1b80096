"""The parts of enrichment wired together, shown on the captures: what a trace knows reaches each of its spans, however they come."""

from __future__ import annotations

import functools
import gzip
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from prometheus_client import CollectorRegistry

from sidecar.buffer.runner import inline
from sidecar.config import Enrichment as Settings
from sidecar.observe.metrics import Metrics
from sidecar.receive.enrichment import EnrichmentRules, new_enrichment
from sidecar.receive.intake import Intake, Payload
from sidecar.receive.pipeline import Enrichment, Pipeline
from sidecar.rulefiles import RuleFile
from sidecar.wire.batch import decode_protobuf
from sidecar.wire.encoding import Encoding
from tests.buffer.builders import LOG, buffer, lease_all, run
from tests.corpus import CorpusRequest, log_requests, trace_requests
from tests.fakes import otlp_json
from tests.fakes.clock import START_MS, FakeClock
from tests.fakes.langfuse_mapping import Shown, plain_attributes, show
from tests.fakes.langfuse_rules import ReceivedSpan, flatten
from tests.receive.rig import OneDestination
from tests.spans import SPAN_ID, TRACE_ID, request, span

SETTLED_S = 60.0
"""After the last request: longer than anything settles."""
FLUSH_MS = 5000
"""What a batch processor waits between exports."""
NS_PER_MS = 1_000_000
Id = tuple[bytes, bytes]


@dataclass(frozen=True)
class Arrival:
    """A request and when it comes, milliseconds."""

    at_ms: int
    body: bytes
    is_logs: bool = False


@dataclass(frozen=True)
class Capture:
    """What one recording sent, in the order of sending. A trace may reach over its scenarios."""

    name: str
    sent: tuple[ExportTraceServiceRequest | ExportLogsServiceRequest, ...]

    @property
    def logs(self) -> list[ExportLogsServiceRequest]:
        return [request for request in self.sent if isinstance(request, ExportLogsServiceRequest)]

    @functools.cached_property
    def spans(self) -> list[ReceivedSpan]:
        """In the order of their ends."""
        requests = (request for request in self.sent if isinstance(request, ExportTraceServiceRequest))
        return sorted((each for request in requests for each in flatten(request)), key=ended_ms)


def parsed(request: CorpusRequest) -> ExportTraceServiceRequest | ExportLogsServiceRequest:
    if request.name.endswith("_logs"):
        return ExportLogsServiceRequest.FromString(request.body)
    return otlp_json.from_json(request.body) if request.is_json else ExportTraceServiceRequest.FromString(request.body)


@functools.cache
def captures() -> list[Capture]:
    requests = sorted([*trace_requests(), *log_requests()], key=lambda each: each.name)
    return [Capture(name, tuple(map(parsed, sent))) for name, sent in groupby(requests, key=lambda each: each.capture)]


def at_once(capture: Capture) -> list[Arrival]:
    """Every request as it was recorded, one after another in the same millisecond."""
    return [Arrival(START_MS, request.SerializeToString(), isinstance(request, ExportLogsServiceRequest)) for request in capture.sent]


def one_by_one(capture: Capture) -> list[Arrival]:
    """Each span alone when it ended, as simple exporters send them; log requests when their last record was made."""
    spans = [Arrival(ended_ms(each), joined([each])) for each in capture.spans]
    return sorted(
        [*spans, *(Arrival(recorded_ms(each), each.SerializeToString(), is_logs=True) for each in capture.logs)], key=lambda each: each.at_ms
    )


def in_batches(capture: Capture) -> list[Arrival]:
    """Every 5 s what ended since, as batch processors export; their timer strikes where it cuts most traces in two, that of logs 2.5 s later."""
    traces: dict[bytes, list[int]] = {}
    for each in capture.spans:
        traces.setdefault(each.span.trace_id, []).append(ended_ms(each))
    middles = sorted({(ends[0] + ends[-1]) // 2 % FLUSH_MS for ends in traces.values()})
    phase = max(middles, key=lambda phase: sum(next_tick(ends[0], phase) != next_tick(ends[-1], phase) for ends in traces.values()))
    spans = [Arrival(at_ms, joined(batch)) for at_ms, batch in groupby(capture.spans, key=lambda each: next_tick(ended_ms(each), phase))]
    logs = [Arrival(next_tick(recorded_ms(each), phase + FLUSH_MS // 2), each.SerializeToString(), is_logs=True) for each in capture.logs]
    return sorted([*spans, *logs], key=lambda each: each.at_ms)


def next_tick(at_ms: int, phase_ms: int) -> int:
    return -(-(at_ms - phase_ms) // FLUSH_MS) * FLUSH_MS + phase_ms


def ended_ms(each: ReceivedSpan) -> int:
    return each.span.end_time_unix_nano // NS_PER_MS


def recorded_ms(request: ExportLogsServiceRequest) -> int:
    records = [record for resource in request.resource_logs for scope in resource.scope_logs for record in scope.log_records]
    return max(record.time_unix_nano or record.observed_time_unix_nano for record in records) // NS_PER_MS


def joined(spans: Iterable[ReceivedSpan]) -> bytes:
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=each.resource, scope_spans=[ScopeSpans(scope=each.scope, spans=[each.span])]) for each in spans]
    ).SerializeToString()


def loaded(settings: Settings) -> EnrichmentRules:
    rules = EnrichmentRules(settings, {})
    for each in rules.files:
        each.load()
    return rules


@functools.cache
def rules_without_files() -> EnrichmentRules:
    """The shipped ones: what is read and never changed, for hundreds of parts that each keep their own state."""
    return loaded(Settings())


def new_parts(settings: Settings, metrics: Metrics | None = None) -> Enrichment:
    assert settings.agents == settings.models == settings.rules == ""
    metrics = metrics or Metrics(CollectorRegistry())
    parts = new_enrichment(settings, rules_without_files(), metrics, LOG)
    metrics.registry.register(parts.agents)
    return parts


@dataclass
class Played:
    shown: dict[Id, Shown]
    parents: dict[Id, bytes]
    metrics: Metrics

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def play(arrivals: list[Arrival], settings: Settings | None = None) -> Played:
    clock, metrics = FakeClock(arrivals[0].at_ms), Metrics(CollectorRegistry())
    parts = new_parts(settings or Settings(), metrics)
    pipeline = Pipeline(lambda _: (), parts)
    async with buffer(":memory:", clock=clock, metrics=metrics, runner=inline, seal=parts.seal, cache_mib=0) as found:
        intake = Intake(found, OneDestination(), pipeline, clock, metrics, LOG)
        for each in arrivals:
            await clock.advance(max(0, each.at_ms - clock.wall_ms()) / 1000)
            payload = Payload(each.body, Encoding.PROTOBUF, "http")
            await (intake.submit_logs(payload) if each.is_logs else intake.submit(payload))
        await clock.advance(SETTLED_S)
        leases = await lease_all(found)
        sent = [ExportTraceServiceRequest.FromString(gzip.decompress(row.body)) for lease in leases for row in lease.rows]
        assert found.ledger.imbalances(found.pending_spans) == []
    spans = {each.id: each for request in sent for each in flatten(request)}
    return Played(
        {key: show(each.span, each.scope, each.resource) for key, each in spans.items()},
        {key: each.span.parent_span_id for key, each in spans.items()},
        metrics,
    )


@dataclass(frozen=True)
class Own:
    """What one span says without its trace."""

    parent: Id
    span_name: str
    user: str | None
    session: str | None
    implied_session: str | None
    name: str | None
    agent: str | None


def own_words(arrivals: list[Arrival]) -> dict[Id, Own]:
    enricher = new_parts(Settings()).enricher
    found: dict[Id, Own] = {}
    for arrival in arrivals:
        if arrival.is_logs:
            continue
        batch = decode_protobuf(arrival.body)
        enricher(batch)
        for each in flatten(ExportTraceServiceRequest.FromString(batch.request.SerializeToString())):
            span = each.span
            implied = show(span, each.scope, each.resource)
            said = [raw for raw in span.attributes if raw.key != "gen_ai.conversation.id"]
            del span.attributes[:]
            span.attributes.extend(said)
            alone = show(span, each.scope, each.resource)
            found[each.id] = Own(
                (span.trace_id, span.parent_span_id),
                span.name,
                alone.user_id,
                alone.session_id,
                implied.session_id,
                alone.trace_name,
                text(alone.metadata.get("agent_name")),
            )
    return found


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


Word = Callable[[Own], str | None]


class Trace:
    """What the spans of one trace should show, worked out from all of them, in whichever order they came."""

    def __init__(self, spans: Mapping[Id, Own]) -> None:
        self._spans = spans
        self._roots = [own for own in spans.values() if not own.parent[1]]

    def expected(self, key: Id) -> dict[str, str | None]:
        root_name = self._roots[0].span_name if self._roots else None
        return {
            "user": self._known(key, lambda own: own.user),
            "session": self._known(key, lambda own: own.session) or self._known(key, lambda own: own.implied_session),
            "name": self._known(key, lambda own: own.name) or root_name,
            "agent": self._above(key, lambda own: own.agent),
        }

    def _above(self, key: Id, word: Word) -> str | None:
        """The span's own word, or that of its nearest ancestor that has one."""
        own = self._spans.get(key)
        while own is not None:
            if (found := word(own)) is not None:
                return found
            own = self._spans.get(own.parent)
        return None

    def _known(self, key: Id, word: Word) -> str | None:
        """The same; else the root's; else what all spans agree on."""
        found = self._above(key, word) or next((said for root in self._roots if (said := word(root)) is not None), None)
        words = {said for own in self._spans.values() if (said := word(own)) is not None}
        return found or (words.pop() if len(words) == 1 else None)


def shown(each: Shown) -> dict[str, str | None]:
    return {"user": each.user_id, "session": each.session_id, "name": each.trace_name, "agent": text(each.metadata.get("agent_name"))}


def lacking(arrivals: list[Arrival], played: Played) -> list[str]:
    """The subject of each word that a span should show and does not."""
    own = own_words(arrivals)
    traces: dict[bytes, dict[Id, Own]] = {}
    for key, each in own.items():
        traces.setdefault(key[0], {})[key] = each
    found: list[str] = []
    assert played.shown.keys() == own.keys()
    for spans in traces.values():
        trace = Trace(spans)
        for key in spans:
            expected, got = trace.expected(key), shown(played.shown[key])
            found += [subject for subject in expected if got[subject] != expected[subject]]
    return found


Way = Callable[[Capture], list[Arrival]]
WAYS: tuple[Way, ...] = (at_once, one_by_one, in_batches)
LONG_WAIT = {("strands-agents", "agent"): 7, ("strands-agents", "name"): 7}
"""Calls that were tried again for 124 s: they have to leave before their agent and root, which end after the last of them."""
LEFT_WITHOUT: dict[Way, dict[tuple[str, str], int]] = {
    at_once: {},
    # The root of a chain ended 0.7 s before the first span that names its user and session, and a graph's steps end before its agent does.
    one_by_one: LONG_WAIT
    | {
        ("langchain-openllmetry", "user"): 9,
        ("langchain-openllmetry", "session"): 9,
        ("langchain-openllmetry", "agent"): 6,
        ("langchain-openllmetry", "name"): 2,
    },
    in_batches: {("strands-agents", "agent"): 5, ("strands-agents", "name"): 5},
}
NO_ROOT = {"llamaindex-openllmetry": 59, "manual-genai-semconv": 325, "manual-genai-semconv-grpc": 325}
"""Spans whose root was never recorded: it belongs to a client of the service, or never ended."""


@functools.cache
def played(way: Way, spans: Literal["all", "llm"] = "all") -> dict[str, Played]:
    return {each.name: run(play(way(each), Settings(spans=spans))) for each in captures()}


@pytest.mark.parametrize("way", WAYS)
def test_user_session_trace_name_and_nearest_agent_reach_every_span_of_every_capture(way: Way) -> None:
    lacks: Counter[tuple[str, str]] = Counter()
    for capture in captures():
        lacks.update((capture.name, subject) for subject in lacking(way(capture), played(way)[capture.name]))

    assert lacks == LEFT_WITHOUT[way]


@pytest.mark.parametrize("way", WAYS)
def test_what_leaves_before_its_root_is_counted(way: Way) -> None:
    counts = {name: each.count("sidecar_enrich_spans_total", outcome="without_root") for name, each in played(way).items()}

    assert {name: count for name, count in counts.items() if count} == NO_ROOT | ({} if way is at_once else {"strands-agents": 2})
    assert not any(each.count("sidecar_enrich_spans_total", outcome="forgotten") for each in played(way).values())
    assert not any(each.count("sidecar_enrich_failures_total") for each in played(way).values())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("capture", "calls", "messages"), [("semantic-kernel", 12, 48), ("openai-contrib-v2-2.1b0", 25, 67)])
def test_content_from_logs_is_on_its_calls(way: Way, capture: str, calls: int, messages: int) -> None:
    result = played(way)[capture]
    found = [each for each in result.shown.values() if each.type == "GENERATION"]

    assert len(found) == calls
    assert [each.name for each in found if not each.input] == []
    assert [each.name for each in found if not each.output and each.level != "ERROR"] == []
    assert result.count("sidecar_enrich_log_messages_total", outcome="joined") == messages


def test_the_filter_leaves_no_span_hanging_on_one_that_it_took_out() -> None:
    kept = 0
    for capture in captures():
        result = played(one_by_one, "llm")[capture.name]
        sent = {each.id for each in capture.spans}
        kept += len(result.shown)

        assert [key for key, parent in result.parents.items() if (key[0], parent) in sent - result.shown.keys()] == [], capture.name

    assert kept == 2778


def write(path: Path, tree: object) -> None:
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")


CALL = request(
    span(name="invoke_agent planner", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}),
    span(
        span_id=b"call....",
        parent=SPAN_ID,
        attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "house-model", "gen_ai.usage.input_tokens": 1000},
    ),
    span(span_id=b"clash...", parent=SPAN_ID, name="route", attributes={"acme.clash": "price"}),
)


def metadata(enrichment: Enrichment) -> list[dict[str, object]]:
    batch = decode_protobuf(CALL.SerializeToString())
    enrichment.enricher(batch)
    sent = ExportTraceServiceRequest.FromString(batch.request.SerializeToString())
    return [
        {**show(each.span, each.scope, each.resource).metadata, "cost": show(each.span, each.scope, each.resource).total_cost}
        for each in flatten(sent)
    ]


def test_each_rule_file_is_read_again_into_the_part_that_it_feeds(tmp_path: Path) -> None:
    files = {"agents": tmp_path / "agents.yaml", "models": tmp_path / "models.yaml", "rules": tmp_path / "enrich.yaml"}
    for path in files.values():
        write(path, {})
    settings = Settings(agents=str(files["agents"]), models=str(files["models"]), rules=str(files["rules"]))
    rules = loaded(settings)
    enrichment = new_enrichment(settings, rules, Metrics(CollectorRegistry()), LOG)
    before = metadata(enrichment)
    names = enrichment.enricher.agents.names

    def change(file: RuleFile[object], path: Path, tree: object) -> list[dict[str, object]]:
        write(path, tree)
        assert file.reload()
        rules.renew(enrichment, file)
        return metadata(enrichment)

    agents = change(rules.agents, files["agents"], {"agents": [{"match": "planner", "team": "retail"}]})
    assert "agent_team" not in before[0] and agents[0]["agent_team"] == "retail"
    assert enrichment.enricher.agents.names is names, "labels of metrics stay what they are"

    models = change(rules.models, files["models"], {"models": [{"match": "house-*", "prices": {"input": 2, "output": 4}}]})
    assert before[1]["cost"] is None and models[1]["cost"] == pytest.approx(0.002)

    signals = change(rules.signals, files["rules"], {"rules": [{"signal": "conflict", "match": {"attribute": "acme.clash"}}]})
    assert [key for key in signals[2] if key not in before[2]] != []


def test_rules_must_be_loaded_before_anything_is_built_of_them() -> None:
    with pytest.raises(RuntimeError, match="before it is loaded"):
        new_enrichment(Settings(), EnrichmentRules(Settings(), {}), Metrics(CollectorRegistry()), LOG)


def test_the_settings_reach_their_parts() -> None:
    settings = Settings(max_value_kib=1, max_span_kib=8, settle_s=0.5, environment="staging", release="r7", resource={"k8s.pod.name": "pod-1"})
    enrichment = new_parts(settings)
    batch = decode_protobuf(request(span(parent=b"unseen..")).SerializeToString())

    notes = enrichment.enricher(batch)
    done = enrichment.completer.complete(notes, 1000)

    assert done.seal_at == {TRACE_ID: 1500}
    assert (enrichment.limits.max_value_bytes, enrichment.limits.max_span_bytes) == (1024, 8192)
    (each,) = flatten(ExportTraceServiceRequest.FromString(batch.request.SerializeToString()))
    around = show(each.span, each.scope, each.resource)
    assert (around.environment, around.release) == ("staging", "r7")
    assert plain_attributes(each.resource.attributes)["k8s.pod.name"] == "pod-1"

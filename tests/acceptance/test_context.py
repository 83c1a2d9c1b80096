"""What a trace knows reaches each of its spans: a real process, real sockets, and Langfuse as it would show them."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests import corpus
from tests.acceptance.sending import send_now
from tests.fakes.langfuse import FakeLangfuse, langfuse_thread
from tests.fakes.langfuse_mapping import Shown, show
from tests.processes import Ledger, Sidecar, sidecar_process
from tests.spans import Attributes, key_values, request, span
from tests.test_cli import sidecar as command

pytestmark = pytest.mark.acceptance

NEVER_S = 3600
"""A time to settle that no test outlasts: what arrives was released before it."""
ROOT = b"root...."
CHAT: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "input.value": "hi", "output.value": "ho"}
AGENT: Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "user.id": "user-1", "session.id": "session-1"}


@contextmanager
def both(folder: Path, **enrichment: object) -> Iterator[tuple[FakeLangfuse, Sidecar]]:
    """A fake and a sidecar that enriches."""
    settings: Mapping[str, object] = {"enrichment": {"enabled": True, **enrichment}}
    with langfuse_thread() as fake, sidecar_process(folder, fake.url, settings) as sidecar:
        yield fake, sidecar
        assert fake.seen.lost == [] and fake.seen.oddities == []


def children(count: int = 3) -> list[Span]:
    return [span(span_id=b"child%3d" % number, parent=ROOT, attributes=CHAT) for number in range(count)]


def root() -> Span:
    return span(span_id=ROOT, name="answer the customer", attributes=AGENT)


def shown(fake: FakeLangfuse) -> dict[bytes, Shown]:
    return {each.span.span_id: show(each.span, each.scope, each.resource) for each in fake.seen.unique().values()}


def context(each: Shown) -> tuple[object, ...]:
    return each.user_id, each.session_id, each.trace_name, each.metadata.get("agent_name")


WHOLE = ("user-1", "session-1", "answer the customer", "planner")
NOTHING = (None, None, None, None)


def outcome(sidecar: Sidecar, name: str) -> float:
    return sidecar.metric("sidecar_enrich_spans_total", outcome=name)


def test_children_wait_for_their_root_and_leave_as_soon_as_it_is_there(tmp_path: Path) -> None:
    with both(tmp_path, settle_s=NEVER_S) as (fake, sidecar):
        for each in children():
            send_now(sidecar, [request(each)])
        assert sidecar.ledger().pending == 3 and fake.exports() == []

        send_now(sidecar, [request(root())])
        fake.block_for_spans(4, 20)
        ledger = sidecar.settled()

        assert [context(each) for each in shown(fake).values()] == [WHOLE] * 4
        assert (ledger.total("received"), ledger.total("delivered")) == (4, 4) and fake.seen.duplicates() == 0
        assert outcome(sidecar, "without_root") == outcome(sidecar, "forgotten") == 0


def test_a_trace_that_comes_whole_does_not_wait(tmp_path: Path) -> None:
    with both(tmp_path, settle_s=NEVER_S) as (fake, sidecar):
        send_now(sidecar, [request(*children(), root())])
        fake.block_for_spans(4, 20)

        assert [context(each) for each in shown(fake).values()] == [WHOLE] * 4


def test_a_root_that_never_comes_delays_its_children_and_loses_nothing(tmp_path: Path) -> None:
    with both(tmp_path, settle_s=1) as (fake, sidecar):
        send_now(sidecar, [request(*children())])
        fake.block_for_spans(3, 20)
        sidecar.settled()

        assert [context(each) for each in shown(fake).values()] == [NOTHING] * 3
        assert outcome(sidecar, "without_root") == 3


def test_sigterm_delivers_rows_that_settle(tmp_path: Path) -> None:
    with both(tmp_path, settle_s=NEVER_S) as (fake, sidecar):
        send_now(sidecar, [request(*children())])
        assert sidecar.ledger().pending == 3

        assert sidecar.terminate() == 0
        assert len(fake.seen.ids()) == 3 and fake.seen.duplicates() == 0

        sidecar.start()
        assert sidecar.settled().total("delivered") == 3


def test_rows_that_settle_survive_a_kill_and_leave_without_context(tmp_path: Path) -> None:
    with both(tmp_path, settle_s=5) as (fake, sidecar):
        send_now(sidecar, [request(*children())])
        sidecar.kill()
        assert fake.exports() == []
        sidecar.start()
        fake.block_for_spans(3, 20)
        sidecar.settled()

        assert [context(each) for each in shown(fake).values()] == [NOTHING] * 3
        assert outcome(sidecar, "forgotten") == 3 and fake.seen.duplicates() == 0


def test_a_root_after_a_kill_completes_what_still_settles(tmp_path: Path) -> None:
    with both(tmp_path, settle_s=NEVER_S) as (fake, sidecar):
        send_now(sidecar, [request(*children(1))])
        sidecar.kill()
        sidecar.start()
        send_now(sidecar, [request(span(span_id=b"child  9", parent=ROOT, attributes=CHAT))])
        send_now(sidecar, [request(root())])
        fake.block_for_spans(3, 20)
        sidecar.settled()

        assert [context(each) for each in shown(fake).values()] == [WHOLE] * 3


def test_content_that_comes_as_logs_joins_its_span(tmp_path: Path) -> None:
    message = ExportLogsServiceRequest()
    record = (
        message.resource_logs.add()
        .scope_logs.add()
        .log_records.add(trace_id=span().trace_id, span_id=b"child  0", event_name="gen_ai.user.message", time_unix_nano=1)
    )
    record.body.kvlist_value.values.extend(key_values({"content": "Where is my order?"}))
    with both(tmp_path, settle_s=2) as (fake, sidecar):
        send_now(sidecar, [request(span(span_id=b"child  0", parent=ROOT, attributes={"gen_ai.operation.name": "chat"}), root())])
        headers = {"Content-Type": corpus.PROTOBUF}
        with urllib.request.urlopen(urllib.request.Request(f"{sidecar.http_url}/v1/logs", message.SerializeToString(), headers)) as answer:
            assert answer.status == 200
        fake.block_for_spans(2, 20)

        assert "Where is my order?" in str(shown(fake)[b"child  0"].input)
        assert sidecar.metric("sidecar_enrich_log_messages_total", outcome="joined") == 1


def team(file: Path, name: str) -> None:
    file.write_text(yaml.safe_dump({"agents": [{"match": "planner", "team": name}]}), encoding="utf-8")


def test_agents_are_those_of_the_last_good_version_of_their_file(tmp_path: Path) -> None:
    file = tmp_path / "agents.yaml"
    team(file, "first")

    with both(tmp_path, agents=str(file)) as (fake, sidecar):

        def seen_team(number: int) -> object:
            span_id = b"agent%3d" % number
            send_now(sidecar, [request(span(trace_id=bytes([number]) * 16, span_id=span_id, attributes=AGENT))])
            fake.block_for_spans(number, 20)
            return shown(fake)[span_id].metadata["agent_team"]

        def reloads(result: str) -> float:
            return sidecar.metric("sidecar_config_reloads_total", outcome=result)

        assert seen_team(1) == "first"

        team(file, "second")
        sidecar.wait_until(lambda: reloads("ok") == 1, 20, "the new version")
        assert seen_team(2) == "second"

        file.write_text("agents: [{match: planner, team: 7, colour: red}]", encoding="utf-8")
        sidecar.wait_until(lambda: reloads("failed") == 1, 20, "the bad version")
        assert seen_team(3) == "second"
        assert "colour" in sidecar.log() and str(file) in sidecar.log()

        team(file, "third")
        sidecar.wait_until(lambda: reloads("ok") == 2, 20, "a good version again")
        assert seen_team(4) == "third"


def test_the_span_filter_keeps_llm_work_and_its_tree(tmp_path: Path) -> None:
    """Spans as HTTP instrumentations and an agent make them, from the SDK's own exporter, one by one, children first."""
    with both(tmp_path, spans="llm", settle_s=2) as (fake, sidecar):
        exporter = OTLPSpanExporter(endpoint=sidecar.traces_url)
        provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        server = provider.get_tracer("opentelemetry.instrumentation.fastapi")
        client = provider.get_tracer("opentelemetry.instrumentation.httpx")
        agent = provider.get_tracer("acme.agent")
        request_attributes = {"http.request.method": "POST", "url.full": "https://api.example.com/v1/chat"}
        with (
            server.start_as_current_span("POST /answer", kind=trace.SpanKind.SERVER, attributes={"http.request.method": "POST"}),
            agent.start_as_current_span("invoke_agent planner", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}),
            client.start_as_current_span("POST", kind=trace.SpanKind.CLIENT, attributes=request_attributes),
            agent.start_as_current_span("chat gpt-4o", attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}),
            client.start_as_current_span("POST", kind=trace.SpanKind.CLIENT, attributes=request_attributes),
        ):
            pass
        with server.start_as_current_span("GET /healthz", kind=trace.SpanKind.SERVER), agent.start_as_current_span("check"):
            pass
        provider.shutdown()
        fake.block_for_spans(2, 20)
        ledger = sidecar.wait_for_ledger(lambda found: found.pending == 0, 20, "nothing pending")

        assert_filtered(ledger)
        found = {each.span.name: each.span for each in fake.seen.unique().values()}
        assert found.keys() == {"invoke_agent planner", "chat gpt-4o"}
        assert found["invoke_agent planner"].parent_span_id == b""
        assert found["chat gpt-4o"].parent_span_id == found["invoke_agent planner"].span_id
        assert [each.metadata["agent_name"] for each in shown(fake).values()] == ["planner"] * 2
        assert (outcome(sidecar, "left_out"), outcome(sidecar, "no_llm"), outcome(sidecar, "reparented")) == (4, 1, 2)


def assert_filtered(ledger: Ledger) -> None:
    """Seven came: four of HTTP instrumentations, two of the agent, one plain span of a trace without LLM work."""
    assert {state: ledger.total(state) for state in ("received", "filtered", "stored", "omitted", "delivered")} == {
        "received": 7,
        "filtered": 4,
        "stored": 3,
        "omitted": 1,
        "delivered": 2,
    }


def test_validate_names_every_problem_of_the_agents_file(tmp_path: Path) -> None:
    file = tmp_path / "agents.yaml"
    tree = {
        "agents": [{"match": "a", "colour": "red"}, {"name": "no-match"}, {"match": {}}, {"match": "b", "budget": {"usd_per_day": -1}}],
        "budgets": [{"usd_per_day": 1}],
        "normalise": "maybe",
        "nonsense": 1,
    }
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")

    done = command("validate", "--set", f"enrichment.agents={file}")

    assert done.returncode == 2
    for where in (
        "agents[0].colour",
        "agents[1].match",
        "agents[2].match",
        "agents[3].budget.usd_per_day",
        "budgets[0].model",
        "normalise",
        "nonsense",
    ):
        assert f"{file}: {where}" in done.stderr, where

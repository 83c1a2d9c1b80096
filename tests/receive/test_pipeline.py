"""The order of the steps between decoding and rows, and what sealing adds."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2
from prometheus_client import CollectorRegistry

from sidecar.buffer.records import Omit
from sidecar.enrich.agents import Agent, AgentBook, parse_agents
from sidecar.enrich.completer import Completed, Completer
from sidecar.enrich.enricher import Enricher
from sidecar.enrich.limits import Limits
from sidecar.enrich.prices import PriceBook
from sidecar.errors import MalformedPayload
from sidecar.observe.metrics import Metrics
from sidecar.receive.agent_metrics import AgentMetrics
from sidecar.receive.masking import nothing_masked
from sidecar.receive.pipeline import LOGS_INLINE_BYTES, Enrichment, Mask, Pipeline, spans_of
from sidecar.trace.live import MAX_CONTEXT_BYTES, MAX_TAG_CHARS, MAX_TAGS, LiveTraces
from sidecar.wire.batch import SpanBatch, decode_protobuf
from sidecar.wire.encoding import Encoding
from sidecar.wire.mend import mend
from sidecar.wire.rows import NewRow
from sidecar.wire.split import row_of, slices
from tests.fakes.langfuse_mapping import plain_attributes
from tests.receive.rig import LOG, run
from tests.spans import TRACE_ID, Attributes, key_values, request, span

TABLE = resources.files("sidecar.enrich").joinpath("prices.json").read_bytes()
NOW_MS, SETTLE_MS = 1_000_000, 6000
SECRET, HIDDEN = b"hunter2", b"*******"
ROOT, CHILD = b"root....", b"child..."
WITH_CONTENT: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "input.value": "hi", "output.value": "ho"}
CHAT: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
TYPE, INPUT, OUTPUT = "langfuse.observation.type", "langfuse.observation.input", "langfuse.observation.output"
NAME = "langfuse.trace.name"


@dataclass
class Hider:
    """Masks one word by another of the same length, and remembers every attribute that it saw, as it left it."""

    seen: list[bytes] = field(default_factory=list)

    def __call__(self, batch: SpanBatch) -> Iterator[None]:
        for each in spans_of(batch.request):
            each.name = each.name.replace(SECRET, HIDDEN)
            each.attributes[:] = [raw.replace(SECRET, HIDDEN) for raw in each.attributes]
            self.seen += each.attributes
            yield


def fails(_: SpanBatch) -> Iterator[None]:
    yield
    raise RuntimeError("masking is broken")


@dataclass
class Line:
    """A pipeline and what comes out of it."""

    pipeline: Pipeline
    parts: Enrichment | None
    metrics: Metrics
    done: Completed = field(default_factory=Completed)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"sidecar_enrich_{name}_total", labels) or 0.0

    def send(self, *sent: trace_pb2.Span, now_ms: int = NOW_MS) -> list[NewRow]:
        """One request; gives its rows, one a trace."""
        body = request(*sent).SerializeToString()
        batch = decode_protobuf(body)
        mend(batch)
        self.done, _ = run(self.pipeline.process(batch, body, now_ms))
        return [row_of(part, now_ms, self.done.seal_at.get(part.trace_id)) for part in slices(batch, lambda _: "default")]

    def seal(self, row: NewRow) -> NewRow | Omit | None:
        return self.parts.seal(row) if self.parts is not None else None

    def send_logs(self, body: bytes, now_ms: int = NOW_MS) -> None:
        run(self.pipeline.take_logs(body, Encoding.PROTOBUF, now_ms))


def line(
    mask: Mask = nothing_masked,
    *,
    agents: Sequence[object] = (),
    limits: Limits | None = None,
    llm_only: bool = False,
    live_bytes: int = 1 << 20,
) -> Line:
    metrics = Metrics(CollectorRegistry())
    live = LiveTraces(live_bytes)
    enricher = Enricher(PriceBook.load(TABLE), AgentBook(parse_agents({"agents": list(agents)})), live=live, llm_only=llm_only)
    parts = Enrichment(enricher, Completer(live, settle_ms=SETTLE_MS, llm_only=llm_only), limits or Limits(), AgentMetrics(), metrics, LOG)
    return Line(Pipeline(mask, parts), parts, metrics)


def spans_in(row: NewRow) -> list[trace_pb2.Span]:
    sent = ExportTraceServiceRequest.FromString(gzip.decompress(row.body))
    return [each for resource in sent.resource_spans for scope in resource.scope_spans for each in scope.spans]


def says(row: NewRow) -> dict[str, object]:
    (only,) = spans_in(row)
    return dict(plain_attributes(only.attributes))


def sealed(to: Line, row: NewRow) -> NewRow:
    new = to.seal(row)
    assert new is not Omit.OMIT
    return new or row


def root(attributes: Attributes | None = None, name: str = "answer") -> trace_pb2.Span:
    return span(span_id=ROOT, name=name, attributes=attributes)


def child(attributes: Attributes | None = None, span_id: bytes = CHILD) -> trace_pb2.Span:
    return span(span_id=span_id, parent=ROOT, attributes=CHAT if attributes is None else attributes)


def log_record(text: str = "hello", event: str = "gen_ai.user.message", span_id: bytes = CHILD) -> bytes:
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add(trace_id=TRACE_ID, span_id=span_id, event_name=event, time_unix_nano=1)
    record.body.kvlist_value.values.extend(key_values({"content": text}))
    return message.SerializeToString()


def test_media_are_descriptors_before_anything_is_masked() -> None:
    hider = Hider()
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8).decode()
    to = line(hider)

    to.send(root({"input.value": f'{{"image_url": "data:image/png;base64,{picture}"}}'}))

    assert any(b"sha256" in raw for raw in hider.seen) and not any(picture[:64].encode() in raw for raw in hider.seen)
    assert to.count("media") == 1


def test_what_enrichment_adds_of_the_span_itself_is_masked() -> None:
    hider = Hider()
    rows = line(hider).send(root({"gen_ai.agent.name": "agent hunter2", "gen_ai.operation.name": "invoke_agent"}))

    assert any(raw.startswith(b"\n\x19langfuse.observation.type") for raw in hider.seen)
    assert says(rows[0])["langfuse.observation.metadata.agent_name"] == "agent *******"


def test_what_is_copied_to_other_spans_is_the_masked_context() -> None:
    to = line(Hider())
    context: Attributes = {
        "user.id": "hunter2",
        "session.id": "s hunter2",
        "langfuse.trace.tags": ["t hunter2"],
        "langfuse.trace.metadata.x": "hunter2",
    }

    (row,) = to.send(child())
    to.send(root(context, name="answer hunter2"))
    row = sealed(to, row)

    assert SECRET not in gzip.decompress(row.body)
    found = says(row)
    assert {key: found[key] for key in (NAME, "user.id", "session.id", "langfuse.trace.tags", "langfuse.trace.metadata.x")} == {
        NAME: "answer *******",
        "user.id": "*******",
        "session.id": "s *******",
        "langfuse.trace.tags": '["t *******"]',
        "langfuse.trace.metadata.x": "*******",
    }


def test_nothing_is_added_after_masking_but_copies_of_what_was_masked() -> None:
    hider = Hider()
    to = line(hider, agents=[{"match": "planner", "team": "retail"}])
    spans = [child(), root({**CHAT, "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "user.id": "u hunter2"})]

    (row,) = to.send(*spans)
    (late,) = to.send(child(span_id=b"late...."))

    raws = [raw for each in (row, late) for one in spans_in(each) for raw in map(bytes, (kv.SerializeToString() for kv in one.attributes))]
    added = [raw for raw in raws if raw not in hider.seen]
    assert all(raw.startswith(b"\n\x13langfuse.trace.name") for raw in added), "the root's own name, which was masked as a name"
    assert len(raws) - len(added) > len(hider.seen), "and copies"


def test_what_one_trace_spreads_over_its_spans_is_bounded() -> None:
    to, user = line(), "user" * 50
    wordy = [
        child({"langfuse.trace.tags": f"{number}" * 600, f"langfuse.trace.metadata.{number}": "m" * 3000}, b"%8d" % number) for number in range(50)
    ]
    to.send(*wordy, *(child({"langfuse.trace.tags": f"tag {n}", f"langfuse.trace.metadata.s{n}": "s"}, b"t%7d" % n) for n in range(200)))

    (row,) = to.send(root({"user.id": user}))

    assert row.raw_bytes < MAX_CONTEXT_BYTES + MAX_TAGS * MAX_TAG_CHARS + 1000
    assert len(says(row)) > 4, "some of the metadata"
    (aside,) = to.send(span(span_id=b"aside...", parent=b"unknown."))
    assert says(aside).items() >= {"user.id": user, NAME: "answer"}.items(), "however much else was said before"
    tags = json.loads(str(says(row)["langfuse.trace.tags"]))
    assert len(tags) == MAX_TAGS and tags[0] == "tag 0"


def test_what_a_span_leaves_to_those_below_it_is_bounded() -> None:
    crowd: Attributes = {"user.id": "u1", **{f"langfuse.trace.metadata.{number}": "m" * 20 for number in range(3000)}}
    agent: Attributes = {f"langfuse.observation.metadata.agent_{number}": "a" * 20 for number in range(3000)}
    ids = [b"%8d" % number for number in range(60)]
    chain = [span(span_id=each, parent=above, attributes={f"langfuse.trace.metadata.{each!r}": "m" * 2000}) for above, each in pairwise([ROOT, *ids])]

    (row,) = line(live_bytes=1 << 24).send(root({**crowd, **agent}), *chain, span(span_id=b"leaf....", parent=ids[-1]))

    inside = {each.span_id: each for each in spans_in(row)}
    leaf = inside[b"leaf...."]
    assert leaf.ByteSize() < MAX_CONTEXT_BYTES + 1000
    assert plain_attributes(leaf.attributes).items() >= {"user.id": "u1", NAME: "answer"}.items()
    assert max(inside[each].ByteSize() for each in ids) < MAX_CONTEXT_BYTES + 4000


def test_content_from_logs_is_masked() -> None:
    to = line(Hider())
    to.send_logs(log_record("my password is hunter2"))

    (row,) = to.send(child(), root())

    inside = {each.span_id: plain_attributes(each.attributes) for each in spans_in(sealed(to, row))}
    assert inside[CHILD][INPUT] == '[{"role":"user","content":"my password is *******"}]'


@pytest.mark.parametrize("shift", range(len(SECRET)))
def test_a_secret_across_the_cut_is_masked_before_it_is_cut(shift: int) -> None:
    to = line(Hider(), limits=Limits(max_value_bytes=1024, max_span_bytes=8192))
    text = "x" * shift + SECRET.decode() * 400

    (row,) = to.send(root({"note": text}))

    assert b"hun" not in gzip.decompress(row.body) and b"er2" not in gzip.decompress(row.body)
    assert len(str(says(row)["note"])) <= 1024
    assert json.loads(str(says(row)["langfuse.observation.metadata.sidecar_cut"])) == {"note": len(text)}
    assert to.count("cut_values") == 1 and to.count("cut_bytes") > 1000


def test_what_sealing_adds_is_cut_too() -> None:
    to = line(limits=Limits(max_value_bytes=1024, max_span_bytes=8192))
    (row,) = to.send(child())
    to.send_logs(log_record("z" * 5000))

    found = says(sealed(to, row))

    assert len(str(found[INPUT])) <= 1024 and json.loads(str(found[INPUT]))
    assert INPUT in str(found["langfuse.observation.metadata.sidecar_cut"])


def test_when_masking_fails_nothing_is_kept() -> None:
    to = line(fails)
    with pytest.raises(RuntimeError):
        to.send(root({"user.id": "hunter2"}))
    with pytest.raises(RuntimeError):
        to.send_logs(log_record("hunter2"))

    with pytest.raises(RuntimeError):
        Line(Pipeline(fails, None), None, to.metrics).send(root())

    assert to.parts is not None
    good = Line(Pipeline(nothing_masked, to.parts), to.parts, to.metrics)
    (row,) = good.send(child())

    assert b"hunter2" not in gzip.decompress(sealed(good, row).body), "neither context nor content of what was refused"


class Odd(AgentBook):
    """Fails for one name, as a rule could that nobody foresaw."""

    def resolve(self, name: str | None, agent_id: str | None, version: str | None, service: str | None, scope: str) -> Agent | None:
        if name == "odd":
            raise ZeroDivisionError("hunter2")
        return super().resolve(name, agent_id, version, service, scope)


def test_a_span_that_fails_passes_with_its_neighbours_and_is_counted_each_time_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    to = line()
    assert to.parts is not None
    to.parts.enricher.use_agents(Odd())
    odd: Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "odd"}

    with caplog.at_level(logging.ERROR, LOG.name):
        for _ in range(3):
            (row,) = to.send(root({"user.id": "u1"}), child(odd), child(span_id=b"other..."))

    inside = {each.span_id: plain_attributes(each.attributes) for each in spans_in(row)}
    assert inside[CHILD].items() >= {**odd, "user.id": "u1", NAME: "answer"}.items()
    assert inside[b"other..."][TYPE] == "generation"
    assert to.count("failures") == 3
    assert len(caplog.records) == 1 and "hunter2" not in str(vars(caplog.records[0]))


def test_sealing_adds_what_the_root_brought_and_changes_nothing_else() -> None:
    to = line()
    (row,) = to.send(child(WITH_CONTENT))
    assert to.done.seal_at == {TRACE_ID: NOW_MS + SETTLE_MS} == {row.trace_id: row.seal_at_ms}
    to.send(root({"user.id": "u1"}), now_ms=NOW_MS + 1000)
    assert to.done.released == {TRACE_ID}

    new = to.seal(row)

    assert isinstance(new, NewRow)
    assert says(new) == {**says(row), "user.id": "u1", NAME: "answer"}
    payload = gzip.decompress(new.body)
    assert new == NewRow("default", TRACE_ID, row.randomness, row.priority, row.threshold, 1, len(payload), new.body, NOW_MS, None)
    before, after = spans_in(row)[0], spans_in(new)[0]
    del before.attributes[:], after.attributes[:]
    assert before == after


def test_sealing_leaves_a_row_as_it_is_when_nothing_came() -> None:
    to = line()
    (row,) = to.send(child())

    assert to.seal(row) is None
    assert to.count("spans", outcome="without_root") == 1


def test_a_row_whose_trace_was_forgotten_is_left_as_it_is_and_counted() -> None:
    to, after_restart = line(), line()
    (row,) = to.send(child())

    assert after_restart.seal(row) is None
    assert after_restart.count("spans", outcome="forgotten") == 1


def test_a_trace_without_llm_work_is_omitted_at_sealing() -> None:
    to = line(llm_only=True)
    (row,) = to.send(root())
    assert row.seal_at_ms == NOW_MS + SETTLE_MS

    assert to.seal(row) is Omit.OMIT
    assert to.count("spans", outcome="no_llm") == 1
    to.send(child({}), now_ms=NOW_MS + SETTLE_MS)
    assert to.done.without_llm == {TRACE_ID}


def test_a_trace_that_turns_out_to_do_llm_work_is_kept() -> None:
    to = line(llm_only=True)
    (row,) = to.send(root())
    to.send(child(WITH_CONTENT))

    assert to.done.released == {TRACE_ID}
    assert says(sealed(to, row))[NAME] == "answer"


def test_content_that_came_before_its_span_is_joined() -> None:
    to = line()
    to.send_logs(log_record("hi"))
    (row,) = to.send(child())

    assert says(sealed(to, row))[INPUT] == '[{"role":"user","content":"hi"}]'
    assert to.count("log_messages", outcome="joined") == 1


def test_content_that_comes_while_its_span_settles_is_joined() -> None:
    to = line()
    (row,) = to.send(child(), root())
    assert to.done.seal_at, "a call without content waits for it, though its root is here"
    to.send_logs(log_record("hi"), NOW_MS + SETTLE_MS - 1)
    to.send_logs(log_record("ho", "gen_ai.choice"), NOW_MS + SETTLE_MS - 1)

    inside = {each.span_id: plain_attributes(each.attributes) for each in spans_in(sealed(to, row))}

    assert inside[CHILD][INPUT] == '[{"role":"user","content":"hi"}]' and "ho" in str(inside[CHILD][OUTPUT])
    assert INPUT not in inside[ROOT]


def test_content_that_comes_too_late_or_for_a_span_that_has_its_own_is_counted() -> None:
    to = line()
    (row,) = to.send(child())
    sealed(to, row)
    to.send_logs(log_record("hi"))
    to.send(child({**CHAT, "gen_ai.input.messages": "[]", "gen_ai.output.messages": '[{"role":"assistant","content":"own"}]'}, b"has-own."))
    to.send_logs(log_record("hi", span_id=b"has-own."))

    assert to.count("log_messages", outcome="unused") == 2
    assert to.count("log_messages", outcome="joined") == 0


def test_a_repeated_message_is_joined_once() -> None:
    to = line()
    for _ in range(2):
        to.send_logs(log_record("hi"))
    (row,) = to.send(child())

    assert says(sealed(to, row))[INPUT] == '[{"role":"user","content":"hi"}]'
    assert to.count("log_messages", outcome="no_room") == 1


def test_large_log_requests_are_read_beside_the_loop_and_mean_the_same() -> None:
    to = line()
    text = "a" * 200_000
    body = log_record(text) + log_record("b" * 100_000, "something.else")
    assert len(body) > LOGS_INLINE_BYTES
    to.send_logs(body)
    (row,) = to.send(child())

    assert json.loads(str(says(sealed(to, row))[INPUT])) == [{"role": "user", "content": text}]


def test_logs_that_can_not_be_read_are_malformed_only_if_they_might_hold_content() -> None:
    to = line()
    to.send_logs(b"\x0a\xff no content")
    with pytest.raises(MalformedPayload):
        to.send_logs(b"\x0a\xff gen_ai.user.message")


def test_calls_without_a_price_and_calls_of_another_model_are_counted() -> None:
    to = line(agents=[{"match": "planner", "model": "gpt-4o*"}])
    call: Attributes = {**CHAT, "gen_ai.request.model": "nobody-knows-this-model", "gen_ai.usage.input_tokens": 7, "gen_ai.agent.name": "planner"}
    to.send(root(call))
    to.send(root({**call, "gen_ai.request.model": "gpt-4o"}))

    assert to.count("unpriced_calls", reason="unknown_model") == 1
    assert to.count("model_drift_calls", agent="planner") == 1


def test_without_enrichment_spans_are_masked_and_nothing_else() -> None:
    metrics = Metrics(CollectorRegistry())
    to = Line(Pipeline(Hider(), None), None, metrics)

    (row,) = to.send(child({**CHAT, "note": "hunter2"}), root({"user.id": "u1"}))
    to.send_logs(log_record())

    assert to.done == Completed()
    inside = {each.span_id: plain_attributes(each.attributes) for each in spans_in(row)}
    assert inside == {CHILD: {**CHAT, "note": "*******"}, ROOT: {"user.id": "u1"}}


def test_an_evicted_trace_costs_context_and_never_spans() -> None:
    to = line(live_bytes=4096)
    (row,) = to.send(child())
    for number in range(20):
        to.send(span(trace_id=number.to_bytes(16, "big"), span_id=ROOT))
    assert to.seal(row) is None
    assert to.count("spans", outcome="forgotten") == 1


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
KEYS = st.sampled_from(
    ["", "user.id", "session.id", "gen_ai.conversation.id", NAME, "langfuse.trace.tags", "langfuse.trace.metadata.x", "gen_ai.agent.name", "k" * 200]
)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), TEXTS, st.binary(max_size=9), st.lists(TEXTS, max_size=3))
IDS = st.sampled_from([b"", b"short", *(b"%8d" % number for number in range(6))])
SCOPES = st.sampled_from(["acme", "opentelemetry.instrumentation.httpx"])


@given(
    sent=st.lists(
        st.tuples(SCOPES, st.lists(st.tuples(IDS, IDS, TEXTS, st.dictionaries(KEYS, VALUES), st.booleans()), max_size=4)), min_size=1, max_size=4
    ),
    llm_only=st.booleans(),
)
def test_whatever_comes_nothing_raises_and_no_span_is_lost(
    sent: list[tuple[str, list[tuple[bytes, bytes, str, Attributes, bool]]]], llm_only: bool
) -> None:
    to = line(Hider(), llm_only=llm_only)
    rows: list[NewRow] = []
    kept = 0
    for scope, spans in sent:
        message = request(
            *(span(span_id=i, parent=p, name=n, attributes=a) for i, p, n, a, _ in spans), resource=spans[0][3] if spans else {}, scope=scope
        )
        for each, (*_, is_valueless) in zip(message.resource_spans[0].scope_spans[0].spans, spans, strict=True):
            if is_valueless:
                each.attributes.add(key="user.id")
        body = message.SerializeToString()
        batch = decode_protobuf(body)
        mend(batch)
        done, _ = run(to.pipeline.process(batch, body, NOW_MS))
        rows += [row_of(part, NOW_MS, done.seal_at.get(part.trace_id)) for part in slices(batch, lambda _: "default")]
        kept += batch.span_count - batch.rejected.total() - batch.filtered

    new = [to.seal(row) or row for row in rows]

    assert sum(row.spans for row in rows) == kept
    assert [len(spans_in(row)) for row in new if isinstance(row, NewRow)] == [
        old.spans for old, row in zip(rows, new, strict=True) if isinstance(row, NewRow)
    ]
    assert to.count("failures") == 0

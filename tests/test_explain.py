"""`sidecar explain`: what it says of captures and of spans made by hand, and what it never shows."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar import explain as explaining
from sidecar.errors import MalformedPayload, TooLarge
from sidecar.explain import Explanation, SpanReport, explain
from sidecar.explained import explained
from sidecar.loader import load
from sidecar.mask.audit import write_audit
from sidecar.receive.pipeline import Mask, spans_of
from sidecar.wire.attributes import decode, encode_string
from sidecar.wire.batch import SpanBatch
from tests import spans
from tests.corpus import CorpusRequest, trace_requests
from tests.fakes.otlp_json import from_json, to_json
from tests.test_cli import sidecar

NOW_MS = 1_795_000_000_000
CALL: spans.Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"a private question"}]}]',
}
AGENT: spans.Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", "user.id": "u-7", "session.id": "s-9"}
HTTP: spans.Attributes = {"http.request.method": "POST", "url.full": "https://shop.example/orders", "http.response.status_code": 200}


FAST = ("--set", "masking.enabled=false")
"""For commands whose masking is beside the point: it takes a second to start."""


def unmasked(_: SpanBatch) -> Iterator[None]:
    """A mask that finds nothing."""
    return iter(())


def span_id(number: int) -> bytes:
    return number.to_bytes(8, "big")


def made(number: int, parent: int, name: str, attributes: spans.Attributes, kind: Span.SpanKind.ValueType = Span.SPAN_KIND_INTERNAL) -> Span:
    return spans.span(span_id=span_id(number), parent=span_id(parent) if parent else b"", name=name, attributes=attributes, kind=kind)


def explanation(content: bytes | ExportTraceServiceRequest, *sets: str, by: Mask = unmasked, values: bool = False) -> Explanation:
    config = load((), ("destinations=[{name: here, type: local}]", *sets), {}).config
    body = content if isinstance(content, bytes) else content.SerializeToString()
    return explain(body, config, {}, by, NOW_MS, logging.getLogger("tests"), values=values)


def one(content: bytes | ExportTraceServiceRequest, *sets: str, by: Mask = unmasked, values: bool = False) -> SpanReport:
    (found,) = explanation(content, *sets, by=by, values=values).spans
    return found


def text_of(found: Explanation) -> str:
    return "\n".join(explained(found))


def capture(name: str) -> CorpusRequest:
    return next(request for request in trace_requests() if request.name.startswith(name))


def test_a_priced_call_names_its_rule_and_the_date_of_the_table() -> None:
    found = explanation(spans.request(made(1, 0, "chat", CALL)))
    call = found.spans[0]

    assert (call.type, call.kind, call.dialect, call.is_call) == ("generation", "generation", "semconv", True)
    assert (call.model_asked, call.model_answered) == ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    assert call.model["provider"] == "openai" and call.model["family"] == "gpt"
    assert call.usage == {"input": 1000, "output": 100}
    assert call.cost is not None and call.cost.usd == pytest.approx(0.00021)
    assert call.cost.source.startswith(f"price table of {found.table_date}: openai/gpt-4o-mini")
    assert call.input is not None and call.input.found_in == ("gen_ai.input.messages",)


def test_the_providers_own_cost_and_an_explicit_one_are_told_apart() -> None:
    provider = one(spans.request(made(1, 0, "chat", {**CALL, "gen_ai.usage.cost": 0.5})))
    explicit = one(spans.request(made(1, 0, "chat", {**CALL, "langfuse.observation.cost_details": '{"total":0.25}'})))

    assert provider.cost is not None and (provider.cost.usd, provider.cost.source) == (0.5, "the provider's own")
    assert explicit.cost is not None and explicit.cost.usd == 0.25
    assert explicit.cost.source == "the span's own langfuse.observation.cost_details"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gen_ai.request.model": "made-up-1", "gen_ai.response.model": "made-up-1"}, "unknown_model"),
        ({"gen_ai.provider.name": "ollama"}, "self_hosted"),
    ],
)
def test_an_unpriced_call_says_why(changes: spans.Attributes, reason: str) -> None:
    call = one(spans.request(made(1, 0, "chat", {**CALL, **changes})))

    assert call.cost is not None and (call.cost.usd, call.cost.unpriced) == (None, reason)


def test_a_call_that_is_seen_twice_counts_once_and_says_so() -> None:
    outer = made(1, 0, "outer", {**CALL, "gen_ai.response.id": "chatcmpl-123456"})
    inner = made(2, 1, "inner", {**CALL, "gen_ai.response.id": "chatcmpl-123456"})

    found = explanation(spans.request(outer, inner)).spans

    assert sum(each.is_call for each in found) == 1
    assert [each.not_counted for each in found if not each.is_call] == [
        "another span of this request is the same call, or this one adds up its calls"
    ]


def test_what_an_ancestor_says_is_named_with_the_ancestor() -> None:
    found = explanation(spans.request(made(2, 1, "chat", CALL), made(1, 0, "invoke_agent support", AGENT)))
    context = {each.subject: (each.value, each.inherited_from) for each in found.spans[0].context}

    assert context["user"] == ("u-7", "0000000000000001 invoke_agent support")
    assert context["session"] == ("s-9", "0000000000000001 invoke_agent support")
    assert context["agent"] == ("support", "0000000000000001 invoke_agent support")
    assert context["trace name"] == ("invoke_agent support", "the trace")
    assert {each.subject: each.inherited_from for each in found.spans[1].context}["user"] == ""


def test_a_span_that_settles_inherits_from_a_later_request() -> None:
    lines = [to_json(spans.request(made(2, 1, "chat", CALL))), to_json(spans.request(made(1, 0, "run", AGENT)))]

    found = explanation(b"\n".join(lines))

    assert [request.spans for request in found.requests] == [1, 1]
    assert {each.subject: each.inherited_from for each in found.spans[0].context}["user"] == "0000000000000001 run"


def test_a_drifted_agent_shows_what_was_expected(tmp_path: Path) -> None:
    rules = tmp_path / "agents.yaml"
    rules.write_text("agents: [{match: support, model: 'claude-*', team: care}]", encoding="utf-8")
    call = one(spans.request(made(1, 0, "chat", {**CALL, "gen_ai.agent.name": "support"})), f"enrichment.agents={rules}")

    assert call.drift == {"got": "gpt-4o-mini-2024-07-18", "expected": "claude-*"}
    assert call.agent == {"name": "support", "team": "care"}


def test_an_agent_by_a_rule_for_its_service_says_so(tmp_path: Path) -> None:
    rules = tmp_path / "agents.yaml"
    rules.write_text("agents: [{match: {service: 'voice-*'}, name: caller}]", encoding="utf-8")
    call = one(spans.request(made(1, 0, "chat", CALL), resource={"service.name": "voice-eu"}), f"enrichment.agents={rules}")

    assert [(each.value, each.inherited_from) for each in call.context if each.subject == "agent"] == [("caller", "a rule for its service or scope")]


def test_a_filtered_http_span_is_left_out_and_its_child_re_parented() -> None:
    request = spans.request(made(1, 0, "invoke_agent support", AGENT), made(2, 1, "POST", HTTP, kind=Span.SPAN_KIND_CLIENT), made(3, 2, "chat", CALL))
    found = explanation(request, "enrichment.spans=llm")

    assert [each.left_out for each in found.spans] == ["", "infrastructure (enrichment.spans: llm)", ""]
    assert (found.spans[2].parent_id, found.spans[2].reparented_from) == (span_id(1).hex(), span_id(2).hex())
    assert not found.spans[1].added
    assert "2 kept, 1 left out" in text_of(found)


def test_a_trace_without_llm_work_is_left_out_whole() -> None:
    found = explanation(spans.request(made(1, 0, "work", {"step": 1})), "enrichment.spans=llm")

    assert [each.left_out for each in found.spans] == ["no LLM work in its trace (enrichment.spans: llm)"]


def test_a_cut_value_is_named_with_the_bytes_it_had() -> None:
    tool: spans.Attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find", "notes": "word " * 2000}

    found = explanation(spans.request(made(1, 0, "execute_tool find", tool)), "enrichment.max_value_kib=1")

    assert found.spans[0].cut == {"notes": 10_000}
    assert "notes" in [change.key for change in found.spans[0].changed]
    assert "notes (had 10,000 B)" in text_of(found)


def test_media_are_named_by_their_descriptors() -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8).decode()
    messages = json.dumps([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}]}])

    call = one(spans.request(made(1, 0, "chat", {**CALL, "gen_ai.input.messages": messages})))

    assert len(call.media) == 1 and call.media[0].startswith("[media type=image/png bytes=2056 sha256=")
    assert call.media_bytes_saved > 2000


def test_signals_between_agents_are_shown() -> None:
    attributes: spans.Attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "transfer_to_billing"}

    assert one(spans.request(made(1, 0, "execute_tool transfer_to_billing", attributes))).signals["handoff_to"] == "billing"


def test_a_moved_prompt_says_from_where_to_where() -> None:
    request = spans.request(
        made(1, 0, "create_agent support", {"gen_ai.operation.name": "create_agent", "gen_ai.system_instructions": '["be kind"]'})
    )
    agent = one(request)

    assert agent.input is not None and agent.input.moved_to == "langfuse.observation.input"
    assert "gen_ai.system_instructions" in agent.removed


def test_malformed_spans_are_rejected_alone_and_mends_are_told_by_span() -> None:
    good, bad = made(1, 0, "good", CALL), made(2, 1, "bad", CALL)
    bad.trace_id = b"short"
    mended = made(3, 1, "mended", CALL)
    mended.end_time_unix_nano = 1
    mended.attributes.add(key="empty")

    found = explanation(spans.request(good, bad, mended))

    assert [(each.name, each.mended) for each in found.spans] == [("good", {}), ("mended", {"end_time": 1, "attribute_without_value": 1})]
    assert found.requests[0].rejected == {"invalid_trace_id": 1}
    assert found.requests[0].problems == ["resourceSpans[0].scopeSpans[0].spans[1].traceId has 5 bytes instead of 16"]
    assert "traceId has 5 bytes instead of 16" in text_of(found)


def test_enrichment_that_is_off_is_said() -> None:
    found = explanation(spans.request(made(1, 0, "chat", CALL)), "enrichment.enabled=false", "sampling.enabled=false")

    assert not found.spans[0].added and found.table_date == ""
    assert "enrichment is off" in text_of(found)


def test_the_keep_rule_that_a_span_meets_is_said(tmp_path: Path) -> None:
    file = tmp_path / "sampling.yaml"
    file.write_text(
        "rules: [{name: slow-refunds, match: {span: 'refund*'}}]\nprobabilities: [{match: {service: batch}, probability: 0.1}]", encoding="utf-8"
    )
    failed = spans.span(span_id=span_id(2), parent=span_id(1), name="chat", attributes=CALL, error="boom")
    sent = spans.request(made(1, 0, "refund 7", CALL), failed, made(3, 1, "chat", CALL), resource={"service.name": "batch"})
    found = explanation(sent, f"sampling.rules={file}")

    assert [(span.keep_rule, span.base_probability) for span in found.spans] == [("slow-refunds", 0.1), ("errors", 0.1), ("", 0.1)]
    text = text_of(found)
    assert "kept by  rule slow-refunds" in text
    assert "sampled  by chance, with a probability of 0.1" in text


def _redacts(batch: SpanBatch) -> Iterator[None]:
    """A mask that hides one word wherever it stands in a span."""
    for span in spans_of(batch.request):
        yield
        hits = sum(b"s3cret" in raw for raw in span.attributes)
        span.name = span.name.replace(b"s3cret", b"[SECRET]")
        for index, raw in enumerate(span.attributes):
            if b"s3cret" in raw:
                key, value = decode(raw)
                span.attributes[index] = encode_string(key.replace("s3cret", "[SECRET]"), str(value).replace("s3cret", "[SECRET]"))
        if hits:
            write_audit(span.attributes, {"SECRET": hits}, "digest")


def test_nothing_is_shown_as_it_was_before_the_mask() -> None:
    agent = {**AGENT, "gen_ai.agent.name": "s3cret", "user.id": "s3cret", "key.s3cret": 1, "note": "s3cret"}
    call = {**CALL, "gen_ai.request.model": "s3cret", "gen_ai.response.model": "s3cret", "gen_ai.input.messages": "s3cret", "error.type": "s3cret"}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "s3cret", "http.s3cret": "x"}
    request = spans.request(
        made(1, 0, "s3cret", agent),
        spans.span(span_id=span_id(2), parent=span_id(1), name="s3cret", attributes=call, error="failed"),
        made(3, 1, "s3cret", tool),
        made(4, 1, "GET s3cret", HTTP, kind=Span.SPAN_KIND_CLIENT),
    )

    found = explanation(request, "enrichment.spans=llm", by=_redacts, values=True)
    said = text_of(found) + repr(found)

    assert "s3cret" not in said
    assert said.count("[SECRET]") > 10
    assert {"user.id", "key.[SECRET]", "name"} <= set(found.spans[0].masked)
    assert found.spans[0].masked_types == {"SECRET": 5}


def test_texts_of_prompts_are_shown_only_on_demand() -> None:
    moved: spans.Attributes = {"gen_ai.operation.name": "create_agent", "gen_ai.system_instructions": "a private instruction " * 20}
    request = spans.request(made(1, 0, "chat", CALL), made(2, 1, "create_agent", moved))

    assert "private" not in text_of(explanation(request)) + repr(explanation(request))
    shown = next(line for line in text_of(explanation(request, values=True)).splitlines() if "langfuse.observation.input = " in line)
    assert "a private instruction" in shown
    assert max(len(change.value) for each in explanation(request, values=True).spans for change in each.added) == 120


def test_what_a_terminal_would_act_upon_is_escaped_and_no_line_is_too_long() -> None:
    lines = text_of(explanation(spans.request(made(1, 0, "a\x1b[2Jb\u202ec" + "x" * 500, {**CALL, "y" * 300: "z"})))).splitlines()

    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) <= 120
    assert any("a\\x1b[2Jb\\u202ec" in line for line in lines)


def test_a_circle_of_parents_ends() -> None:
    found = explanation(spans.request(made(1, 2, "one", CALL), made(2, 1, "two", CALL), made(3, 3, "three", CALL)))
    text = text_of(found)

    assert all(f" {name}  [" in text for name in ("one", "two", "three"))


def test_every_encoding_says_the_same() -> None:
    request = spans.request(made(1, 0, "invoke_agent support", AGENT), made(2, 1, "chat", CALL))
    plain, as_json = request.SerializeToString(), to_json(request)
    pretty = b"\xef\xbb\xbf\n" + json.dumps(json.loads(as_json), indent=1).encode()

    expected = explanation(plain)

    assert all(explanation(each) == expected for each in (gzip.compress(plain), as_json, pretty, gzip.compress(as_json)))


def test_protobuf_that_begins_like_json_is_told_from_it() -> None:
    request = spans.request(made(1, 0, "n", {"k": "v"}), scope="s")
    missing = 123 - len(request.resource_spans[0].SerializeToString())
    request.resource_spans[0].scope_spans[0].spans[0].name += "n" * missing

    assert request.SerializeToString().startswith(b"\n{")
    assert one(request).name.startswith("nn")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"{}", b'{"resourceLogs":[]}', b"{", b"\x00\xff" * 50, gzip.compress(b"no"), b"\x1f\x8bbroken", b"[1]"]
)
def test_a_file_that_is_no_otlp_gets_a_sentence(content: bytes) -> None:
    with pytest.raises(MalformedPayload) as caught:
        explanation(content)

    assert len(str(caught.value)) > 20


def test_a_bad_line_is_named_by_its_number() -> None:
    good = to_json(spans.request(made(1, 0, "chat", CALL)))

    with pytest.raises(MalformedPayload, match="request 2 of the file"):
        explanation(good + b"\n{broken\n")


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "MAX_BYTES", 1000)

    with pytest.raises(TooLarge):
        explanation(bytes(1001))
    with pytest.raises(TooLarge):
        explanation(gzip.compress(bytes(100_000)))


@pytest.mark.parametrize(
    "name", ["langchain-openllmetry/happy", "haystack-native-otel/happy", "langfuse-js/happy", "mlflow/happy", "vercel-ai-sdk/happy"]
)
def test_the_spans_of_a_capture_are_all_explained(name: str) -> None:
    request = capture(name)
    body = from_json(request.body) if request.is_json else ExportTraceServiceRequest.FromString(request.body)
    came = Counter(span.name for each in body.resource_spans for scope in each.scope_spans for span in scope.spans)

    found = explanation(request.body)
    lines = text_of(found).splitlines()

    assert Counter(each.name for each in found.spans) == came
    assert all(each.type and each.dialect for each in found.spans)
    assert all(bool(each.cost.source) != bool(each.cost.unpriced) for each in found.spans if each.cost), "the enricher priced otherwise"
    assert max(map(len, lines)) <= 120
    assert sum(line.lstrip().startswith("* ") for line in lines) == came.total()


def test_a_large_json_file_is_explained_in_pieces() -> None:
    many = [made(number, 0, "chat", {**CALL, "filler": "f" * 2000}) for number in range(1, 700)]
    many[5].trace_id = b"odd"
    for number, each in enumerate(many):
        each.trace_id = each.trace_id if number == 5 else number.to_bytes(16, "big") if number else spans.TRACE_ID

    found = explanation(to_json(spans.request(*many)))

    assert (found.requests[0].spans, len(found.spans), found.requests[0].rejected) == (699, 698, {"invalid_trace_id": 1})
    assert all(each.cost and each.cost.source for each in found.spans)


def test_the_command_reads_files_and_standard_input_and_prints_text_or_json(tmp_path: Path) -> None:
    path = tmp_path / "spans.bin"
    path.write_bytes(spans.request(made(1, 0, "chat", CALL)).SerializeToString())

    text, records = sidecar("explain", str(path)), sidecar("explain", *FAST, "--json", str(path))

    assert text.returncode == 0, text.stderr
    assert "* chat  [generation, semconv, 0000000000000001]" in text.stdout
    assert [json.loads(line)["record"] for line in records.stdout.splitlines()] == ["request", "span"]


def test_the_commands_exit_codes_tell_bad_files_from_bad_usage(tmp_path: Path) -> None:
    path = tmp_path / "no.otlp"
    path.write_text("hello", encoding="utf-8")

    bad_file, bad_setting, no_file = (sidecar("explain", *each) for each in ((*FAST, str(path)), ("--set", "x=1", str(path)), ("nowhere",)))

    assert (bad_file.returncode, bad_setting.returncode, no_file.returncode) == (1, 2, 2)
    assert "no OTLP" in bad_file.stderr and "Traceback" not in bad_file.stderr

"""Content out of log records, its way through masking, and how it is put together."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from sidecar.enrich.dialects.sources import CONTENT_EVENTS, read_content, sources_of
from sidecar.enrich.log_content import (
    MAX_RECORDS,
    Direction,
    LogContent,
    Origin,
    assemble,
    content_carriers,
    from_carriers,
    log_content,
    may_hold_content,
)
from sidecar.errors import MalformedPayload
from sidecar.wire.attributes import encode_string
from sidecar.wire.batch import decode_protobuf
from sidecar.wire.encoding import Encoding
from sidecar.wire.logs import Skip, decode_logs
from tests import corpus, spans
from tests.enrich import views
from tests.spans import Value
from tests.wire.strategies import damaged, values

ORIGIN = Origin(b"", b"")
DETAILS = "gen_ai.client.inference.operation.details"
NAMES = ["gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message", "gen_ai.choice", DETAILS]


def record(name: str, body: Value = None, attributes: Mapping[str, Value] | None = None, **fields: Any) -> LogRecord:
    given_fields = {"trace_id": spans.TRACE_ID, "span_id": spans.SPAN_ID, "time_unix_nano": spans.START_NS, "event_name": name, **fields}
    return LogRecord(body=spans.any_value(body), attributes=spans.key_values(attributes or {}), **given_fields)


def request(*records: LogRecord, service: str = "agent", scope: str = "tests") -> ExportLogsServiceRequest:
    made = ExportLogsServiceRequest()
    resource_logs = made.resource_logs.add()
    resource_logs.resource.attributes.extend(spans.key_values({"service.name": service}))
    resource_logs.scope_logs.add(log_records=records).scope.name = scope
    return made


def read(made: ExportLogsServiceRequest | bytes) -> tuple[list[LogContent], Counter[str]]:
    batch = decode_logs(made if isinstance(made, bytes) else made.SerializeToString(), Encoding.PROTOBUF)
    found = log_content(batch)
    return found, +batch.skipped


def only(made: LogRecord) -> tuple[Direction, Any]:
    (content,), skipped = read(request(made))
    assert not skipped
    return content.direction, json.loads(content.text)


def message(text: str, direction: Direction = "input", time_ns: int = 0) -> LogContent:
    return LogContent(spans.TRACE_ID, spans.SPAN_ID, direction, text, time_ns, ORIGIN)


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_a_message_record_is_an_input_of_its_role(role: str) -> None:
    assert only(record(f"gen_ai.{role}.message", {"content": "Hello"})) == ("input", {"role": role, "content": "Hello"})


def test_the_role_that_a_message_names_itself_stays() -> None:
    assert only(record("gen_ai.system.message", {"role": "developer", "content": "Be brief"})) == (
        "input",
        {"role": "developer", "content": "Be brief"},
    )


def test_a_choice_is_an_output_as_it_stands() -> None:
    choice: Value = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
    assert only(record("gen_ai.choice", choice)) == ("output", choice)


def test_the_name_may_be_an_attribute() -> None:
    assert only(record("", {"content": "Hello"}, {"event.name": "gen_ai.user.message"}))[0] == "input"


def test_a_body_that_is_a_string_of_json_is_the_message() -> None:
    body = '{"role": "user", "content": "caf\\u00e9", "big": 12345678901234567890123}'
    (content,), _ = read(request(record("gen_ai.user.message", body)))
    assert content.text == body  # not written anew


def test_a_string_of_json_gets_a_role_where_it_has_none() -> None:
    assert only(record("gen_ai.tool.message", ' {"content": "42"}')) == ("input", {"role": "tool", "content": "42"})


@pytest.mark.parametrize("body", ["Hello", "[1", '["a"]', "7"])
def test_a_body_that_is_other_text_is_the_content(body: str) -> None:
    assert only(record("gen_ai.user.message", body)) == ("input", {"role": "user", "content": body})


def test_a_list_of_parts_is_the_content() -> None:
    parts: Value = [{"type": "text", "text": "Hello"}]
    assert only(record("gen_ai.user.message", parts)) == ("input", {"role": "user", "content": parts})


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gen_ai.user.message", None),
        ("gen_ai.user.message", ""),
        ("gen_ai.user.message", {}),
        ("gen_ai.user.message", {"role": "user", "content": ""}),
        ("gen_ai.tool.message", {"id": "call_1"}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}),
        (DETAILS, None),
    ],
)
def test_a_record_of_an_application_that_captures_no_content_says_nothing(name: str, body: Value) -> None:
    assert read(request(record(name, body))) == ([], Counter({Skip.NOT_CONTENT: 1}))


def test_tool_calls_are_content() -> None:
    calls: Value = [{"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}]
    assert only(record("gen_ai.choice", {"index": 0, "message": {"role": "assistant"}, "tool_calls": calls}))[0] == "output"
    assert only(record("gen_ai.choice", {"index": 0, "message": {"role": "assistant", "tool_calls": calls}}))[0] == "output"
    assert only(record("gen_ai.assistant.message", {"tool_calls": calls})) == ("input", {"role": "assistant", "tool_calls": calls})


USER: dict[str, Value] = {"role": "user", "parts": [{"type": "text", "content": "Hello"}]}
ANSWER: dict[str, Value] = {"role": "assistant", "parts": [{"type": "text", "content": "Hi"}], "finish_reason": "stop"}
RULES: list[Value] = [{"type": "text", "content": "Be brief"}]


def details(**attributes: Value) -> list[tuple[str, Any, bool]]:
    found, _ = read(request(record(DETAILS, attributes={f"gen_ai.{key}": value for key, value in attributes.items()})))
    return [(content.direction, json.loads(content.text), content.many) for content in found]


def test_operation_details_give_a_list_of_messages_for_each_side() -> None:
    found = details(**{"input.messages": [USER], "output.messages": [ANSWER]})
    assert found == [("input", [USER], True), ("output", [ANSWER], True)]


def test_operation_details_may_hold_their_lists_as_json() -> None:
    found = details(**{"input.messages": json.dumps([USER]), "output.messages": json.dumps([ANSWER]), "system_instructions": json.dumps(RULES)})
    assert found == [("input", [{"role": "system", "parts": RULES}, USER], True), ("output", [ANSWER], True)]


@pytest.mark.parametrize("instructions", [RULES, RULES[0], "Be brief", json.dumps(RULES[0])])
def test_system_instructions_come_first(instructions: Value) -> None:
    rules = {"role": "system", "parts": RULES}
    assert details(**{"input.messages": [USER], "system_instructions": instructions}) == [("input", [rules, USER], True)]
    assert details(system_instructions=instructions) == [("input", [rules], True)]


def test_system_instructions_are_not_said_twice() -> None:
    system: Value = {"role": "system", "parts": RULES}
    assert details(**{"input.messages": [system, USER], "system_instructions": RULES}) == [("input", [system, USER], True)]


@pytest.mark.parametrize(("said", "expected"), [(USER, USER), (json.dumps(USER), USER), ("Hello", {"role": "user", "content": "Hello"})])
def test_a_message_outside_a_list_is_put_into_one(said: Value, expected: Value) -> None:
    assert details(**{"input.messages": said}) == [("input", [expected], True)]


@pytest.mark.parametrize("nothing", ["", "[]", "[ ]", "{}", [], {}, None])
def test_empty_operation_details_say_nothing(nothing: Value) -> None:
    assert details(**{"input.messages": nothing, "output.messages": nothing, "system_instructions": nothing}) == []


@pytest.mark.parametrize("ids", [{"trace_id": b""}, {"span_id": b""}, {"trace_id": bytes(16)}, {"span_id": bytes(8)}, {"span_id": b"short"}])
def test_a_record_that_names_no_span_is_counted(ids: dict[str, Any]) -> None:
    assert read(request(record("gen_ai.user.message", {"content": "Hello"}, **ids))) == ([], Counter({Skip.NO_SPAN: 1}))


def test_other_records_are_counted() -> None:
    others = [record("", "gen_ai.user.message was sent"), record("gen_ai.evaluation.result", {"content": "a"}), record("", "an ordinary line")]
    assert read(request(*others)) == ([], Counter({Skip.NOT_CONTENT: 3}))


def test_the_time_is_the_records_or_when_it_was_observed() -> None:
    body = {"content": "Hello"}
    late = record("gen_ai.user.message", body, time_unix_nano=0, observed_time_unix_nano=7)
    found, _ = read(request(record("gen_ai.user.message", body, observed_time_unix_nano=9), late))
    assert [content.time_unix_nano for content in found] == [spans.START_NS, 7]


def test_a_message_knows_its_service_and_scope() -> None:
    (content,), _ = read(request(record("gen_ai.user.message", {"content": "Hello"}), service="pricing", scope="openai_v2"))
    assert (content.origin.service, content.origin.scope_name) == ("pricing", "openai_v2")
    assert (ORIGIN.service, ORIGIN.scope_name) == ("", "")


def test_only_so_many_records_are_opened() -> None:
    made = request(*[record("gen_ai.user.message", {"content": "Hello"})] * (MAX_RECORDS + 3))
    made.resource_logs.extend(request(record("gen_ai.user.message", {"content": "late"})).resource_logs)
    found, skipped = read(made)
    assert len(found) == MAX_RECORDS
    assert skipped == {Skip.TOO_MANY: 4}


def test_a_resource_that_is_none_costs_its_own_records() -> None:
    good = request(record("gen_ai.user.message", {"content": "Hello"})).SerializeToString()
    batch = decode_logs(good + good, Encoding.PROTOBUF)
    batch.request.resource_logs[0].resource = b"\xff"
    assert len(log_content(batch)) == 1
    assert +batch.skipped == {Skip.MALFORMED: 1}


def test_a_malformed_record_is_counted() -> None:
    batch = decode_logs(request(record("gen_ai.user.message", {"content": "Hello"})).SerializeToString(), Encoding.PROTOBUF)
    batch.request.resource_logs[0].scope_logs[0].log_records.append(b"\x32\x7fgen_ai.user.message")
    assert len(log_content(batch)) == 1
    assert +batch.skipped == {Skip.MALFORMED: 1}


def test_invalid_utf8_costs_a_few_characters_of_its_record() -> None:
    made = request(record("gen_ai.user.message", {"content": "caf@"}), record("gen_ai.user.message", {"content": "fine"}), service="caf@")
    (first, second), skipped = read(made.SerializeToString().replace(b"@", b"\xff"))
    assert json.loads(first.text)["content"] == "caf�"
    assert json.loads(second.text)["content"] == "fine"
    assert first.origin.service == "caf�"
    assert not skipped
    assert from_carriers(content_carriers([first, second]))[0].text == first.text


def test_json_nested_beyond_any_parser_is_plain_text() -> None:
    body = '{"a":' * 5000 + "1" + "}" * 5000
    (content,), _ = read(request(record("gen_ai.user.message", body)))
    assert json.loads(content.text) == {"role": "user", "content": body}
    assert json.loads(assemble([message(body)])) == [body]


def test_messages_are_put_together_in_order_of_time() -> None:
    said = [message('{"n":2}', time_ns=2), message('{"n":1}', time_ns=1), message('{"n":3}', time_ns=2)]
    assert assemble(said) == '[{"n":1},{"n":2},{"n":3}]'


def test_a_single_output_stands_alone_and_several_in_a_list() -> None:
    assert assemble([message('{"index":0}', "output")]) == '{"index":0}'
    assert assemble([message('{"index":0}', "output"), message('{"index":1}', "output")]) == '[{"index":0},{"index":1}]'


def test_a_list_of_details_stands_for_itself() -> None:
    said = [message('{"role":"user"}'), message('[{"role":"user","parts":[]}]', time_ns=1), message('[{"later":1}]', time_ns=2)]
    assert assemble(said) == '[{"role":"user","parts":[]}]'


@pytest.mark.parametrize("left", ["[MASKING_FAILED]", "[EMAIL]", '{"cut', "null", "Hello"])
def test_what_masking_left_that_is_no_json_is_quoted(left: str) -> None:
    assert json.loads(assemble([message(left), message('{"n":1}', time_ns=1)])) == [left, {"n": 1}]
    assert json.loads(assemble([message(left, "output")])) == left


@given(st.lists(st.builds(message, st.text() | st.sampled_from(["{}", "[]", "[{}]", "1"]), st.just("input"), st.integers(0, 3)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_whatever_the_texts_are_the_whole_is_json(messages: list[LogContent]) -> None:
    assert isinstance(json.loads(assemble(messages)), list)


def test_carriers_are_spans_with_the_content_under_their_own_resource_and_scope() -> None:
    made = request(record("gen_ai.user.message", {"content": "Hello"}), record("gen_ai.choice", {"message": {"content": "Hi"}}), service="pricing")
    made.resource_logs.extend(request(record("gen_ai.user.message", {"content": "Bye"}), service="stock", scope="other").resource_logs)
    found, _ = read(made)
    batch = content_carriers(found)

    assert batch.span_count == 3 and batch.clean and not batch.mends and not batch.rejected
    placed = [
        (scope_spans.scope.name, span.trace_id, span.span_id, list(span.attributes))
        for resource_spans in batch.request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]
    ids = (spans.TRACE_ID, spans.SPAN_ID)
    assert placed == [
        (b"tests", *ids, [encode_string("langfuse.observation.input", found[0].text)]),
        (b"tests", *ids, [encode_string("langfuse.observation.output", found[1].text)]),
        (b"other", *ids, [encode_string("langfuse.observation.input", found[2].text)]),
    ]
    assert [content.origin.service for content in from_carriers(batch)] == ["pricing", "pricing", "stock"]


def test_scopes_of_one_resource_share_it() -> None:
    """Else a request could have its resource copied thousands of times."""
    made = request(record("gen_ai.user.message", {"content": "Hello"}))
    made.resource_logs[0].scope_logs.extend(request(record("gen_ai.user.message", {"content": "Bye"}), scope="other").resource_logs[0].scope_logs)
    (resource_spans,) = content_carriers(read(made)[0]).request.resource_spans
    assert [scope.scope.name for scope in resource_spans.scope_spans] == [b"tests", b"other"]


def test_a_message_whose_attribute_masking_removed_or_emptied_is_gone() -> None:
    batch = content_carriers([message('{"n":1}'), message('{"n":2}'), message('{"n":3}')])
    first, second, _ = batch.request.resource_spans[0].scope_spans[0].spans
    del first.attributes[:]
    second.attributes[:] = [encode_string("langfuse.observation.input", "")]
    assert [content.text for content in from_carriers(batch)] == ['{"n":3}']


@given(st.lists(st.tuples(st.sampled_from(NAMES), values, values), max_size=6))
@settings(max_examples=100, deadline=None)
def test_any_record_gives_json_that_survives_the_carriers(said: list[tuple[str, Value, Value]]) -> None:
    made = request(*(record(name, body, {"gen_ai.input.messages": value, "gen_ai.output.messages": body}) for name, body, value in said))
    found, skipped = read(made)
    for content in found:
        assert isinstance(json.loads(content.text), list if content.many else dict)
    assert len({id(content.origin.resource) for content in found}) <= 1
    assert from_carriers(content_carriers(found)) == found
    assert len(said) <= len(found) + skipped.total()


@given(damaged(st.lists(st.builds(record, st.sampled_from(NAMES), values), max_size=4).map(lambda records: request(*records).SerializeToString())))
@settings(max_examples=100, deadline=None)
def test_whatever_a_damaged_request_holds_its_carriers_are_clean(body: bytes) -> None:
    try:
        batch = decode_logs(body, Encoding.PROTOBUF)
    except MalformedPayload:
        return
    carriers = content_carriers(log_content(batch))
    assert decode_protobuf(carriers.request.SerializeToString()).clean
    assert not carriers.rejected


def test_content_reads_as_that_of_the_same_span_events() -> None:
    said: list[tuple[str, dict[str, Value]]] = [
        ("gen_ai.system.message", {"content": "Be brief"}),
        ("gen_ai.user.message", {"content": "Hello"}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": "Hi"}),
    ]
    view = views.view(events=[spans.event(name, body) for name, body in said])
    from_events = read_content(view, sources_of("tests", view.keys), view.find_events(CONTENT_EVENTS))
    found, _ = read(request(*(record(name, body) for name, body in said)))

    for direction, content in zip(("input", "output"), from_events, strict=True):
        assert content is not None
        assert assemble([item for item in found if item.direction == direction]) == content.text


def test_an_ordinary_log_request_is_told_apart_without_parsing() -> None:
    assert may_hold_content(request(record("gen_ai.choice", "Hi")).SerializeToString())
    assert not may_hold_content(request(record("", "an ordinary line")).SerializeToString())


def test_every_content_record_of_the_corpus_is_read() -> None:
    """115 messages and 96 operation details: one without a span, six of calls that failed. 55 records are ordinary lines."""
    contents, skipped = 0, Counter[str]()
    sides: dict[str, set[str]] = defaultdict(set)
    for captured in corpus.log_requests():
        found, reasons = read(captured.body)
        contents += len(found)
        skipped += reasons
        sides[captured.capture] |= {content.direction for content in found}
        assert from_carriers(content_carriers(found)) == found, captured.name

    assert set(sides) == {
        "anthropic-openlit",
        "google-adk-latest-semconv",
        "langchain-openlit",
        "openai-contrib-v2-2.1b0",
        "openai-contrib-v2-latest-semconv",
        "semantic-kernel",
    }
    assert all(found == {"input", "output"} for found in sides.values())
    assert contents == 115 + 2 * 95 - 6
    assert skipped == {Skip.NOT_CONTENT: 55, Skip.NO_SPAN: 1}

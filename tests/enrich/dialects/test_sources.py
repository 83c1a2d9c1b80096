"""Input and output: where they stand, and whether Langfuse shows them by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.enrich.dialects.sources import BLANK, INSTRUCTIONS
from sidecar.enrich.facts import Content
from sidecar.wire.otlp_json import decode_json
from tests import spans
from tests.corpus import trace_requests
from tests.enrich.golden import captures, read_capture
from tests.enrich.views import facts
from tests.fakes.langfuse_mapping import show

MESSAGES = '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]'
ANSWER = '[{"role":"assistant","parts":[{"type":"text","content":"hello"}]}]'


def test_messages_of_the_conventions_are_shown_by_langfuse_itself() -> None:
    found = facts({"gen_ai.operation.name": "chat", "gen_ai.input.messages": MESSAGES, "gen_ai.output.messages": ANSWER})
    assert found.input == Content(MESSAGES, ("gen_ai.input.messages",), native=True)
    assert found.output == Content(ANSWER, ("gen_ai.output.messages",), native=True)


def test_what_langfuse_never_looks_at_is_found_and_must_be_promoted() -> None:
    found = facts({"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.query.text": "q", "gen_ai.retrieval.documents": "[1]"})
    assert (found.input, found.output) == (Content("q", ("gen_ai.retrieval.query.text",)), Content("[1]", ("gen_ai.retrieval.documents",)))


def test_when_langfuse_takes_one_side_from_a_dialect_the_other_side_of_another_must_be_promoted() -> None:
    found = facts({"output.value": "done", "llm.input_messages.0.message.role": "user", "openinference.span.kind": "LLM"})
    assert found.output == Content("done", ("output.value",), native=True)
    assert found.input == Content('[{"role":"user"}]', ("llm.input_messages.0.message.role",))


def test_structured_values_are_given_as_json_and_must_be_promoted() -> None:
    found = facts({"gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}], "gen_ai.operation.name": "chat"})
    assert found.input is not None
    assert (json.loads(found.input.text)[0]["role"], found.input.native) == ("user", False)


@pytest.mark.parametrize("blank", ["", "{}", "[]", "null", '""', " [] "])
def test_texts_that_stand_for_nothing_are_no_content(blank: str) -> None:
    assert facts({"gen_ai.input.messages": blank, "gen_ai.operation.name": "invoke_agent"}).input is None


def test_system_instructions_go_with_the_messages() -> None:
    found = facts(
        {"gen_ai.system_instructions": '[{"type":"text","content":"be kind"}]', "gen_ai.input.messages": MESSAGES, "gen_ai.operation.name": "chat"}
    )
    assert found.input is not None
    assert (found.input.keys, found.input.native) == (("gen_ai.input.messages", INSTRUCTIONS), True)


def test_system_instructions_come_first_where_the_messages_must_be_promoted() -> None:
    attributes: spans.Attributes = {
        "gen_ai.completion.0.content": "x",  # Langfuse then shows only what is flattened
        "gen_ai.system_instructions": "be kind",
        "gen_ai.input.messages": MESSAGES,
    }
    found = facts(attributes).input
    assert found is not None
    assert [message["role"] for message in json.loads(found.text)] == ["system", "user"]
    assert not found.native


def test_system_instructions_alone_are_an_input_that_langfuse_loses() -> None:
    found = facts({"gen_ai.system_instructions": "be kind", "gen_ai.operation.name": "create_agent"}).input
    assert found == Content("be kind", ("gen_ai.system_instructions",))


def test_text_and_tool_calls_of_the_vercel_sdk_are_one_answer() -> None:
    found = facts({"ai.operationId": "ai.generateText.doGenerate", "ai.response.text": "", "ai.response.toolCalls": "[1]"}, scope="ai").output
    assert found is not None
    assert json.loads(found.text) == {"role": "assistant", "content": "", "tool_calls": "[1]"}
    assert found.native


def test_message_events_are_input_and_choices_are_output() -> None:
    found = facts(
        {"gen_ai.operation.name": "chat"},
        events=[
            spans.event("gen_ai.system.message", {"content": "be kind"}),
            spans.event("gen_ai.user.message", {"content": "hi"}),
            spans.event("gen_ai.choice", {"message": "hello"}),
        ],
    )
    assert found.input == Content(
        '[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}]',
        ("event:gen_ai.system.message", "event:gen_ai.user.message"),
        native=True,
    )
    assert found.output == Content('{"message":"hello"}', ("event:gen_ai.choice",), native=True)


def test_the_operation_details_event_holds_both_sides() -> None:
    details = spans.event("gen_ai.client.inference.operation.details", {"gen_ai.input.messages": MESSAGES, "gen_ai.output.messages": ANSWER})
    found = facts({"gen_ai.operation.name": "chat"}, events=[details])
    assert found.input == Content(MESSAGES, ("event:gen_ai.client.inference.operation.details",), native=True)
    assert found.output is not None


def test_explicit_content_wins_over_events() -> None:
    found = facts({"langfuse.observation.input": "explicit"}, events=[spans.event("gen_ai.user.message", {"content": "hi"})])
    assert found.input == Content("explicit", ("langfuse.observation.input",), native=True)


def test_empty_maps_of_adk_stand_for_nothing() -> None:
    attributes: spans.Attributes = {
        "gcp.vertex.agent.llm_request": "{}",
        "gcp.vertex.agent.llm_response": "{}",
        "gcp.vertex.agent.tool_call_args": '{"a": 1}',
        "gcp.vertex.agent.tool_response": '{"b": 2}',
    }
    found = facts(attributes, scope="gcp.vertex.agent", name="execute_tool look")
    assert found.input == Content('{"a": 1}', ("gcp.vertex.agent.tool_call_args",), native=True)
    assert found.output == Content('{"b": 2}', ("gcp.vertex.agent.tool_response",), native=True)


def _parsed(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


@pytest.mark.parametrize("capture", captures())
def test_native_content_of_a_capture_is_what_langfuse_shows_of_the_untouched_span(capture: str) -> None:
    seen = {(view.trace_id, view.span_id): facts for found in read_capture(capture).values() for view, facts in found}
    for request in (request for request in trace_requests() if request.capture == capture):
        body = decode_json(request.body).request.SerializeToString() if request.is_json else request.body
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    shown = show(span, scope_spans.scope, resource_spans.resource)
                    mine = seen[span.trace_id, span.span_id]
                    for content, text in ((mine.input, shown.input), (mine.output, shown.output)):
                        if content is None:
                            assert text is None or str(text).strip() in BLANK or "all_messages_events" in {pair.key for pair in span.attributes}
                        elif content.native:
                            assert text, f"{request.name} {span.name}: Langfuse shows nothing"
                            # Flattened, split and joined messages are shown in a shape of Langfuse's own.
                            if len(content.keys) == 1 and content.keys[0] != "events" and ".0." not in content.keys[0]:
                                assert _parsed(content.text) == _parsed(text)


PARTS: Sequence[spans.Value] = [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
CHAT: spans.Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}


def test_structured_messages_of_the_details_event_are_given_as_json_with_their_instructions() -> None:
    said: spans.Attributes = {"gen_ai.input.messages": PARTS, "gen_ai.output.messages": PARTS, INSTRUCTIONS: "be kind"}
    found = facts(CHAT, events=[spans.event("gen_ai.client.inference.operation.details", said)])
    assert found.input is not None
    assert found.output is not None
    assert json.loads(found.input.text) == [{"role": "system", "parts": [{"type": "text", "content": "be kind"}]}, *PARTS]
    assert json.loads(found.output.text) == PARTS
    assert not found.output.native


def test_structured_bodies_of_message_events_must_be_promoted() -> None:
    found = facts(CHAT, events=[spans.event("gen_ai.user.message", {"content": "hi"}), spans.event("gen_ai.choice", {"message": {"content": "yo"}})])
    assert found.output == Content('{"message":{"content":"yo"}}', ("event:gen_ai.choice",))
    assert found.input == Content('[{"role":"user","content":"hi"}]', ("event:gen_ai.user.message",))


@pytest.mark.parametrize("body", ["no json", "[1]", "[" * 100_000, '{"a":' * 50_000])
def test_an_events_body_that_is_no_object_is_shown_as_it_is(body: str) -> None:
    found = facts(CHAT, events=[spans.event("gen_ai.user.message", {"gen_ai.event.content": body})])
    assert found.input is not None
    assert json.loads(found.input.text) == [{"role": "user", "gen_ai.event.content": body}]
    assert found.input.native


def test_a_whole_list_of_messages_may_be_structured() -> None:
    found = facts({"openinference.span.kind": "LLM", "llm.input_messages": [{"role": "user"}], "llm.output_messages": '[{"role":"assistant"}]'})
    assert found.input == Content('[{"role":"user"}]', ("llm.input_messages",))
    assert found.output == Content('[{"role":"assistant"}]', ("llm.output_messages",), native=True)


def test_a_prompts_name_is_no_message() -> None:
    named: spans.Attributes = {**CHAT, "gen_ai.prompt.name": "greet", "gen_ai.prompt.version": "3"}
    messages = facts({**named, "gen_ai.input.messages": '[{"role":"user"}]'}).input
    assert messages == Content('[{"role":"user"}]', ("gen_ai.input.messages",))
    assert facts(named).input is None
    flat = facts({**named, "gen_ai.prompt.0.content": "hi"}).input
    assert flat is not None
    assert flat.text == '[{"content":"hi"}]'


def test_generic_names_are_the_last_that_are_looked_at() -> None:
    found = facts({"prompt": "p", "input": "i", "output": "o"}, scope="acme")
    assert found.input == Content("p", ("prompt",), native=True)
    assert found.output == Content("o", ("output",))

"""The model of Langfuse's converter, held against what was observed of the server."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes.langfuse_mapping import Shown, plain_attributes, show
from tests.spans import Attributes, event, key_values, span

USAGE, COST = "langfuse.observation.usage_details", "langfuse.observation.cost_details"


def shown(said: Attributes, *events: Span.Event, scope: str = "acme", version: str = "", around: Attributes | None = None) -> Shown:
    prices = {"gpt-4o": {"input": 1.0, "output": 2.0}}
    target = span(attributes=said, events=events)
    return show(target, InstrumentationScope(name=scope, version=version), Resource(attributes=key_values(around or {})), prices)


def test_structured_values_are_shown_as_their_otlp_json() -> None:
    after = shown({"gen_ai.input.messages": [{"role": "user"}], "input.value": None})

    assert after.input == "{}"
    assert '{"kvlistValue":{"values":[{"key":"role"' in str(shown({"gen_ai.input.messages": [{"role": "user"}]}).input)
    assert shown({"langfuse.trace.tags": []}).tags == ['{"arrayValue":{}}']


def test_an_attribute_without_a_value_loses_the_batch() -> None:
    with pytest.raises(ValueError, match="has no value"):
        plain_attributes([KeyValue(key="a")])


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"langfuse.observation.type": "guardrail"}, "GUARDRAIL"),
        ({"langfuse.observation.type": "GENERATION"}, "SPAN"),
        ({"langfuse.observation.type": "llm", "openinference.span.kind": "LLM"}, "GENERATION"),
        ({"openinference.span.kind": "RERANKER"}, "SPAN"),
        ({"openinference.span.kind": "TOOL", "gen_ai.operation.name": "chat"}, "TOOL"),
        ({"gen_ai.operation.name": "embeddings"}, "EMBEDDING"),
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "x"}, "AGENT"),
        ({"ai.operationId": "ai.streamText.doStream", "ai.model.id": "x"}, "GENERATION"),
        ({"ai.operationId": "ai.toolCall"}, "TOOL"),
        ({"gen_ai.tool.call.id": "x"}, "TOOL"),
        ({"model": "x"}, "GENERATION"),
        ({"traceloop.span.kind": "agent"}, "SPAN"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_the_type_is_that_of_the_first_rule_that_knows_one(said: Attributes, kind: str) -> None:
    assert shown(said).type == kind


@pytest.mark.parametrize(("version", "kind"), [("3.3.0", "GENERATION"), ("3.4.0", "SPAN")])
def test_an_old_python_sdks_span_with_a_model_is_a_generation(version: str, kind: str) -> None:
    said = {"langfuse.observation.type": "span", "langfuse.observation.model.name": "x"}

    assert shown(said, scope="langfuse-sdk", version=version, around={"telemetry.sdk.language": "python"}).type == kind


def test_conventions_are_asked_in_order_and_the_first_answers_for_both_sides() -> None:
    said = {
        "prompt": "1",
        "mlflow.spanInputs": "2",
        "traceloop.entity.input": "3",
        "input.value": "4",
        "input": "5",
        "gen_ai.prompt": "6",
        "gen_ai.input.messages": "7",
        "gen_ai.output.messages": "out",
    }
    seen = []
    while said:
        after = shown(said)
        if len(said) == 1:
            break
        seen.append(after.input)
        del said[next(iter(said))]

    assert seen == ["1", "2", "3", "4", "5", "6", "7"]


def test_with_only_one_explicit_side_the_other_is_lost_and_taken_out_of_the_metadata() -> None:
    after = shown({"langfuse.observation.output": "mine", "gen_ai.input.messages": "[1]", "acme": "kept"})

    assert (after.input, after.output) == (None, "mine")
    assert after.metadata["attributes"] == {"acme": "kept"}
    assert "gen_ai.input.messages" not in str(after.metadata)


def test_prompts_in_events_are_shown_and_exceptions_are_not() -> None:
    after = shown({}, event("gen_ai.user.message", {"content": "hi"}), event("gen_ai.choice", {"message": "ho"}), event("exception", {"a": "b"}))

    assert (after.input, after.output) == ([{"role": "user", "content": "hi"}], {"message": "ho"})
    assert "exception" not in str(after)


def test_adks_empty_request_is_passed_over_for_the_tools_arguments() -> None:
    said = {"gcp.vertex.agent.llm_request": "{}", "gcp.vertex.agent.tool_call_args": '{"q":1}', "gcp.vertex.agent.tool_response": "r"}

    assert (shown(said).input, shown(said).output) == ('{"q":1}', "r")


def test_vercels_answer_is_put_together() -> None:
    after = shown({"ai.prompt": "p", "ai.response.text": "t", "ai.response.toolCalls": "[]"}, scope="ai")

    assert (after.input, json.loads(str(after.output))) == ("p", {"role": "assistant", "content": "t", "tool_calls": "[]"})


def test_input_tokens_are_taken_to_include_the_cached_ones_and_output_the_reasoning() -> None:
    after = shown(
        {
            "gen_ai.usage.input_tokens": 2082,
            "gen_ai.usage.cache_read.input_tokens": 1152,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.reasoning.output_tokens": 20,
            "gen_ai.usage.details.odd": 3,
            "gen_ai.usage.cost": 0.5,
        }
    )

    assert after.usage == {"input": 930, "output": 30, "input_cached_tokens": 1152, "output_reasoning_tokens": 20, "odd": 3}
    assert after.tokens == 2135


def test_the_model_usage_and_cost_of_invoke_agent_are_skipped_even_explicit_ones() -> None:
    after = shown({"gen_ai.operation.name": "invoke_agent", "langfuse.observation.model.name": "gpt-4o", USAGE: '{"input":1}', COST: '{"total":1}'})

    assert (after.model, after.usage, after.total_cost, after.is_tokenised) == (None, {}, None, False)


@pytest.mark.parametrize(
    ("said", "usage"),
    [('{"input": 3, "half": 1.5, "minus": -1, "text": "7"}', {"input": 3, "text": 7}), ("[1]", {}), ("{broken", {"input": 9}), ("", {"input": 9})],
)
def test_explicit_usage_keeps_whole_numbers_and_hides_the_rest_unless_it_is_no_json(said: str, usage: dict[str, int]) -> None:
    assert shown({USAGE: said, "gen_ai.usage.input_tokens": 9}).usage == usage


def test_openais_usage_objects_are_translated_and_their_details_taken_out_of_the_sums() -> None:
    said = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": None}}

    assert shown({USAGE: json.dumps(said)}).usage == {"input": 5, "output": 5, "total": 14, "input_cached_tokens": 4}
    assert shown({USAGE: json.dumps(said | {"more": 1})}).usage == {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "more": 1}


@pytest.mark.parametrize(
    ("said", "total"),
    [
        ('{"total": 2.0, "input": 1.0}', 2.0),
        ('{"input": 1.0, "output": 0.5}', 1.5),
        ('{"input": 1.0, "input_cached_tokens": 0.5}', None),
        ("{}", 3.0),
    ],
)
def test_a_provided_cost_stops_pricing_and_counts_with_a_total_only(said: str, total: float | None) -> None:
    assert shown({COST: said, "gen_ai.request.model": "gpt-4o", USAGE: '{"input":1,"output":1,"unpriced":5}'}).total_cost == total


def test_a_known_model_without_tokens_and_cost_is_tokenised() -> None:
    said = {"gen_ai.request.model": "gpt-4o"}

    assert shown(said).is_tokenised
    assert not shown({**said, USAGE: '{"input":0}'}).is_tokenised
    assert not shown({**said, COST: '{"total":0}'}).is_tokenised
    assert shown({**said, USAGE: "{}"}).is_tokenised
    assert not shown({"gen_ai.request.model": "unheard-of"}).is_tokenised


@pytest.mark.parametrize(("said", "shown_as"), [("warn", "WARNING"), ("FATAL", "ERROR"), ("info", "DEFAULT"), ("odd", "DEFAULT")])
def test_levels_of_other_vocabularies_are_understood(said: str, shown_as: str) -> None:
    assert shown({"langfuse.observation.level": said}).level == shown_as


@pytest.mark.parametrize(
    ("said", "tags"),
    [(["a", "b"], ["a", "b"]), ('["a,b"]', ["a,b"]), ("a, b", ["a", "b"]), ("a", ["a"]), (3, [])],
    ids=["list", "json", "comma", "one", "no text"],
)
def test_tags_are_read_from_lists_json_and_commas(said: str | int | list[str], tags: list[str]) -> None:
    assert shown({"langfuse.trace.tags": said}).tags == tags


@pytest.mark.parametrize(
    ("said", "name"), [("langfuse-prod", "prod"), ("Prod EU", "default"), ("a" * 60, "a" * 40), ("langfuselangfuse_x", "x"), (7, "default")]
)
def test_environments_follow_the_servers_rules(said: str | int, name: str) -> None:
    assert shown({"langfuse.environment": said}).environment == name
    assert shown({}, around={"deployment.environment": said}).environment == name


def test_the_resources_own_environment_beats_the_spans_deployment() -> None:
    assert shown({"deployment.environment": "span"}, around={"langfuse.environment": "resource"}).environment == "resource"


def test_the_session_of_a_conversation_counts_after_an_explicit_one() -> None:
    assert shown({"gen_ai.conversation.id": "c"}).session_id == "c"
    assert shown({"gen_ai.conversation.id": "c", "session.id": "s"}).session_id == "s"
    assert shown({"user.id": 7}).user_id == "7"


def test_metadata_that_is_no_object_is_dropped_and_spans_of_the_sdk_have_no_attributes() -> None:
    after = shown({"langfuse.observation.metadata": '"text"', "langfuse.observation.metadata.a.b": "1", "acme": "x"}, scope="langfuse-sdk")

    assert after.metadata == {"resourceAttributes": {}, "a.b": "1"}


def test_an_observation_is_named_after_its_tool_or_message() -> None:
    assert shown({"gen_ai.tool.name": "search"}).name == "search"
    assert shown({"logfire.msg": "chat gpt"}).name == "chat gpt"
    assert shown({"ai.operationId": "ai.embed", "ai.telemetry.functionId": "f"}).name == "f:ai.embed"
    assert shown({}).name == "chat"

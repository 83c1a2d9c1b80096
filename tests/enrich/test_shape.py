"""The small rules of shaping: type, names, identity, errors, times; and that nothing said on purpose is overwritten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidecar.enrich.edit import encode_all
from sidecar.enrich.facts import Error, ErrorKind, Facts, Kind, Usage
from sidecar.enrich.shape import Extra
from tests.enrich.shaping import Price, call, content, shaped
from tests.fakes.langfuse_mapping import plain_attributes
from tests.spans import START_NS, Attributes, event, span

FAILED = Error(ErrorKind.TIMEOUT, "TimeoutError", "took too long")


@pytest.mark.parametrize("kind", list(Kind))
def test_the_type_of_every_kind_is_shown(kind: Kind) -> None:
    after = shaped(span(attributes={"traceloop.span.kind": "x"}), Facts("x", kind=kind)).after

    assert after.type == ("SPAN" if kind is Kind.INFRA else kind.value.upper())


def test_an_infrastructure_span_with_an_attribute_called_model_is_no_generation() -> None:
    result = shaped(span(attributes={"model": "T-800"}), Facts("infra", kind=Kind.INFRA))

    assert (result.before.type, result.after.type) == ("GENERATION", "SPAN")


def test_an_exception_event_on_a_span_without_an_error_status_is_shown_as_an_error_with_its_text() -> None:
    result = shaped(span(events=[event("exception", {"exception.message": "took too long"})]), call(error=FAILED))

    assert (result.before.level, result.before.status_message) == ("DEFAULT", "")
    assert (result.after.level, result.after.status_message) == ("ERROR", "TimeoutError: took too long")


def test_an_error_status_without_a_message_gets_the_text_of_the_error() -> None:
    result = shaped(span(error=""), call(error=FAILED))

    assert (result.after.level, result.after.status_message) == ("ERROR", "TimeoutError: took too long")
    assert "langfuse.observation.level" not in result.attributes


def test_the_type_of_an_error_is_not_said_twice() -> None:
    error = Error(ErrorKind.OTHER, "ValueError", "ValueError: no")

    assert shaped(span(error=""), call(error=error)).after.status_message == "ValueError: no"


def test_a_status_message_that_is_there_is_not_replaced() -> None:
    assert shaped(span(error="mine"), call(error=FAILED)).after.status_message == "mine"


def test_an_explicit_level_and_status_message_are_not_overwritten() -> None:
    said = {"langfuse.observation.level": "WARNING", "langfuse.observation.status_message": "mine"}

    after = shaped(span(attributes=said, events=[event("exception")]), call(error=FAILED)).after

    assert (after.level, after.status_message) == ("WARNING", "mine")


def test_a_failure_beside_a_status_that_says_ok_is_an_error_if_the_facts_say_so() -> None:
    ok = span(events=[event("exception", {"exception.message": "took too long"})])
    ok.status.code = Status.STATUS_CODE_OK

    assert (shaped(ok, call(error=FAILED)).after.level, shaped(ok, call()).after.level) == ("ERROR", "DEFAULT")


@pytest.mark.parametrize("said", ["langfuse.user.id", "user.id"])
def test_an_explicit_user_is_not_overwritten(said: str) -> None:
    extra = Extra(attributes=(encode_all({"user.id": "from-context"}),))

    assert shaped(span(attributes={said: "mine"}), Facts("x", user_id="other"), extra).after.user_id == "mine"


def test_user_session_name_and_tags_of_the_facts_are_shown() -> None:
    after = shaped(span(), Facts("x", user_id="u", session_id="s", trace_name="n", tags=("a", "b,c"))).after

    assert (after.user_id, after.session_id, after.trace_name, after.tags) == ("u", "s", "n", ["a", "b,c"])


def test_a_session_that_the_server_finds_under_its_convention_is_not_repeated() -> None:
    result = shaped(span(attributes={"gen_ai.conversation.id": "s"}), Facts("x", session_id="s"))

    assert result.after.session_id == "s"
    assert "session.id" not in result.attributes


def test_the_session_of_the_trace_wins_over_a_spans_conversation() -> None:
    result = shaped(
        span(attributes={"gen_ai.conversation.id": "c"}), Facts("x", session_id="c"), Extra(attributes=(encode_all({"session.id": "s"}),))
    )

    assert result.after.session_id == "s"


def test_what_others_know_is_added_unless_the_span_says_it() -> None:
    extra = Extra(
        attributes=(
            encode_all({"langfuse.observation.metadata.agent_name": "pricing"}),
            encode_all({"langfuse.trace.tags": '["a"]', "langfuse.environment": "prod"}),
        )
    )

    after = shaped(span(attributes={"langfuse.tags": "mine", "deployment.environment": "test"}), None, extra).after

    assert (after.metadata["agent_name"], after.tags, after.environment) == ("pricing", ["mine"], "test")


def test_a_tool_of_another_convention_is_shown_under_its_name() -> None:
    after = shaped(span(name="haystack.tool.invoke"), Facts("haystack", kind=Kind.TOOL, tool_name="search")).after

    assert after.name == "search"


def test_a_tool_that_is_shown_under_its_name_already_gets_nothing() -> None:
    assert "gen_ai.tool.name" not in shaped(span(name="search"), Facts("x", kind=Kind.TOOL, tool_name="search")).attributes


def test_a_call_that_asks_for_tools_is_not_named_after_them() -> None:
    result = shaped(span(name="chat gpt-4o", attributes={"gen_ai.tool.name": "search,lookup"}), call())

    assert (result.before.name, result.after.name) == ("search,lookup", "chat gpt-4o")
    assert result.after.metadata["gen_ai.tool.name"] == "search,lookup"


def test_the_first_token_is_a_full_iso_time() -> None:
    assert shaped(span(start_ns=START_NS), call(time_to_first_token_s=0.25)).after.completion_start == "2026-11-18T11:06:40.250Z"


@pytest.mark.parametrize("wait_s", [-1.0, float("nan"), float("inf"), 1e9])
def test_a_first_token_at_an_impossible_time_is_not_sent(wait_s: float) -> None:
    assert shaped(span(), call(time_to_first_token_s=wait_s)).after.completion_start is None


def test_structured_values_become_json_strings() -> None:
    said: Attributes = {
        "gen_ai.input.messages": [{"role": "user", "parts": [{"content": "hi"}]}],
        "acme.map": {"a": 1},
        "acme.none": [],
        "acme.list": ["a", "b"],
    }

    result = shaped(span(attributes=said))

    assert "kvlistValue" in str(result.before.input)
    assert result.after.input == '[{"role":"user","parts":[{"content":"hi"}]}]'
    assert (result.attributes["acme.map"], result.attributes["acme.none"], result.attributes["acme.list"]) == ('{"a":1}', "[]", ["a", "b"])


def test_an_empty_value_which_the_server_shows_as_braces_is_left_out() -> None:
    result = shaped(span(attributes={"acme.empty": None}))

    assert "acme.empty" not in result.attributes


def test_the_keys_that_changed_are_returned() -> None:
    facts = call(input=content("asked", "acme.in"))

    result = shaped(span(attributes={"acme.in": "asked", "langfuse.version": 3}), facts).shaped

    assert "acme.in" in result.removed
    assert {"langfuse.observation.type", "langfuse.observation.input", "langfuse.version"} <= set(result.added)
    assert "langfuse.version" not in result.removed


def test_shaping_twice_changes_nothing_more() -> None:
    facts = call(input=content("asked", "acme.in"), error=FAILED)
    once = shaped(
        span(attributes={"acme.in": "asked", "gen_ai.tool.name": "x"}, kind=Span.SPAN_KIND_CLIENT), facts, Extra(Price(0.5, {"input": 0.5}))
    )

    twice = shaped(once.span, facts, Extra(Price(0.5, {"input": 0.5})))

    assert plain_attributes(twice.span.attributes) == once.attributes


NAMES = st.sampled_from(
    [
        *(f"langfuse.{name}" for name in ("version", "environment", "metadata", "trace.name", "trace.input", "trace.tags", "user.id", "prompt.name")),
        *(
            f"langfuse.observation.{name}"
            for name in ("type", "input", "level", "cost_details", "usage_details", "metadata", "metadata.x", "prompt.version")
        ),
        *(
            "model",
            "prompt",
            "gen_ai.tool.name",
            "gen_ai.operation.name",
            "gen_ai.usage.cost",
            "gen_ai.system_instructions",
            "deployment.environment",
        ),
    ]
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["{}", '{"a":1}', '{"input":1,"x":2}', "[", '"s"', "null", "2026-11-20"]),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(
    said=st.dictionaries(NAMES, VALUES, max_size=8),
    kind=st.sampled_from(Kind),
    is_call=st.booleans(),
    scope=st.sampled_from(["langfuse-sdk", "ai", "acme"]),
    version=st.sampled_from(["5.0.4", "3.2", ""]),
)
def test_whatever_a_span_says_shaping_raises_nothing_and_the_server_can_read_the_result(
    said: Attributes, kind: Kind, is_call: bool, scope: str, version: str
) -> None:
    facts = Facts("x", kind=kind, is_call=is_call, usage=Usage(input=3), input=content("in", "prompt"), error=FAILED)

    result = shaped(span(attributes=said), facts, scope=scope, version=version)

    assert 'Value":' not in str(result.attributes)
    assert isinstance(result.after.version, str | None)
    assert result.after.type in {each.value.upper() for each in Kind}

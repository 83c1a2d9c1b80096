"""What was said to Langfuse on purpose is mended where the server would misread it, and never changed."""

from __future__ import annotations

import pytest

from sidecar.enrich.edit import encode_all
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.sdk_metadata import environment_name, resource_attributes
from sidecar.enrich.shape import Extra
from sidecar.wire import shallow_pb2
from tests.enrich.shaping import Result, call, content, shaped
from tests.spans import SPAN_ID, Attributes, key_values, span

META, TRACE_META = "langfuse.observation.metadata", "langfuse.trace.metadata"
INPUT, OUTPUT = "langfuse.observation.input", "langfuse.observation.output"


def sdk(attributes: Attributes, version: str, language: str = "python", parent: bytes = b"") -> Result:
    facts = Facts("langfuse_sdk", kind=Kind.SPAN)
    return shaped(
        span(attributes=attributes, parent=parent), facts, scope="langfuse-sdk", version=version, resource={"telemetry.sdk.language": language}
    )


def test_sdk_5s_json_encoded_strings_are_decoded() -> None:
    result = sdk({f"{META}.tenant": '"acme"', f"{TRACE_META}.plan": '"pro \\"x\\""'}, "5.0.4")

    assert result.before.metadata["tenant"] == '"acme"'
    assert (result.after.metadata["tenant"], result.after.metadata["plan"]) == ("acme", 'pro "x"')


def test_other_json_of_sdk_5_stays_because_it_is_shown_alike() -> None:
    said = {f"{META}.n": "42", f"{META}.o": '{"a":1}', f"{META}.broken": '"open', f"{META}.flag": "true"}

    result = sdk(said, "5.0.4")

    assert {key: result.attributes[key] for key in said} == said


@pytest.mark.parametrize("version", ["4.14.3", "3.2.0", "", "next"])
def test_metadata_of_an_sdk_before_5_is_not_decoded(version: str) -> None:
    assert sdk({f"{META}.tenant": '"acme"'}, version).after.metadata["tenant"] == '"acme"'


def test_metadata_of_the_javascript_sdk_5_is_not_decoded_because_it_does_not_encode() -> None:
    assert sdk({f"{META}.tenant": '"acme"'}, "5.11.1", "nodejs").after.metadata["tenant"] == '"acme"'


def test_metadata_of_another_scope_is_not_decoded() -> None:
    result = shaped(span(attributes={f"{META}.tenant": '"acme"'}), scope="acme", version="5.0")

    assert result.after.metadata["tenant"] == '"acme"'


@pytest.mark.parametrize(("said", "shown"), [("plain", "plain"), ("[broken", "[broken"), (42, "42"), (True, "true")])
def test_metadata_that_is_no_object_is_dropped_by_the_server_and_becomes_an_entry(said: str | int, shown: str) -> None:
    result = shaped(span(attributes={META: said}))

    assert "value" not in result.before.metadata
    assert result.after.metadata["value"] == shown


def test_sdk_5s_metadata_that_is_a_string_becomes_an_entry_without_its_quotes() -> None:
    assert sdk({META: '"plain"'}, "5.0.4").after.metadata["value"] == "plain"


def test_metadata_that_is_an_object_stays() -> None:
    assert shaped(span(attributes={META: '{"a": "b"}'})).after.metadata["a"] == "b"


def test_the_traces_input_and_output_of_old_sdks_move_to_the_root() -> None:
    result = sdk({"langfuse.trace.input": "asked", "langfuse.trace.output": "answered"}, "4.14.3")

    assert (result.before.input, result.before.output) == (None, None)
    assert (result.after.input, result.after.output) == ("asked", "answered")
    assert not any(key.startswith("langfuse.trace.") for key in result.attributes)


def test_the_roots_own_input_wins_over_the_traces_which_is_kept_as_metadata() -> None:
    result = sdk({INPUT: "mine", "langfuse.trace.input": "asked", "langfuse.trace.output": "answered"}, "4.14.3")

    assert (result.after.input, result.after.output) == ("mine", "answered")
    assert result.after.metadata["trace_input"] == "asked"


def test_the_traces_input_that_says_the_same_as_the_roots_is_not_kept_twice() -> None:
    result = sdk({INPUT: "asked", "langfuse.trace.input": "asked"}, "4.14.3")

    assert "trace_input" not in result.after.metadata


def test_the_traces_input_on_a_child_is_kept_as_metadata() -> None:
    result = sdk({"langfuse.trace.input": "asked"}, "4.14.3", parent=SPAN_ID)

    assert result.after.input is None
    assert result.after.metadata["trace_input"] == "asked"


def test_the_traces_input_that_moved_counts_as_explicit() -> None:
    facts = call(input=content("other", "acme.in"), output=content("answered", "acme.out"))

    result = shaped(span(attributes={"langfuse.trace.input": "asked", "acme.in": "other", "acme.out": "answered"}), facts)

    assert (result.after.input, result.after.output) == ("asked", "answered")


def test_what_is_langfuses_own_business_is_untouched() -> None:
    said: Attributes = {"langfuse.internal.is_app_root": True, "langfuse.internal.as_root": "true", "langfuse.internal.x": '"quoted"'}

    result = sdk(said, "5.0.4")

    assert {key: result.attributes[key] for key in said} == said


@pytest.mark.parametrize("said", ["GENERATION", "Generation"])
def test_a_type_in_capitals_which_the_server_does_not_know_is_lowered(said: str) -> None:
    result = shaped(span(attributes={"langfuse.observation.type": said}))

    assert (result.before.type, result.after.type) == ("SPAN", "GENERATION")


@pytest.mark.parametrize("said", ["llm", "infra", 7])
def test_a_type_that_does_not_exist_leaves_it_to_the_facts(said: str | int) -> None:
    assert shaped(span(attributes={"langfuse.observation.type": said}), Facts("x", kind=Kind.AGENT)).after.type == "AGENT"


def test_an_explicit_type_is_not_overwritten() -> None:
    assert shaped(span(attributes={"langfuse.observation.type": "guardrail"}), call()).after.type == "GUARDRAIL"


def test_a_prompt_version_in_digits_becomes_a_number() -> None:
    result = shaped(span(attributes={"langfuse.observation.prompt.name": "support", "langfuse.observation.prompt.version": "3"}), call())

    assert result.after.prompt == ("support", 3)


@pytest.mark.parametrize(
    "said",
    [
        {"langfuse.observation.prompt.name": "support"},
        {"langfuse.observation.prompt.name": "support", "langfuse.observation.prompt.version": "latest"},
        {"langfuse.prompt.name": "support", "langfuse.prompt.version": 1.5},
    ],
    ids=["no version", "a label", "a fraction"],
)
def test_a_prompt_without_a_whole_number_as_version_moves_to_metadata_because_it_would_drop_the_observation(said: Attributes) -> None:
    result = shaped(span(attributes=said), call())

    assert result.after.prompt is None
    assert result.after.metadata["prompt_name"] == "support"


def test_the_prompt_of_the_facts_is_linked_only_with_name_and_version_on_a_generation() -> None:
    assert shaped(span(), call(prompt_name="support", prompt_version=3)).after.prompt == ("support", 3)
    assert shaped(span(), call(prompt_name="support")).after.prompt is None
    assert "langfuse.observation.prompt.name" not in shaped(span(), Facts("x", kind=Kind.CHAIN, prompt_name="a", prompt_version=1)).attributes


@pytest.mark.parametrize("said", [3, 1.5, True])
def test_a_version_that_is_no_string_drops_an_observation_and_becomes_one(said: float) -> None:
    assert shaped(span(attributes={"langfuse.version": said})).after.version == str(said).lower()


def test_a_trace_name_over_1000_characters_drops_a_trace_and_is_cut() -> None:
    assert shaped(span(attributes={"langfuse.trace.name": "x" * 1001})).after.trace_name == "x" * 1000
    assert shaped(span(), Facts("x", trace_name="y" * 2000)).after.trace_name == "y" * 1000


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('"2026-11-20T09:30:00.250Z"', "2026-11-20T09:30:00.250Z"),
        ("2026-11-20T09:30:00.250+02:00", "2026-11-20T09:30:00.250+02:00"),
        ("2026-11-20 09:30:00", "2026-11-20T09:30:00.000Z"),
        ("2026-11-20T09:30:00", "2026-11-20T09:30:00.000Z"),
        ("soon", None),
    ],
)
def test_a_completion_start_is_full_iso_with_an_offset_or_not_sent(said: str, shown: str | None) -> None:
    result = shaped(span(attributes={"langfuse.observation.completion_start_time": said}), call())

    assert result.after.completion_start == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Prod EU", "prod-eu"),
        ("production", "production"),
        ("PROD", "prod"),
        ("langfuse-prod", "prod"),
        ("x" * 60, "x" * 40),
        ("a/b" * 30, ("a-b" * 30)[:40]),
    ],
)
def test_an_environment_that_the_server_would_replace_by_default_keeps_its_meaning(said: str, shown: str) -> None:
    assert shaped(span(attributes={"langfuse.environment": said})).after.environment == shown
    assert shaped(span(attributes={"deployment.environment.name": said})).after.environment == shown


def test_an_environment_that_the_server_reads_well_is_not_touched() -> None:
    assert shaped(span(attributes={"langfuse.environment": "Langfuse-Prod"})).attributes["langfuse.environment"] == "Langfuse-Prod"


@pytest.mark.parametrize("name", ["!!!", "langfuse", ""])
def test_an_environment_of_which_nothing_would_be_left_is_default(name: str) -> None:
    assert environment_name(name) is None


def test_what_the_server_would_misread_on_a_resource_is_said_on_each_of_its_spans() -> None:
    around: Attributes = {"deployment.environment": "Prod EU", "service.version": 7}
    resource = shallow_pb2.Resource(attributes=[each.SerializeToString() for each in key_values(around)])

    said = resource_attributes(resource)
    result = shaped(span(), None, Extra(attributes=(encode_all(said),)), resource=around)

    assert said == {"langfuse.environment": "prod-eu", "langfuse.version": "7"}
    assert (result.before.environment, result.after.environment) == ("default", "prod-eu")
    assert result.after.version == "7"


def test_a_resource_that_the_server_reads_well_adds_nothing() -> None:
    around: Attributes = {"langfuse.environment": "prod", "service.version": "1.4.2"}

    assert resource_attributes(shallow_pb2.Resource(attributes=[each.SerializeToString() for each in key_values(around)])) == {}


def test_model_parameters_under_the_name_that_nobody_reads_are_renamed() -> None:
    result = shaped(span(attributes={"langfuse.observation.model_parameters": '{"temperature":1}'}), call())

    assert result.attributes["langfuse.observation.model.parameters"] == '{"temperature":1}'

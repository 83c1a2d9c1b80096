"""Input and output: both or neither, moved and not copied."""

from __future__ import annotations

from sidecar.enrich.facts import Facts, Kind
from tests.enrich.shaping import call, content, shaped
from tests.spans import event, span

INPUT, OUTPUT = "langfuse.observation.input", "langfuse.observation.output"


def test_content_that_the_server_does_not_find_is_promoted_and_its_carriers_are_removed() -> None:
    said = {"haystack.component.input": "asked", "haystack.component.output": "answered", "haystack.component.name": "llm"}
    facts = call(input=content("asked", "haystack.component.input"), output=content("answered", "haystack.component.output"))

    result = shaped(span(attributes=said), facts)

    assert (result.before.input, result.before.output) == (None, None)
    assert (result.after.input, result.after.output) == ("asked", "answered")
    assert {"haystack.component.input", "haystack.component.output"}.isdisjoint(result.attributes)
    assert result.attributes["haystack.component.name"] == "llm"
    assert set(result.shaped.removed) == {"haystack.component.input", "haystack.component.output"}


def test_content_that_the_server_shows_right_stays_where_it_is() -> None:
    said = {"gen_ai.input.messages": "[]", "gen_ai.output.messages": "[1]"}
    facts = call(input=content("[]", "gen_ai.input.messages", native=True), output=content("[1]", "gen_ai.output.messages", native=True))

    result = shaped(span(attributes=said), facts)

    assert {INPUT, OUTPUT}.isdisjoint(result.attributes)
    assert (result.after.input, result.after.output) == ("[]", "[1]")


def test_both_sides_are_promoted_even_if_only_one_falls_short_because_one_alone_hides_the_other() -> None:
    said = {"gen_ai.input.messages": "[1]", "crewai.crew.result": "done"}
    facts = Facts("x", input=content("[1]", "gen_ai.input.messages", native=True), output=content("done", "crewai.crew.result"))

    result = shaped(span(attributes=said), facts)

    assert result.before.output is None
    assert (result.after.input, result.after.output) == ("[1]", "done")
    assert said.keys().isdisjoint(result.attributes)


def test_explicit_content_is_not_overwritten_and_the_missing_side_is_added() -> None:
    said = {OUTPUT: "mine", "gen_ai.input.messages": "[1]", "gen_ai.output.messages": "[2]"}
    facts = call(input=content("[1]", "gen_ai.input.messages"), output=content("[2]", "gen_ai.output.messages"))

    result = shaped(span(attributes=said), facts)

    assert (result.before.input, result.before.output) == (None, "mine")
    assert (result.after.input, result.after.output) == ("[1]", "mine")


def test_content_of_events_is_moved_too() -> None:
    events = [event("acme.prompt", {"text": "asked"}), event("exception", {"exception.message": "late"})]

    result = shaped(span(events=events), call(input=content("asked", "event:acme.prompt")))

    assert result.after.input == "asked"
    assert [each.name for each in result.span.events] == ["exception"]


def test_one_attribute_that_carries_both_sides_is_removed_once() -> None:
    facts = call(input=content("a", "message"), output=content("b", "message"))

    result = shaped(span(attributes={"message": '{"in":"a","out":"b"}'}), facts)

    assert (result.after.input, result.after.output) == ("a", "b")
    assert "message" not in result.attributes


def test_many_carriers_of_flattened_messages_are_removed_in_one_pass() -> None:
    said = {f"llm.input_messages.{n}.message.content": f"turn {n}" for n in range(200)}
    facts = call(input=content("all turns", *said), output=content("x", "acme.out"))

    result = shaped(span(attributes={**said, "kept": "yes"}), facts)

    assert said.keys().isdisjoint(result.attributes)
    assert result.attributes["kept"] == "yes"


def test_attributes_of_general_names_that_the_server_takes_for_content_and_throws_away_are_kept_as_metadata() -> None:
    said = {"prompt": "support-v2", "acme.in": "asked"}

    result = shaped(span(attributes=said), call(input=content("asked", "acme.in")))

    assert result.before.input == "support-v2"
    assert result.after.input == "asked"
    assert result.after.metadata["prompt"] == "support-v2"


def test_system_instructions_without_messages_which_the_server_loses_are_kept_as_metadata() -> None:
    said = {"gen_ai.system_instructions": "Be kind."}

    result = shaped(span(attributes=said), Facts("semconv", kind=Kind.AGENT))

    assert result.before.input is None
    assert result.after.metadata["gen_ai.system_instructions"] == "Be kind."


def test_system_instructions_beside_messages_stay_for_the_server_to_put_in_front() -> None:
    said = {"gen_ai.system_instructions": "Be kind.", "gen_ai.input.messages": '[{"role":"user","content":"hi"}]'}
    facts = call(input=content("x", "gen_ai.input.messages", native=True))

    assert "Be kind." in str(shaped(span(attributes=said), facts).after.input)


def test_a_text_with_half_a_surrogate_pair_can_still_be_sent() -> None:
    assert shaped(span(), call(input=content("broken \ud83d emoji", "acme.in"))).after.input == "broken ? emoji"


def test_a_carrier_with_a_long_key_is_removed() -> None:
    key = "acme." + "x" * 300

    result = shaped(span(attributes={key: "asked"}), call(input=content("asked", key)))

    assert key not in result.attributes

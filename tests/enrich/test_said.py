"""What a masked span says for others, and how tags are read and written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidecar.enrich.said import (
    ENVIRONMENT,
    MAX_COPIED_BYTES,
    MAX_METADATA_BYTES,
    NAME,
    NOTHING_SAID,
    RELEASE,
    SESSION,
    USER,
    agent_places,
    encode_tags,
    key_of,
    read_said,
    tags_of,
)
from sidecar.trace.live import Said
from sidecar.wire.attributes import decode, encode_int, encode_string, encode_string_array
from sidecar.wire.shallow_pb2 import Span
from tests.fakes.langfuse_mapping import show
from tests.spans import Attributes, key_values, span

AGENT = "langfuse.observation.metadata.agent_"


def of(attributes: dict[str, str]) -> Said:
    return read_said(Span(attributes=[encode_string(key, text) for key, text in attributes.items()]))


def context(attributes: dict[str, str]) -> dict[str, tuple[str, object]]:
    return {subject: decode(raw) for subject, raw in of(attributes).context.items()}


def test_a_span_that_says_nothing_for_others_is_one_and_the_same_value() -> None:
    assert of({"gen_ai.request.model": "gpt-4o", "langfuse.observation.input": "hi", "user.name": "Anna"}) is NOTHING_SAID


def test_each_subject_is_read_as_it_stands_on_the_span() -> None:
    assert context({"user.id": "u", "session.id": "s", "langfuse.trace.name": "n", "langfuse.release": "r", "deployment.environment": "e"}) == {
        USER: ("user.id", "u"),
        SESSION: ("session.id", "s"),
        NAME: ("langfuse.trace.name", "n"),
        RELEASE: ("langfuse.release", "r"),
        ENVIRONMENT: ("deployment.environment", "e"),
    }


@pytest.mark.parametrize(
    ("subject", "keys"),
    [
        (USER, ("langfuse.user.id", "user.id")),
        (SESSION, ("langfuse.session.id", "session.id")),
        (ENVIRONMENT, ("langfuse.environment", "deployment.environment.name", "deployment.environment")),
    ],
)
def test_of_several_keys_the_one_that_the_server_reads_first_counts_in_any_order(subject: str, keys: tuple[str, ...]) -> None:
    attributes = {key: str(rank) for rank, key in enumerate(keys)}

    for said in (attributes, dict(reversed(attributes.items()))):
        assert context(said) == {subject: (keys[0], "0")}
    server = show(span(attributes=attributes), InstrumentationScope(), Resource())
    assert {USER: server.user_id, SESSION: server.session_id, ENVIRONMENT: server.environment}[subject] == "0"


def test_an_empty_word_is_none() -> None:
    assert of({"user.id": "", "session.id": "", "gen_ai.conversation.id": ""}) is NOTHING_SAID
    assert context({"langfuse.user.id": "", "user.id": "u"}) == {USER: ("user.id", "u")}


def test_a_number_is_a_word_too() -> None:
    said = read_said(Span(attributes=[encode_int("user.id", 7)]))

    assert decode(said.context[USER]) == ("user.id", 7)


def test_a_conversation_is_an_implied_session_and_is_said_as_one() -> None:
    said = of({"gen_ai.conversation.id": "thread-7"})

    assert said.context == {} and said.weak_session is not None and decode(said.weak_session) == ("session.id", "thread-7")


def test_trace_metadata_is_said_key_by_key() -> None:
    assert context({"langfuse.trace.metadata.tier": "gold", "langfuse.trace.metadata.a.b": "1"}) == {
        "langfuse.trace.metadata.tier": ("langfuse.trace.metadata.tier", "gold"),
        "langfuse.trace.metadata.a.b": ("langfuse.trace.metadata.a.b", "1"),
    }


def test_an_agent_is_all_its_metadata_but_a_calls_drift() -> None:
    said = of({f"{AGENT}name": "pricing", f"{AGENT}team": "retail", f"{AGENT}model_drift": "gpt-9", "langfuse.observation.metadata.x": "y"})

    assert [decode(raw) for raw in said.agent] == [(f"{AGENT}name", "pricing"), (f"{AGENT}team", "retail")]


def test_what_is_too_long_to_be_copied_to_every_span_is_not_said() -> None:
    long = "x" * MAX_COPIED_BYTES
    assert of({"user.id": long, f"{AGENT}name": long, "langfuse.trace.metadata.k": long, "gen_ai.conversation.id": long}) is NOTHING_SAID
    assert of({"user.id": long[:-100]}) is not NOTHING_SAID


def test_metadata_is_said_up_to_a_bound_and_users_beyond_it() -> None:
    crowd = {f"langfuse.trace.metadata.{number}": "m" * 100 for number in range(1000)} | {f"{AGENT}{number}": "a" * 100 for number in range(1000)}
    said = of({**crowd, "user.id": "u"})

    assert decode(said.context[USER]) == ("user.id", "u")
    assert len(said.context) + len(said.agent) > 50 and sum(map(len, [*said.context.values(), *said.agent])) <= MAX_METADATA_BYTES + 20


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (["a", 1, True], ("a", "1", "True")),
        ('["a", "b,c", 1]', ("a", "b,c", "1")),
        (' ["a"]', ("a",)),
        ("a, b ,,c", ("a", "b", "c")),
        ("[not json", ("[not json",)),
        ('["\ud800"]', ('["\ud800"]',)),
        ("", ()),
        (7, ()),
        (None, ()),
    ],
)
def test_tags_are_read_as_the_server_reads_them(value: object, tags: tuple[str, ...]) -> None:
    assert tags_of(value) == tags


@pytest.mark.parametrize("key", ["langfuse.trace.tags", "langfuse.tags"])
def test_tags_are_said_whatever_their_form(key: str) -> None:
    assert read_said(Span(attributes=[encode_string_array(key, ["a", "b"])])).tags == ("a", "b")
    assert of({key: '["a","b"]'}).tags == ("a", "b")
    assert of({key: "a,b"}).tags == ("a", "b")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), min_size=1, max_size=5))
def test_tags_that_were_written_are_read_again_by_us_and_by_the_server(tags: list[str]) -> None:
    raw = encode_tags(tuple(tags))
    key, value = decode(raw)

    assert key == "langfuse.trace.tags" and tags_of(value) == tuple(tags)
    assert show(span(attributes={key: str(value)}), InstrumentationScope(), Resource()).tags == tags
    assert json.loads(str(value)) == tags


SPEAKING = {"x": "1", "user.id": "u", "y": "2", f"{AGENT}name": "pricing", f"{AGENT}team": "retail"}
BY, AT = (b"user.id", AGENT.encode()), ((1, b"user.id\x12"), *agent_places(2))


def test_attributes_are_read_where_they_stood() -> None:
    raws = [encode_string(key, text) for key, text in SPEAKING.items()]
    said = read_said(Span(attributes=raws), BY, AT)

    assert said == read_said(Span(attributes=raws)) and said.context == {USER: raws[1]} and said.agent == (raws[3], raws[4])
    assert read_said(Span(attributes=[*raws[:2], encode_string("session.id", "s"), *raws[3:]]), BY, AT).context == {USER: raws[1]}, (
        "no other is looked at"
    )


@given(st.permutations(range(7)), st.integers(0, 7))
def test_attributes_that_moved_or_are_gone_are_looked_for(order: list[int], count: int) -> None:
    raws = [encode_string(key, text) for key, text in {**SPEAKING, "user.idea": "no", "z": "3"}.items()]
    moved = Span(attributes=[raws[at] for at in order[:count]])

    assert read_said(moved, BY, AT) == read_said(moved)


def test_a_conversation_is_a_session_where_none_is_said_on_purpose() -> None:
    implied = encode_string("session.id", "c")

    assert of({"gen_ai.conversation.id": "c", "user.id": "u"}).weak_session == implied
    assert of({"gen_ai.conversation.id": "c", "session.id": "s"}).weak_session is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_the_key_of_an_attribute_is_read_without_its_value(key: str) -> None:
    (official,) = key_values({key: "value"})

    assert key_of(encode_string(key, "value")) == key.encode()
    if key:
        assert key_of(official.SerializeToString()) == key.encode()
    else:
        assert official.SerializeToString()[0] != 0x0A and key_of(official.SerializeToString()) == b"", "proto3 leaves an empty key out"


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "user.id",
                "langfuse.user.id",
                "session.id",
                "langfuse.trace.tags",
                "langfuse.trace.metadata.x",
                f"{AGENT}name",
                "gen_ai.conversation.id",
            ]
        ),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(),
            st.text(st.characters(exclude_categories=["Cs"])),
            st.binary(),
            st.lists(st.text("ab")),
        ),
    )
)
def test_no_value_of_any_type_raises(attributes: Attributes) -> None:
    said = read_said(Span.FromString(span(attributes=attributes).SerializeToString()))

    assert set(said.context) <= {USER, SESSION, "langfuse.trace.metadata.x"}

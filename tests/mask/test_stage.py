"""The stage: every place of a request, fail closed, turns, policies by span, hot reload, the corpus."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from sidecar.mask.engine import Engine, Scan
from sidecar.mask.stage import TURN_COST, MaskingStage
from sidecar.wire.attributes import VALUE, delimited
from sidecar.wire.batch import decode_protobuf, is_clean
from sidecar.wire.mend import mend
from sidecar.wire.otlp_json import decode_json
from tests.corpus import planted, trace_requests
from tests.mask.masking import CARD, EMAIL, SECRETS, WINDOW, batch_of, left_of, masked, rules, run, stage_of, windows_of
from tests.spans import Value, event, link, many, request, span

STAGE = stage_of()
Plant = Callable[[str], ExportTraceServiceRequest]


def with_attribute(value: Value, key: str = "note") -> ExportTraceServiceRequest:
    return request(span(attributes={key: value}))


def in_scope(secret: str) -> ExportTraceServiceRequest:
    sent = request(span(), scope=f"tool of {secret}")
    scope = sent.resource_spans[0].scope_spans[0].scope
    scope.version = f"1.0 {secret}"
    scope.attributes.add(key="note").value.string_value = secret
    return sent


def in_schema_urls(secret: str) -> ExportTraceServiceRequest:
    sent = request(span())
    sent.resource_spans[0].schema_url = f"https://schemas.test/?by={secret}"
    sent.resource_spans[0].scope_spans[0].schema_url = f"https://schemas.test/ {secret}"
    return sent


def in_trace_states(secret: str) -> ExportTraceServiceRequest:
    linked = link()
    linked.trace_state = f"a=1,vendor= {secret} "
    return request(span(trace_state=f"vendor= {secret} ,b=2", links=[linked]))


PLACES: Mapping[str, Plant] = {
    "span name": lambda secret: request(span(name=f"ask {secret}")),
    "status message": lambda secret: request(span(error=f"no user {secret}")),
    "trace states": in_trace_states,
    "schema urls": in_schema_urls,
    "scope": in_scope,
    "resource attribute": lambda secret: request(span(), resource={"service.name": "shop", "host.owner": secret}),
    "service name": lambda secret: request(span(), resource={"service.name": secret}),
    "event name": lambda secret: request(span(events=[event(f"mail to {secret}")])),
    "event attribute": lambda secret: request(span(events=[event("e", {"exception.message": f"no {secret} here"})])),
    "link attribute": lambda secret: request(span(links=[link(attributes={"note": secret})])),
    "attribute key": lambda secret: with_attribute("x", f"note {secret}"),
    "long attribute key": lambda secret: with_attribute("x" * 300, f"note {secret} " + "k" * 200),
    "string": lambda secret: with_attribute(f"it is {secret}."),
    "whole string": with_attribute,
    "bytes": lambda secret: with_attribute(f"it is {secret}.".encode()),
    "binary": lambda secret: with_attribute(b"\xff\xfe " + secret.encode() + b" \x00\x80"),
    "array": lambda secret: with_attribute(["a", secret, ["b", [secret]]]),
    "list of pairs": lambda secret: with_attribute({"a": 1, "b": {"c": f"to {secret}", "d": [secret]}}),
    "member name": lambda secret: with_attribute({f"to {secret}": 1}),
    "JSON": lambda secret: with_attribute(json.dumps({"a": [{"b": f"to {secret}"}]})),
    "JSON in JSON": lambda secret: with_attribute(json.dumps({"a": json.dumps({"b": f"to {secret}", "é": 1})})),
    "JSON with escapes": lambda secret: with_attribute('{"a": "\\n%s\\n"}' % "".join(f"\\u{ord(each):04x}" for each in secret)),  # noqa: UP031 (braces)
    "broken JSON": lambda secret: with_attribute(json.dumps({"a": f"to {secret}", "b": 1})[:-4]),
    "repr": lambda secret: with_attribute(repr({"a": f"to {secret}"})),
    "JSON in an array": lambda secret: with_attribute([json.dumps({"b": f"to {secret}"})]),
    "unicode around": lambda secret: with_attribute(f"für „{secret}“ 你好 {secret} 🎉"),
    "log content": lambda secret: with_attribute(json.dumps([{"role": "user", "content": f"I am {secret}"}]), "langfuse.observation.input"),
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_sensitive_is_left_in_any_place(place: str) -> None:
    for number, secret in enumerate(SECRETS):
        payload = run(STAGE, batch_of(PLACES[place](secret)))

        assert left_of([secret], payload) == [], number
        assert is_clean(payload)
        ExportTraceServiceRequest.FromString(payload)


@pytest.mark.parametrize("number", [int(CARD), float(CARD), [int(CARD)], {"a": float(CARD)}, f'{{"n": {CARD}}}', f'{{"n": {CARD}.0}}'])
def test_numbers_are_looked_at_too(number: Value) -> None:
    value = masked(with_attribute(number)).resource_spans[0].scope_spans[0].spans[0].attributes[0].value

    assert "[CARD:1111]" in str(value)
    assert not left_of([CARD], value.SerializeToString())
    assert str(int(CARD)) not in str(value)


@pytest.mark.parametrize("value", [7, -7, 0.25, 1e300, float("inf"), True, "", "plain", b"\x00\xff", [], {}, [1, "a", {"b": None}], [0.1] * 20_000])
def test_what_is_not_sensitive_stays_byte_for_byte(value: Value) -> None:
    batch = batch_of(request(span(attributes={"a": value, "b": "c"}, events=[event("e", {"x": value})], links=[link(attributes={"y": value})])))
    before = batch.request.SerializeToString()

    assert run(STAGE, batch) == before


def test_clean_requests_stay_byte_for_byte_also_when_they_come_again() -> None:
    for seed in (1, 1, 2):
        batch = batch_of(many(2, 5, seed=seed))
        before = batch.request.SerializeToString()

        assert run(STAGE, batch) == before


def test_an_attribute_under_a_sensitive_key_is_hidden_whatever_its_type() -> None:
    sent = request(
        span(attributes={"db.password": "x", "api_key": [1, "abc"], "headers.authorization": {"a": "b"}, "client_secret": 12, "apiKey": b"raw"})
    )
    values = [each.value for each in masked(sent).resource_spans[0].scope_spans[0].spans[0].attributes[:5]]

    assert [each.string_value or each.bytes_value.decode() for each in values] == [
        "[PASSWORD]",
        "[SECRET]",
        "[AUTHORIZATION]",
        "[SECRET]",
        "[SECRET]",
    ]


def test_members_of_lists_of_pairs_obey_key_rules() -> None:
    sent = with_attribute({"user": {"password": "hunter2", "name": "bo"}, "items": [{"api_key": {"deep": "x"}}]}, "tool.arguments")
    value = masked(sent).resource_spans[0].scope_spans[0].spans[0].attributes[0].value

    assert value == masked(with_attribute({"user": {"password": "[PASSWORD]", "name": "bo"}, "items": [{"api_key": "[SECRET]"}]}, "tool.arguments"))\
        .resource_spans[0].scope_spans[0].spans[0].attributes[0].value  # fmt: skip
    assert b"hunter2" not in value.SerializeToString()


def test_one_person_stays_one_pseudonym_in_every_place() -> None:
    stage = stage_of()
    first = masked(request(span(attributes={"user.id": EMAIL, "enduser.id": EMAIL})), stage).resource_spans[0].scope_spans[0].spans[0].attributes
    other = masked(request(span(attributes={"user.id": "other" + EMAIL})), stage).resource_spans[0].scope_spans[0].spans[0].attributes

    assert first[0].value.string_value == first[1].value.string_value
    assert first[0].value.string_value.startswith("[ID:k1:")
    assert other[0].value.string_value != first[0].value.string_value


def smuggled() -> dict[str, bytes]:
    """Encodings that hold the e-mail address where no field shows it."""
    email = EMAIL.encode()
    text = b"\x0a" + bytes([len(email)]) + email
    plain = b"\x0a\x01x"
    value = functools.partial(delimited, VALUE)
    key = b"\x0a\x04note"
    return {
        "two members of one value": key + value(text + plain),
        "an empty array after a text": key + value(text + b"\x2a\x00"),
        "two values": key + value(text) + value(plain),
        "two keys": b"\x0a" + bytes([len(email)]) + email + key + value(plain),
        "an unknown field": key + value(plain) + b"\x7a" + bytes([len(email)]) + email,
        "an unknown field of the value": key + value(plain + b"\x7a" + bytes([len(email)]) + email),
        "the value first": value(text) + key,
        "a longer length than needed": key + b"\x12" + bytes([(len(text) | 128), 0]) + text,
        "a longer length inside": key + value(b"\x0a" + bytes([len(email) | 128, 0]) + email),
    }


@pytest.mark.parametrize("name", smuggled())
def test_what_no_reader_sees_does_not_survive_either(name: str) -> None:
    batch = batch_of(request(span()))
    batch.request.resource_spans[0].scope_spans[0].spans[0].attributes.append(smuggled()[name])
    batch.clean = False
    mend(batch)

    payload = run(STAGE, batch)

    assert left_of([EMAIL], payload) == []
    ExportTraceServiceRequest.FromString(payload)


def test_unknown_fields_of_messages_are_dropped() -> None:
    unknown = b"\xba\x3e" + bytes([len(EMAIL)]) + EMAIL.encode()
    sent = request(span(events=[event("e")], links=[link()], error="x")).SerializeToString()
    parsed = ExportTraceServiceRequest.FromString(sent + unknown)
    of_span = parsed.resource_spans[0].scope_spans[0].spans[0]
    for message in (parsed.resource_spans[0], parsed.resource_spans[0].resource, of_span, of_span.events[0], of_span.links[0], of_span.status):
        message.MergeFromString(unknown)

    assert left_of([EMAIL], parsed.SerializeToString()) == [0]
    assert run(STAGE, batch_of(parsed)) == sent


def test_sampling_in_a_trace_state_is_never_taken_for_a_number() -> None:
    state = f"ot=th:0;rv:{'36' + '259600000004'},vendor=ok"
    sent = request(span(trace_state=state))

    assert masked(sent).resource_spans[0].scope_spans[0].spans[0].trace_state == state
    assert masked(request(span(trace_state=f"{state},x={EMAIL}"))).resource_spans[0].scope_spans[0].spans[0].trace_state == state


def test_the_span_says_what_was_hidden_and_by_which_policy() -> None:
    stage = stage_of()
    sent = request(
        span(attributes={"a": f"{EMAIL} {CARD} {EMAIL}", "password": "x"}), span(attributes={"b": "c"}), resource={"service.name": "s", "o": EMAIL}
    )

    first, second = masked(sent, stage).resource_spans[0].scope_spans[0].spans

    said = {each.key: each.value.string_value for each in first.attributes}
    assert json.loads(said["langfuse.observation.metadata.masked"]) == {"CARD": 1, "EMAIL": 3, "PASSWORD": 1}  # the resource's, once
    assert said["langfuse.observation.metadata.masking_policy"] == rules()[0].digest
    assert [each.key for each in second.attributes] == ["b"]
    assert stage.counts == {("email", "label"): 3, ("card", "partial"): 1, ("key-rule", "label"): 1}
    assert not stage.failures


def test_a_dry_run_counts_and_changes_nothing_else() -> None:
    stage = stage_of({"dry_run": True})
    sent = request(span(name=EMAIL, trace_state=f"a={EMAIL}", attributes={"a": EMAIL, "n": int(CARD), "password": ["x"]}, events=[event(EMAIL)]))

    result = masked(sent, stage)

    attributes = result.resource_spans[0].scope_spans[0].spans[0].attributes
    assert json.loads(attributes[3].value.string_value) == {"CARD": 1, "EMAIL": 4, "PASSWORD": 1}
    del attributes[3:]
    assert result == sent


def test_a_policy_by_agent_and_service_holds_for_their_spans_only() -> None:
    stage = stage_of({"rules": [{"where": {"agent": "support-*", "service": "shop"}, "what": "email", "action": "keep"}]})

    def seen(service: str, agent: str) -> bool:
        sent = request(span(attributes={"gen_ai.agent.name": agent, "a": EMAIL}), resource={"service.name": service})
        return EMAIL.encode() in run(stage, batch_of(sent))

    assert [seen("shop", "support-1"), seen("shop", "billing"), seen("other", "support-1"), seen("shop", "support-2")] == [True, False, False, True]


def test_a_new_policy_holds_from_the_next_batch_and_forgets_what_was_clean() -> None:
    stage = stage_of({"packs": {"pii": "off"}})
    sent = request(span(name=EMAIL, attributes={"a": EMAIL}))
    assert EMAIL.encode() in run(stage, batch_of(sent))
    under_way = batch_of(many(1, 400))
    turns = iter(stage(under_way))
    next(turns)

    stage.use(*rules())

    assert left_of([EMAIL], run(stage, batch_of(sent))) == []
    assert all(turn is None for turn in turns)


def test_large_batches_give_way_to_others() -> None:
    batch = batch_of(many(4, 100, bytes_per_span=8192))
    turns = sum(1 for _ in STAGE(batch))

    assert turns >= 400 * 7000 // TURN_COST - 1


def test_many_small_attributes_and_events_give_way_too() -> None:
    wide = span(attributes={f"k{number}": f"v{number}" for number in range(20_000)})
    assert sum(1 for _ in STAGE(batch_of(request(wide)))) > 5

    eventful = span(events=[event("e", {"n": number}) for number in range(20_000)])
    assert sum(1 for _ in STAGE(batch_of(request(eventful)))) > 5


class BrokenEngine(Engine):
    """Fails with a text that quotes what it was given, as a careless library would."""

    def __init__(self, engine: Engine) -> None:
        self.__dict__.update(engine.__dict__)

    def scan(self, text: bytes) -> Scan:
        raise RuntimeError(f"can't read {text!r}")


def test_when_the_engine_fails_nothing_passes() -> None:
    policy, engine = rules()
    stage = MaskingStage(policy, BrokenEngine(engine))
    sent = request(
        span(name="n1", error="m1", attributes={"key1": "value1", "n": 12345, "l": ["value2"], "j": '{"a": "value3"}'}), resource={"r": "value4"}
    )

    result = masked(sent, stage)

    payload = result.SerializeToString()
    assert [text for text in (b"n1", b"m1", b"key1", b"value", b"12345") if text in payload] == []
    assert result.resource_spans[0].scope_spans[0].spans[0].name == "[MASKING_FAILED]"
    assert set(stage.failures) == {"error"}
    assert stage.failures.total() >= 8


def test_a_value_over_the_limit_is_hidden_as_a_whole() -> None:
    stage = stage_of({"limits": {"max_value_kib": 64}})
    sent = request(span(attributes={"long": "word " * 20_000, "deep": [f"{number}" for number in range(20_000)], "short": "word"}))

    attributes = masked(sent, stage).resource_spans[0].scope_spans[0].spans[0].attributes

    assert [each.value.string_value for each in attributes[:3]] == ["[MASKING_FAILED]", "[MASKING_FAILED]", "word"]
    assert json.loads(attributes[3].value.string_value) == {"MASKING_FAILED": 2}
    assert stage.failures == {"bytes": 2}


class BrokenPolicy:
    """Knows no scope for spans of one agent."""

    def __init__(self) -> None:
        self._policy, _ = rules()

    def __getattr__(self, name: str) -> object:
        return getattr(self._policy, name)

    def scope(self, agent: str | None, service: str | None) -> object:
        if agent == "broken":
            raise KeyError(EMAIL)
        return self._policy.scope(agent, service)


def test_a_span_that_can_not_be_walked_is_emptied_and_its_neighbours_are_masked() -> None:
    stage = MaskingStage(BrokenPolicy(), rules()[1])  # type: ignore[arg-type]  # one that fails on purpose
    bad = span(
        name=EMAIL,
        error=EMAIL,
        trace_state=f"a={EMAIL}",
        attributes={"gen_ai.agent.name": "broken", "a": EMAIL},
        events=[event(EMAIL)],
        links=[link()],
    )

    first, second = masked(request(bad, span(attributes={"a": EMAIL})), stage).resource_spans[0].scope_spans[0].spans

    assert left_of([EMAIL], first.SerializeToString() + second.SerializeToString()) == []
    assert (first.name, first.status.message, len(first.attributes), len(first.events)) == ("[MASKING_FAILED]", "[MASKING_FAILED]", 0, 0)
    assert second.attributes[0].value.string_value == "[EMAIL]"
    assert stage.failures == {"error": 1}


pieces = st.one_of(
    st.sampled_from([*SECRETS, "password: " + "hunter2!x", "[EMAIL]", "[CARD:1111]", "[ID:k1:0123456789abcdef]", "[MASKING_FAILED]", '"', "\\", "\\n", "{", "[", "token=", " ", ", "]),
    st.text(max_size=6),
)  # fmt: skip
texts = st.lists(pieces, max_size=8).map("".join)
values: st.SearchStrategy[Value] = st.recursive(
    st.one_of(texts, texts.map(lambda text: json.dumps({"a": text})), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.binary(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(texts, values, max_size=4), texts, texts)
@settings(max_examples=150, deadline=None)
def test_masking_twice_is_masking_once_and_the_request_stays_readable(attributes: dict[str, Value], name: str, message: str) -> None:
    once = run(STAGE, batch_of(request(span(name=name, attributes=attributes, events=[event(name, {"m": message})], error=message))))

    assert run(STAGE, batch_of(once)) == once
    assert is_clean(once)
    ExportTraceServiceRequest.FromString(once)


def json_texts(value: AnyValue) -> list[str]:
    """The strings in a value that are JSON documents."""
    texts = [value.string_value, *(text for item in value.array_value.values for text in json_texts(item))]
    texts += [text for member in value.kvlist_value.values for text in json_texts(member.value)]
    return [text for text in texts if text[:1] in {"{", "["} and is_json(text)]


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_nothing_planted_in_the_corpus_is_left_and_json_stays_json() -> None:
    secrets = planted()
    survivors: Counter[str] = Counter()
    broken = 0
    for sent in trace_requests():
        batch = decode_json(sent.body) if sent.is_json else decode_protobuf(sent.body)
        mend(batch)
        before = ExportTraceServiceRequest.FromString(batch.request.SerializeToString())
        payload = run(STAGE, batch)
        after = ExportTraceServiceRequest.FromString(payload)
        original = before.SerializeToString()
        for secret in secrets:
            forms = {secret.value.encode(), json.dumps(secret.value)[1:-1].encode()}
            survivors[secret.type] += any(form in payload for form in forms)
            for form in forms:
                # Instrumentations cut texts: what is left of a value that never came whole is another matter.
                uncut = original.count(form[:WINDOW]) == original.count(form)
                survivors[f"a piece of {secret.type}"] += form in original and uncut and any(window in payload for window in windows_of(form))
        broken += documents(before) - documents(after)
    assert +survivors == {}
    assert broken <= 0


def documents(sent: ExportTraceServiceRequest) -> int:
    spans = [each for resource_spans in sent.resource_spans for scope_spans in resource_spans.scope_spans for each in scope_spans.spans]
    return sum(len(json_texts(attribute.value)) for each in spans for attribute in each.attributes)


@pytest.mark.parametrize("as_json", [False, True])
def test_one_long_value_is_masked_in_turns(as_json: bool) -> None:
    text = (f"ask {EMAIL} about card {CARD}, he said. " + "and so on, " * 40) * 1_500
    batch = batch_of(request(span(attributes={"note": json.dumps({"messages": [{"content": text}]}) if as_json else text})))
    stage = stage_of()

    assert sum(1 for _ in stage(batch)) > 5
    assert not stage.failures
    assert left_of([EMAIL, CARD], batch.request.SerializeToString()) == []

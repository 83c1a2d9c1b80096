"""One text under one key: the order of judgement, overlaps, own labels, failures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.json_text import NAMES_MAX
from sidecar.mask.masker import CUT, CUT_BYTES, FAILED, Masker, Place
from sidecar.mask.packs import DETECTORS
from tests.mask.masking import CARD, EMAIL, GITHUB, SECRETS, fresh_tally, left_of, masker_of

MASKER = masker_of()


def place_of(masker: Masker, key: str) -> Place:
    scope = masker.policy.scope(None, None)
    return Place(scope, key, scope.key(key), key.encode(), f'"{key}": "'.encode())


def masked(text: str, key: str = "note", masker: Masker = MASKER) -> str | None:
    result = masker.text(text.encode(), place_of(masker, key), fresh_tally())
    return None if result is None else result.decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"write to {EMAIL} now", "write to [EMAIL] now"),
        (f"{EMAIL} {EMAIL}", "[EMAIL] [EMAIL]"),
        (f"card {CARD}", "card [CARD:1111]"),
        (f"{EMAIL}{CARD}", "[EMAIL][CARD:1111]"),
        (f"{EMAIL}{GITHUB}{EMAIL}", "[GITHUB_TOKEN][EMAIL]"),
        (json.dumps({"a": EMAIL, "n": int(CARD)}), '{"a": "[EMAIL]", "n": "[CARD:1111]"}'),
        (json.dumps({"password": "hunter2", "b": [1]}), '{"password": "[PASSWORD]", "b": [1]}'),
        (json.dumps({"a": json.dumps({"password": {"x": [1]}})}), r'{"a": "{\"password\": \"[PASSWORD]\"}"}'),
        (f"path C:\\new\\{EMAIL}", "path C:\\new\\[EMAIL]"),
    ],
)
def test_hits_become_what_the_policy_says(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_a_value_is_found_in_a_literal_although_its_words_lead_to_one_in_another_too() -> None:
    command = "curl -s -u admin:Sup3r" + "Pass https://x"

    assert masked(json.dumps({"a": command, "b": [command]})) == json.dumps(
        {"a": "curl -s -u [CREDENTIALS] https://x", "b": ["curl -s -u [CREDENTIALS] https://x"]}
    )


@pytest.mark.parametrize("text", ["", "x", "plain words", "{}", '{"a": [1, 2.5, null, true]}', "[INFO] ready", "\\", "{broken", '{"password": null}'])
def test_what_holds_nothing_comes_back_itself(text: str) -> None:
    raw = text.encode()

    assert MASKER.text(raw, place_of(MASKER, "note"), fresh_tally()) is raw


def test_a_key_goes_before_detectors() -> None:
    assert masked("anything", "db.password") == "[PASSWORD]"
    assert masked(json.dumps({"a": 1}), "api_key") == "[SECRET]"
    assert masked("anything", "db.password", masker_of({"keys": [{"match": "*password*", "action": "remove"}]})) is None
    assert masked(EMAIL, "contact", masker_of({"allow": {"keys": ["contact"]}})) == EMAIL


def test_a_whole_identity_becomes_one_pseudonym_also_inside_json() -> None:
    alone = masked(EMAIL, "user.id")

    assert alone is not None
    assert alone.startswith("[ID:k1:")
    assert masked(json.dumps({"user_id": EMAIL, "other": EMAIL}), "note") == json.dumps({"user_id": alone, "other": "[EMAIL]"})
    assert masked(f"tenant/{EMAIL}", "user.id") != alone
    assert masked("user-17", "user.id") == "user-17"


def test_of_overlapping_hits_the_strictest_action_wins_over_the_bytes_of_all() -> None:
    own = {"name": "ticket", "pattern": "T-[0-9]{6}", "label": "TICKET", "action": "partial"}
    wide = {"name": "case", "pattern": "case:T-[0-9]{6}-[0-9]{6}", "label": "CASE", "action": "hmac"}
    strict = {"name": "code", "pattern": "[0-9]{6}-[0-9]{6}", "label": "CODE", "action": "remove"}

    assert masked("see case:T-123456-654321 now", "note", masker_of({"patterns": [own, wide, strict]})) == "see  now"
    result = masked("see case:T-123456-654321 now", "note", masker_of({"patterns": [own, wide]}))
    assert result is not None
    assert result.startswith("see [CASE:k1:")
    assert result.endswith("] now")


def test_what_one_detector_keeps_another_may_still_hide() -> None:
    kept = masker_of({"detectors": {"email": "keep"}, "patterns": [{"name": "staff", "pattern": "[a-z]{1,30}@example", "label": "STAFF"}]})

    assert masked("ask bob@example.org now", "note", kept) == "ask [STAFF].org now"


def test_allowed_values_stay() -> None:
    masker = masker_of({"allow": {"values": ["*@example.org"]}})

    assert masked(f"{EMAIL} and bob@example.net", "note", masker) == f"{EMAIL} and [EMAIL]"


@pytest.mark.parametrize(
    "text",
    [
        "[EMAIL]",
        "[CARD:1111] 123",
        "[EMAIL:k1:4111111111111111]",
        "password: [PASSWORD]",
        '{"password": "[PASSWORD]"}',
        '{"api_key": "[MASKING_FAILED]"}',
    ],
)
def test_own_labels_are_never_masked_again(text: str) -> None:
    tally = fresh_tally()

    assert MASKER.text(text.encode(), place_of(MASKER, "note"), tally) == text.encode()
    assert not tally.counts


def test_labels_of_others_do_not_shelter_values() -> None:
    assert masked("[OTHER:k1:" + CARD + "]") == "[OTHER:k1:[CARD:1111]]"


def test_a_name_is_read_without_own_labels() -> None:
    assert MASKER.unlabelled(b"note [GITHUB_TOKEN]") == b"note "
    assert MASKER.unlabelled(b"items[0]") == b"items[0]"


def test_limits_and_errors_hide_the_whole_value_and_are_counted_by_reason() -> None:
    masker = masker_of({"limits": {"max_value_kib": 1, "max_hits": 5}})
    tally = fresh_tally()

    assert masker.text(b"w " * 1000, place_of(masker, "note"), tally) == FAILED
    assert masker.text(b"a1@example.org " * 10, place_of(masker, "note"), tally) == FAILED
    assert masker.text(("[" * 7 + json.dumps(EMAIL) + "]" * 7).encode(), place_of(masker, "note"), tally) != FAILED
    assert tally.failures == {"bytes": 1, "hits": 1}


def test_it_counts_by_detector_and_action_and_by_label() -> None:
    tally = fresh_tally()

    MASKER.text(json.dumps({"a": f"{EMAIL} {EMAIL}", "password": "x", "b": [GITHUB]}).encode(), place_of(MASKER, "note"), tally)

    assert tally.counts == {("email", "label"): 2, ("key-rule", "label"): 1, ("github-token", "label"): 1}
    assert tally.labels == {"EMAIL": 2, "PASSWORD": 1, "GITHUB_TOKEN": 1}


SCHEMA = {"type": "object", "properties": {"user": {"type": "string"}, "password": {"type": ["string", "null"], "description": "8 to 12 characters"}}}


@pytest.mark.parametrize(
    "value",
    [
        {"parameters": SCHEMA, "required": ["password"]},
        {"credentials": SCHEMA | {"additionalProperties": False}},
        {"api_key": {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Api Key"}, "secret": {"$ref": "#/$defs/Secret"}},
        {"otp": {"type": "array", "items": {"type": "integer", "minimum": 0}}},
        {"password": True, "secret": False, "pin": None},
    ],
)
def test_what_only_describes_a_secret_stays(value: object) -> None:
    text = json.dumps(value)

    assert masked(text) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"password": {"type": "string", "value": "hunter2"}}, {"password": "[PASSWORD]"}),
        ({"password": {"type": "hunter2"}}, {"password": "[PASSWORD]"}),
        ({"password": {"description": "hunter2"}}, {"password": "[PASSWORD]"}),
        ({"password": {"properties": {"a": "hunter2"}, "type": "object"}, "n": 1}, {"password": "[PASSWORD]", "n": 1}),
        ({"password": {"type": "object", "properties": {"a": {"title": "hunter2"}}}}, {"password": "[PASSWORD]"}),
        (
            {"password": {"type": "string", "default": "hunter2", "enum": ["a", "b"], "examples": [{"a": 1}]}},
            {"password": {"type": "string", "default": "[PASSWORD]", "enum": "[PASSWORD]", "examples": "[PASSWORD]"}},
        ),
        ({"password": {"type": "string", "description": f"ask {EMAIL}"}}, {"password": {"type": "string", "description": "ask [EMAIL]"}}),
    ],
)
def test_an_object_with_anything_but_a_schema_in_it_is_hidden_and_so_are_values_in_schemas(value: object, expected: object) -> None:
    assert masked(json.dumps(value)) == json.dumps(expected)


def test_a_schema_that_breaks_off_is_hidden_and_so_is_one_under_a_rule_for_its_place() -> None:
    assert masked('{"a": 1, "password": {"type": "string", "descr') == '{"a": 1, "password": "[PASSWORD]"'
    rule = {"where": {"path": "$.password"}, "what": "value", "action": "label", "label": "PLACE"}
    assert masked('{"password": {"type": "string"}}', "note", masker_of({"rules": [rule]})) == '{"password": "[PLACE]"}'


def test_layers_of_json_are_read_as_deep_as_the_policy_says() -> None:
    text = json.dumps({"a": json.dumps({"b": json.dumps({"password": "hunter2"})})})

    assert "hunter2" not in (masked(text) or "")
    assert masked(text, "note", masker_of({"limits": {"max_depth": 1}})) == FAILED.decode()


def test_more_member_names_than_a_value_may_have_are_a_work_limit() -> None:
    tally = fresh_tally()
    few, many = ({f"name_{number}": number for number in range(count)} for count in (NAMES_MAX, 6 * NAMES_MAX))

    assert MASKER.text(json.dumps(few).encode(), place_of(MASKER, "note"), tally) != FAILED
    assert MASKER.text(json.dumps(many).encode(), place_of(MASKER, "note"), tally) == FAILED
    assert tally.failures == {"work": 1}


@pytest.mark.parametrize("filler", ["word ", "é ", '{"a": 1} '])
def test_of_a_value_that_is_too_long_the_beginning_stays_and_a_value_on_the_border_goes(filler: str) -> None:
    masker = masker_of({"limits": {"max_value_kib": 256}})
    tally = fresh_tally()
    size = 256 * 1024
    text = (EMAIL + " " + filler * size).encode()[: size - 20] + f" {GITHUB} ".encode() + b"more " * 100

    result = masker.text(text, place_of(masker, "note"), tally)

    assert result is not None
    assert result.startswith(b"[EMAIL] ")
    assert result.endswith(CUT)
    assert size - 2 * CUT_BYTES < len(result) < size
    assert b"gh" + b"p_" not in result
    assert tally.failures == {"bytes": 1}
    assert tally.labels["CUT"] == 1
    assert masker.text(result, place_of(masker, "note"), fresh_tally()) == result


EXAMPLES = st.sampled_from([example for one in DETECTORS for example in (*one.matches, *one.misses)])
GLUES = st.sampled_from([" ", "", ", ", "\n", "/", '"', "=", ": ", "\\n", "'", ";", "&", "|"])


@given(st.lists(EXAMPLES, min_size=1, max_size=4), GLUES, st.booleans())
@settings(max_examples=600, deadline=None, derandomize=True)
def test_masking_the_examples_of_all_detectors_twice_is_masking_them_once(parts: list[str], glue: str, as_json: bool) -> None:
    text = json.dumps({"a": glue.join(parts), "b": parts}) if as_json else glue.join(parts)
    once = masked(text)

    assert once is not None
    assert masked(once) == once, "the second time something else is found"
    if as_json:
        json.loads(once)


words = st.sampled_from([*SECRETS, "hello", "order 17", "für", "🎉", "[EMAIL]", "x=1", "\n", '"', "{", "\\u0040", "password: " + "hunter2!x"])


@given(st.lists(words, max_size=8), st.sampled_from([" ", "", ", ", "\\n", "/"]))
@settings(max_examples=200, deadline=None)
def test_nothing_planted_survives_next_to_anything_and_twice_is_once(parts: list[str], glue: str) -> None:
    """Values that touch each other are no values of their format; but apart from that, nothing else hides them."""
    text = glue.join(parts)
    once = masked(text)

    assert once is not None
    assert masked(once) == once
    if glue not in {"", "/"}:
        assert left_of([part for part in parts if part in SECRETS], once.encode()) == []

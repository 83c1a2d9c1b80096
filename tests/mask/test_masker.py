"""One text under one key: the order of judgement, overlaps, own labels, failures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.masker import FAILED, Masker, Place
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

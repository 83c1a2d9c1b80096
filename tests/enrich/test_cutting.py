"""Cutting a text so that it stays what it is."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.cutting import MAX_JSON_CHARS, MIN_LIMIT, cut_text, size

MARK = re.compile(r"\[cut \d+ (bytes|older messages, \d+ bytes)\]")


def messages(count: int, length: int) -> list[dict[str, object]]:
    return [{"role": "user" if n % 2 == 0 else "assistant", "content": f"turn {n} " + "x" * length} for n in range(count)]


def test_a_text_that_fits_is_not_touched() -> None:
    assert cut_text("x" * 200, 200) == "x" * 200
    assert cut_text("é" * 100, 200) == "é" * 100


def test_plain_text_keeps_its_beginning_and_says_what_is_missing() -> None:
    cut = cut_text("word " * 1000, 500)

    kept, _, rest = cut.partition("[cut ")
    assert ("word " * 1000).startswith(kept)
    assert rest == f"{5000 - len(kept)} bytes]"
    assert 450 <= len(cut) <= 500


@pytest.mark.parametrize("character", ["é", "日", "😀"])
def test_plain_text_is_cut_between_characters(character: str) -> None:
    for limit in range(200, 208):
        cut = cut_text(character * 1000, limit)

        assert cut.startswith(character) and "�" not in cut
        assert len(cut.encode()) <= limit


def test_the_newest_messages_stay_whole_and_the_oldest_go() -> None:
    conversation = messages(50, 1000)

    cut = json.loads(cut_text(json.dumps(conversation), 10_000))

    assert cut[1:] == conversation[-9:]
    assert cut[0]["role"] == "system"
    assert cut[0]["content"].startswith("[cut 41 older messages, ")


def test_messages_in_parts_get_a_message_in_parts_as_their_stand_in() -> None:
    conversation = [{"role": "user", "parts": [{"type": "text", "content": "x" * 1000}]} for _ in range(9)]

    cut = json.loads(cut_text(json.dumps(conversation), 5000))

    assert cut[0]["role"] == "system" and MARK.fullmatch(cut[0]["parts"][0]["content"])
    assert cut[1:] == conversation[-len(cut[1:]) :]


@pytest.mark.parametrize("wrap", ["messages", "input.messages", "[[]]", "beside others"])
def test_messages_are_found_a_little_below_the_top(wrap: str) -> None:
    conversation = messages(30, 1000)
    tree: object = {
        "messages": {"model": "m", "messages": conversation},
        "input.messages": {"input": {"messages": conversation}, "n": 1.50},
        "[[]]": [conversation],
        "beside others": {"tools": messages(2, 10), "messages": conversation, "config": {"a": []}},
    }[wrap]

    cut = cut_text(json.dumps(tree), 8000)

    found = json.loads(cut)
    while not isinstance(found, list) or len(found) == 1:
        found = found[0] if isinstance(found, list) else found.get("messages", found.get("input"))
    assert found[1:] == conversation[-len(found[1:]) :]
    assert size(cut) <= 8000


def test_a_newest_message_that_alone_is_too_long_is_shortened() -> None:
    conversation = [*messages(3, 10), {"role": "user", "content": "y" * 50_000, "id": "m-4"}]

    cut = json.loads(cut_text(json.dumps(conversation), 4000))

    assert MARK.fullmatch(cut[0]["content"])
    assert cut[1]["id"] == "m-4" and cut[1]["content"].startswith("y" * 1000) and MARK.search(cut[1]["content"])
    assert len(cut) == 2


def test_of_other_json_the_longest_strings_are_shortened_and_everything_else_stays_as_it_was_written() -> None:
    text = '{ "id": 1.50, "n": 12345678901234567890, "short": "kept", "long": "' + "x" * 5000 + '", "longer": "' + "y" * 9000 + '" }'

    cut = cut_text(text, 1000)

    assert cut.startswith('{ "id": 1.50, "n": 12345678901234567890, "short": "kept", "long": "xxx')
    found = json.loads(cut)
    assert len(found["long"]) == pytest.approx(len(found["longer"]), abs=2)
    assert 900 <= len(cut) <= 1000


def test_keys_are_never_cut() -> None:
    text = json.dumps({"k" * 300: "x" * 5000})

    assert list(json.loads(cut_text(text, 600))) == ["k" * 300]


def test_documents_are_no_messages_and_all_stay() -> None:
    documents = [{"id": n, "text": "x" * 5000} for n in range(10)]

    cut = json.loads(cut_text(json.dumps(documents), 4000))

    assert [each["id"] for each in cut] == list(range(10))


@pytest.mark.parametrize("content", ["\\u00e4" * 2000, "\\n\\\\" * 2000, '\\"' * 4000, "\\ud83d\\ude00" * 1000, "😀" * 2000, "\\\\" * 5000])
def test_no_escape_and_no_character_is_cut_through(content: str) -> None:
    text = f'{{"a": "{content}"}}'

    for limit in range(300, 313):
        cut = cut_text(text, limit)

        found = json.loads(cut)["a"]
        assert MARK.search(found)
        found.encode()
        assert size(cut) <= limit


def test_a_json_string_stays_a_json_string() -> None:
    assert json.loads(cut_text(json.dumps("x" * 1000), 300)).startswith("xxx")


def test_json_of_many_small_parts_becomes_a_json_string_of_its_beginning() -> None:
    text = json.dumps(list(range(5000)))

    found = json.loads(cut_text(text, 1000))

    assert found.startswith("[0, 1, 2, 3") and MARK.search(found)


def test_json_too_long_to_be_parsed_becomes_a_json_string_of_its_beginning() -> None:
    text = '{"a": "' + "x" * MAX_JSON_CHARS + '"}'

    assert json.loads(cut_text(text, 1000)).startswith('{"a": "xxx')


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": "x', "{'python': 'repr'}" + "x" * 900, '["a" "b"]' + " " * 900, '{"a": ' + "9" * 5000 + "}"])
def test_what_only_looks_like_json_is_cut_as_text(text: str) -> None:
    cut = cut_text(text + "x" * 500, 400)

    assert size(cut) <= 400
    assert MARK.search(cut)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=400)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.sampled_from(["role", "content", "parts", "messages", "x"]), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(value=JSON, limit=st.integers(MIN_LIMIT, 2000), ascii_only=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_json_stays_json_within_any_limit(value: object, limit: int, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    cut = cut_text(text, limit)

    assert len(cut.encode(errors="surrogatepass")) <= limit
    if text[0] in '{["':
        json.loads(cut)


@given(text=st.text(max_size=1500), limit=st.integers(MIN_LIMIT, 500))
@settings(max_examples=100, deadline=None)
def test_any_text_stays_within_any_limit(text: str, limit: int) -> None:
    assert len(cut_text(text, limit).encode()) <= limit

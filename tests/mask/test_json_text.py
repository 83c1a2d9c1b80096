"""Masking of JSON, JSON in JSON, escapes, and what only looks like JSON."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.detector import Hit
from sidecar.mask.engine import choose_engine
from sidecar.mask.json_text import KeyVerdict, Path, mask_json, mask_text
from sidecar.mask.windows import WorkLimit
from tests.mask.looking import found_by, scanned_by
from tests.mask.test_windows import FRAGMENTS, SMALL_TABLE, detector

ENGINE = choose_engine(SMALL_TABLE)
LOOK = scanned_by(ENGINE)
AWS = "AKIA" + "B" * 16


class Policy:
    """Labels for hits, hides members named token, keeps those named note."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def rewrite(self, text: bytes, hit: Hit | None, path: Path) -> bytes:
        self.seen.append((str(path), (text if hit is None else text[hit.start : hit.end]).decode()))
        return b"[HIDDEN]" if hit is None else b"[%s]" % SMALL_TABLE[hit.detector].label.encode()

    def key(self, name: bytes, _path: Path | None) -> KeyVerdict:
        return {b"token": KeyVerdict.HIDE, b"note": KeyVerdict.KEEP}.get(name, KeyVerdict.SCAN)

    def json(self, text: str) -> str | None:
        masked = mask_json(text.encode(), LOOK, self.rewrite, self.key)
        return None if masked is None else masked.decode()

    def text(self, text: str) -> str:
        return mask_text(text.encode(), LOOK, self.rewrite).decode()


def masked(text: str) -> str:
    result = Policy().json(text)
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": "mail bob@example.com"}', '{"a": "mail [EMAIL]"}'),
        (r'{"a": "bob\u0040example.com"}', '{"a": "[EMAIL]"}'),
        (r'{"a": "\/bob@example.com\/"}', r'{"a": "\/[EMAIL]\/"}'),
        (rf'{{"a": "x\n{AWS}\n"}}', r'{"a": "x\n[AWS_ID]\n"}'),
        (rf'{{"a": "{AWS[:6]}\u0042{AWS[7:]} \u00e9"}}', r'{"a": "[AWS_ID] \u00e9"}'),
        ('{"n": 4111111111111111, "m": [4111111111111111]}', '{"n": "[CARD]", "m": ["[CARD]"]}'),
        ('{"token": "abc"}', '{"token": "[HIDDEN]"}'),
        ('{"token": {"a": [1, {"b": "]"}]}, "c": 1}', '{"token": "[HIDDEN]", "c": 1}'),
        (
            '{"token": [1], "token": 2, "token": true, "token": null}',
            '{"token": "[HIDDEN]", "token": "[HIDDEN]", "token": true, "token": null}',
        ),
        (r'{"to\u006ben" : "abc"}', r'{"to\u006ben" : "[HIDDEN]"}'),
        ('{":token":":","token":1}', '{":token":":","token":"[HIDDEN]"}'),
        ('{"note": "bob@example.com", "a": 1}', '{"note": "bob@example.com", "a": 1}'),
        ('{"note": {"x": "bob@example.com", "token": "y"}}', '{"note": {"x": "bob@example.com", "token": "[HIDDEN]"}}'),
        ('{"bob@example.com": 1}', '{"[EMAIL]": 1}'),
        ('{"passport": {"no": "123456789"}, "order": "123456789"}', '{"passport": {"no": "[PASSPORT]"}, "order": "123456789"}'),
        ('{"passport": 123456789}', '{"passport": "[PASSPORT]"}'),
        ('{"password": "hunter22"}', '{"password": "[ASSIGNED]"}'),
        ('{"a": 1, "a": 123456789012345678901234567890, "e": 1e999, "m": "bob@example.com"}', None),
        ('{"a": NaN, "b": [-Infinity], "m": "bob@example.com"}', None),
        ('\ufeff{"m": "bob@example.com"}', None),
        ('[ "bob@example.com" ,\n\t[ ], { } ]\n', None),
        ('"bob@example.com"', None),
        ('{"m": "bob@example.com"}\n{"token": "[HIDDEN]"}\n', None),
    ],
)
def test_hits_and_hidden_members_are_replaced_and_the_rest_stays(text: str, expected: str | None) -> None:
    assert masked(text) == (text.replace("bob@example.com", "[EMAIL]") if expected is None else expected)


@pytest.mark.parametrize("text", ["plain", "", "   ", "key: {", "4111", "'a'", '"a" b'])
def test_what_does_not_begin_as_json_is_left_to_others(text: str) -> None:
    assert Policy().json(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'{"a": "bob\u0040example.com", "b": "x\nbob@example.com an', r'{"a": "[EMAIL]", "b": "x\n[EMAIL] an'),
        ('{"a": 1, "token": "abc de', '{"a": 1, "token":"[HIDDEN]"'),
        ('{"token": {"a": [1, 2', '{"token": "[HIDDEN]"'),
        (r'{"a": "{\"b\": \"x\\nbob\\u0040example.com', r'{"a": "{\"b\": \"x\\n[EMAIL]'),
        (r"{'a': 'bob@example.com', 'b': 'x\nbob\x40example.com'}", r"{'a': '[EMAIL]', 'b': 'x\n[EMAIL]'}"),
        ("{'token': None}", "{'token': None}"),
        ("[INFO] bob@example.com", "[INFO] [EMAIL]"),
        ('{"a" "bob@example.com"}', '{"a" "[EMAIL]"}'),
        ('{"a": ["bob@example.com"}', '{"a": ["[EMAIL]"}'),
        ('{"a": 1,} bob@example.com', '{"a": 1,} [EMAIL]'),
        ('["a":1] bob@example.com', '["a":1] [EMAIL]'),
    ],
)
def test_broken_json_is_masked_as_far_as_it_goes_and_as_text(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_text_is_searched_below_its_escapes_too() -> None:
    assert Policy().text(r"say \"bob\u0040example.com\"") == r"say \"[EMAIL]\""
    assert Policy().text(rf"path C:\new\n{AWS}") == r"path C:\new\n[AWS_ID]"
    assert Policy().text(r"C:\dir") == r"C:\dir"


def nested(value: object, depth: int) -> str:
    text = json.dumps(value)
    for _ in range(depth):
        text = json.dumps({"inner": text})
    return text


@pytest.mark.parametrize("depth", range(5))
def test_json_in_json_is_masked_where_it_stands(depth: int) -> None:
    value = {"mail": "x\nbob@example.com\n", "token": {"a": 1}, "card": 4111111111111111, "é": 'q"\\'}
    expected = value | {"mail": "x\n[EMAIL]\n", "token": "[HIDDEN]", "card": "[CARD]"}

    assert masked(nested(value, depth)) == nested(expected, depth)


def test_json_in_more_json_than_that_is_a_work_limit_when_there_is_something_in_it() -> None:
    assert masked(nested({"a": 1}, 7)) == nested({"a": 1}, 7)
    with pytest.raises(WorkLimit, match="depth"):
        masked(nested({"mail": "x\nbob@example.com"}, 7))


def across(text: str) -> str:
    policy = Policy()
    words = frozenset(index for index, one in enumerate(SMALL_TABLE) if one.words)
    result = mask_json(text.encode(), LOOK, policy.rewrite, policy.key, words)
    assert result is not None
    json.loads(result)
    return result.decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["password", ": hunter22"]', '["password", ": hunter22"]'),
        ('["password:", "hunter22"]', '["password:", "hunter22"]'),
        ('{"passport": "none", "order": "123456789"}', '{"passport": "none", "order": "123456789"}'),
        ('["xx", "yy"]', '["xx", "yy"]'),
    ],
)
def test_literals_that_have_nothing_to_do_with_each_other_stay(text: str, expected: str) -> None:
    assert across(text) == expected


def test_a_hit_across_literals_hides_the_literals_that_it_touches() -> None:
    """`told` is found in the document, where the name stands in another literal, and in no literal alone."""
    told = detector("told", r"""name", "([a-z0-9]{4,12})""", r"""name", \"""", 24, group=1)
    engine = choose_engine([told])

    def run(text: str, by_word: frozenset[int] | None) -> bytes | None:
        return mask_json(text.encode(), scanned_by(engine), lambda *_: b"[TOLD]", lambda _name, _path: KeyVerdict.SCAN, by_word)

    assert run('["name", "value1", {"value1": 1}]', frozenset()) == b'["name", "[TOLD]", {"value1": 1}]'
    assert run('[["name", "value1 and more"], "name", "v2"]', frozenset()) == b'[["name", "[TOLD]"], "name", "v2"]'
    assert run('["name", "value1"]', frozenset([0])) == b'["name", "value1"]'


def test_a_string_far_before_a_hit_that_was_read_from_there_has_its_own() -> None:
    """In the document the match begins in the first string and ends in the second; in between lie more than a thousand bytes."""
    told = detector("told", r"begin[^\r\n]{0,2000}-u ([a-z]{4})", r"-u ", 2040, group=1)
    text = '["begin -u aaaa' + " x" * 600 + '", "y", "begin -u bbbb"]'
    result = mask_json(text.encode(), scanned_by(choose_engine([told])), lambda *_: b"[TOLD]", lambda _name, _path: KeyVerdict.SCAN)

    assert result is not None
    assert result.decode() == text.replace("aaaa", "[TOLD]").replace("bbbb", "[TOLD]")


def test_rewrites_learn_the_decoded_value_and_where_it_stood() -> None:
    policy = Policy()
    policy.json(json.dumps({"messages": [{"content": "x\nbob@example.com"}, {"args": json.dumps({"token": ["é"]})}]}))

    assert policy.seen == [("$.messages[0].content", "bob@example.com"), ("$.messages[1].args.token", '["\\u00e9"]')]


def test_a_replacement_is_escaped_for_where_it_stands() -> None:
    policy = Policy()
    text = json.dumps({"a": json.dumps({"b": "x bob@example.com", "token": 1})})
    result = mask_json(text.encode(), LOOK, lambda *_: b'"\\\n', policy.key)

    assert result is not None
    assert json.loads(json.loads(result)["a"]) == {"b": 'x "\\\n', "token": '"\\\n'}


def test_deep_containers_cost_no_recursion() -> None:
    text = "[" * 5_000 + '"bob@example.com"' + "]" * 5_000

    assert masked(text) == text.replace("bob@example.com", "[EMAIL]")


@pytest.mark.parametrize(
    "text", ["[" + "1," * 60_000 + '"bob@example.com"]', '["' + "\\n" * 60_000 + 'bob@example.com"]', "[" * 60_000 + "bob@example.com"]
)
def test_too_many_tokens_or_escapes_are_a_work_limit(text: str) -> None:
    with pytest.raises(WorkLimit):
        masked(text)


pieces = st.sampled_from([*FRAGMENTS, "token", "note", "\\", '"', "\n", "é", "😀", "/", "a", "\\u0040", "{", "}", ":"])
strings = st.lists(pieces, max_size=6).map("".join)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), strings, st.just(4111111111111111)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(strings, inner, max_size=4), inner.map(json.dumps)),
    max_leaves=12,
)


def oracle(value: object, name: str | None = None) -> object:
    """Hidden members only, the slow way: through the decoded document."""
    if name == "token":
        return value if value is None or isinstance(value, bool) else "[HIDDEN]"
    if isinstance(value, dict):
        return {key: oracle(inner, key) for key, inner in cast("dict[str, object]", value).items()}
    return [oracle(inner) for inner in cast("list[object]", value)] if isinstance(value, list) else value


@settings(max_examples=300, deadline=None)
@given(values.filter(lambda value: isinstance(value, dict | list)), st.booleans())
def test_valid_json_stays_valid_and_is_the_same_when_nothing_is_found(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    policy = Policy()
    result = policy.json(text)

    assert result is not None
    json.loads(result)
    assert (result == text) == (not policy.seen)


@settings(max_examples=200, deadline=None)
@given(values.filter(lambda value: isinstance(value, dict | list)))
def test_hidden_members_are_those_of_the_decoded_document(value: object) -> None:
    text = json.dumps(value)
    result = mask_json(
        text.encode(), found_by(lambda *_: []), lambda *_: b"[HIDDEN]", lambda name, _: KeyVerdict.HIDE if name == b"token" else KeyVerdict.SCAN
    )

    assert result is not None
    assert without_nested(json.loads(result)) == without_nested(oracle(json.loads(text)))


def without_nested(value: object) -> object:
    """Strings that hold JSON are compared by other tests."""
    if isinstance(value, dict):
        return {key: without_nested(inner) for key, inner in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [without_nested(inner) for inner in cast("list[object]", value)]
    return "JSON" if isinstance(value, str) and value.strip()[:1] in {"{", "[", '"'} else repr(value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.lists(pieces, max_size=12).map(lambda parts: "".join(parts).encode()))
def test_any_bytes_are_masked_without_an_error(text: bytes) -> None:
    policy = Policy()

    mask_json(text, LOOK, policy.rewrite, policy.key)
    mask_text(text, LOOK, policy.rewrite)

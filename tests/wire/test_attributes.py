"""Attributes as bytes, held against the official KeyValue."""

from __future__ import annotations

import math

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from sidecar.wire import attributes, strict_pb2
from sidecar.wire.attributes import AttributeMemo, decode, find
from tests import spans
from tests.spans import Value
from tests.wire.strategies import texts, values


def official(key: str, value: Value) -> bytes:
    return KeyValue(key=key, value=spans.any_value(value)).SerializeToString()


@given(texts, st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_a_string_is_encoded_as_by_the_official_class(key: str, value: str) -> None:
    assert KeyValue.FromString(attributes.encode_string(key, value)) == KeyValue.FromString(official(key, value))


@given(texts, st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_an_integer_is_encoded_as_by_the_official_class(key: str, value: int) -> None:
    assert KeyValue.FromString(attributes.encode_int(key, value)) == KeyValue.FromString(official(key, value))


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_of_more_than_64_bits_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        attributes.encode_int("tokens", value)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, math.inf, -math.inf])
def test_a_double_is_encoded_as_by_the_official_class(value: float) -> None:
    assert attributes.encode_double("cost", value) == official("cost", value)


@pytest.mark.parametrize("value", [True, False])
def test_a_bool_keeps_its_presence_even_when_false(value: bool) -> None:
    assert attributes.encode_bool("stream", value) == official("stream", value)


@given(st.lists(texts, max_size=4))
@settings(max_examples=30, deadline=None)
def test_an_array_of_strings_is_encoded_as_by_the_official_class(items: list[str]) -> None:
    assert KeyValue.FromString(attributes.encode_string_array("tags", items)) == KeyValue.FromString(official("tags", items))


@given(texts, values)
@settings(max_examples=100, deadline=None)
def test_every_value_is_read_back_as_it_was_written(key: str, value: Value) -> None:
    assert decode(official(key, value)) == (key, value)


AROUND_A_LENGTH = [
    0,
    1,
    2,
    119,
    120,
    121,
    122,
    123,
    124,
    125,
    126,
    127,
    128,
    129,
    130,
    131,
    1290,
    1400,
    3080,
    3190,
    16_376,
    16_379,
    16_380,
    16_381,
    16_383,
    16_384,
    20_000,
]


@pytest.mark.parametrize("key", ["", "k", "k" * 126, "k" * 127, "k" * 128, "ключ"])
@pytest.mark.parametrize("size", AROUND_A_LENGTH)
def test_texts_of_every_length_are_read_as_they_were_written(key: str, size: int) -> None:
    for text in ("x" * size, "\u044f" * (size // 2)):
        assert decode(official(key, text)) == (key, text)


@given(st.sampled_from(["k", "a.key", "k" * 127]), st.one_of(st.sampled_from(AROUND_A_LENGTH).map("x".__mul__), st.integers(-1, 40_000)), st.data())
def test_what_is_read_without_the_parser_is_read_as_by_it(key: str, value: Value, data: st.DataObject) -> None:
    """Of attributes with some of their bytes changed, or cut short."""
    raw = bytearray(official(key, value))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, min(len(raw), 140) - 1))
        raw[at] = data.draw(st.sampled_from([0, 1, 2, 3, 0x0A, 0x10, 0x12, 0x18, 0x7F, 0x80, 0x81, 0xFF, raw[at] ^ 1]))
    raw = raw[: data.draw(st.sampled_from([len(raw), len(raw), len(raw) - 1, 5, 1, 0]))]

    assert read(bytes(raw)) == parsed(bytes(raw))


def read(raw: bytes) -> object:
    try:
        key, value = decode(raw)
    except ValueError:
        return None
    return key, value, type(value)


def parsed(raw: bytes) -> object:
    try:
        strict = strict_pb2.KeyValue.FromString(raw)
    except DecodeError:
        return None
    kind = strict.value.WhichOneof("value")
    if kind in ("array_value", "kvlist_value"):
        return read(raw)
    value = None if kind is None else getattr(strict.value, kind)
    return strict.key, value, type(value)


def test_a_bool_is_read_as_a_bool_and_not_as_an_integer() -> None:
    assert decode(official("stream", value=True))[1] is True


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff\x12\x00"], ids=["tag", "length", "utf8"])
def test_bytes_that_are_no_attribute_raise_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="KeyValue"):
        decode(raw)


def test_find_returns_the_first_attribute_of_that_key() -> None:
    entries = [official("a", 1), official("agent", "planner"), official("agent", "other")]
    assert find(entries, b"agent") == "planner"


def test_find_does_not_take_a_longer_key_for_a_match() -> None:
    assert find([official("agent.name", "planner")], b"agent") is None


def test_find_does_not_open_other_attributes() -> None:
    assert find([b"\xff\xff", official("agent", "planner")], b"agent") == "planner"


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=50, deadline=None)
def test_a_varint_takes_seven_bits_a_byte(number: int) -> None:
    encoded = attributes.varint(number)
    assert sum((byte & 127) << (7 * index) for index, byte in enumerate(encoded)) == number
    assert len(encoded) == max(1, -(-number.bit_length() // 7))


def test_the_memo_reads_as_decode_does() -> None:
    memo = AttributeMemo()
    raws = [official("a", 1), official("b", "two"), official("c", ["x"]), official("d", "long" * 100), official("e", ""), official("f", None)]
    for _ in range(3):
        assert memo.read(raws) == (dict(map(decode, raws)), [(raws[2], "c", ["x"]), (raws[5], "f", None)])


@given(st.lists(st.tuples(st.sampled_from(("a", "b", "k" * 200)), values), max_size=20))
@settings(max_examples=100, deadline=None)
def test_whatever_the_memo_has_seen_it_reads_as_decode_does(pairs: list[tuple[str, Value]]) -> None:
    memo = AttributeMemo(entries=4)
    for key, value in pairs:
        raw = official(key, value)
        expected = decode(raw)
        for _ in range(2):
            read, odd = memo.read([raw])
            assert repr(read) == repr(dict([expected]))  # NaN equals nothing
            assert len(odd) == (not attributes.is_plain(expected[1]))


def test_of_a_key_that_occurs_twice_the_memo_gives_the_last_value() -> None:
    assert AttributeMemo().read([official("a", "x" * 500), official("b", 1), official("a", 2)])[0] == {"a": 2, "b": 1}


def test_the_memo_gives_the_same_object_for_a_repeated_value() -> None:
    memo = AttributeMemo()
    first, again = (memo.read([official("a", "some text")])[0]["a"] for _ in range(2))
    assert first is again


def test_the_memo_never_hands_out_a_list_twice() -> None:
    memo = AttributeMemo()
    raw = official("tags", ["a"])
    assert memo.read([raw])[0]["tags"] is not memo.read([raw])[0]["tags"]


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"x", None, 2**53 + 1, -(2**53) - 1])
def test_the_memo_does_not_remember_what_is_not_plain(value: attributes.Value) -> None:
    memo = AttributeMemo()
    raw = official("key", value)

    assert memo.read([raw]) == ({"key": value}, [(raw, "key", value)])
    assert not attributes.is_plain(value)
    assert len(memo) == 0


@pytest.mark.parametrize("value", ["", "a", True, False, 0, 2**53, -(2**53), 1.5, math.inf])
def test_the_memo_remembers_what_is_plain(value: attributes.Value) -> None:
    memo = AttributeMemo()
    assert memo.read([official("key", value)]) == ({"key": value}, [])
    assert attributes.is_plain(value)
    assert len(memo) == 1


def test_the_memo_keeps_only_short_entries() -> None:
    memo = AttributeMemo(max_raw_bytes=16)
    for _ in range(2):
        assert memo.read([official("key", "x" * 17)])[0] == {"key": "x" * 17}
    assert len(memo) == 0


def test_the_memo_remembers_so_many_values_of_a_key_and_no_more() -> None:
    memo = AttributeMemo()
    raws = [official("tokens", number) for number in range(2 * attributes.MANY)]
    assert [memo.read([raw])[0] for raw in raws] == [{"tokens": number} for number in range(2 * attributes.MANY)]
    assert len(memo) == attributes.MANY
    memo.read([official("other", 1)])
    assert len(memo) == attributes.MANY + 1


def test_the_memo_knows_no_more_keys_than_its_bound() -> None:
    memo = AttributeMemo()
    for number in range(3 * attributes.MAX_KEYS):
        memo.read([official(f"key.{number}", "x" * 200)])
        assert len(memo._keys) <= attributes.MAX_KEYS


def test_the_memo_reads_entries_that_begin_with_no_key() -> None:
    memo = AttributeMemo()
    value_first = official("", "text")[2:] + official("key", None)[:5]
    for _ in range(2):
        assert memo.read([value_first])[0] == dict([decode(value_first)])
        assert memo.read([official("k" * 200, 1)])[0] == {"k" * 200: 1}


def test_the_memo_never_holds_more_than_its_entries() -> None:
    memo = AttributeMemo(entries=8)
    sizes = []
    for number in range(100):
        memo.read([official("n", number)])
        sizes.append(len(memo))
    assert max(sizes) == 8


def test_the_memo_keeps_what_is_used_and_drops_what_is_not() -> None:
    memo = AttributeMemo(entries=8)
    used, idle = official("used", "some text"), official("idle", "other text")
    memo.read([used, idle])
    for number in range(100):
        memo.read([official("n", number), used])
    kept = {*memo._young, *memo._old}
    assert (used in kept, idle in kept) == (True, False)


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a", b"\x0a\x05", b"\x0a\x01\xff\x12\x03\x0a\x01a"])
def test_the_memo_passes_on_the_error_of_a_malformed_attribute(raw: bytes) -> None:
    with pytest.raises(ValueError, match="KeyValue"):
        AttributeMemo().read([raw])

"""Attributes as bytes: one serialized KeyValue each, made, found and read without opening the others.

Owns the encoding of KeyValue and AnyValue. It must not know what any key means.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from google.protobuf.message import DecodeError

from sidecar.wire.strict_pb2 import AnyValue, KeyValue

Value: TypeAlias = "str | bool | int | float | bytes | list[Value] | dict[str, Value] | None"
"""What an attribute holds; None is a value that is present but empty."""

# Tags of the encoding: field number << 3 | wire type (0 varint, 1 fixed 64 bits, 2 length-delimited).
KEY = b"\x0a"
VALUE = b"\x12"
_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST, _BYTES = b"\x0a", b"\x10", b"\x18", b"\x21", b"\x2a", b"\x32", b"\x3a"
_ONE_BYTE = tuple(bytes((number,)) for number in range(128))
_DOUBLE_LE = struct.Struct("<d")
_UINT64 = 1 << 64
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


def varint(number: int) -> bytes:
    """A non-negative integer as a protobuf varint."""
    if number < 128:
        return _ONE_BYTE[number]
    if number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def delimited(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field: ``tag``, length, payload."""
    return b"%b%b%b" % (tag, varint(len(payload)), payload)


def _pair(key: str, any_value: bytes) -> bytes:
    return delimited(KEY, key.encode()) + delimited(VALUE, any_value)


def encode_string(key: str, value: str) -> bytes:
    """A KeyValue that holds a string. Both must be encodable as UTF-8 (no lone surrogates)."""
    return _pair(key, any_string(value.encode()))


def encode_int(key: str, value: int) -> bytes:
    """A KeyValue that holds a 64-bit integer; raises ValueError when it needs more bits."""
    return _pair(key, any_int(value))


def encode_double(key: str, value: float) -> bytes:
    """A KeyValue that holds a double."""
    return _pair(key, any_double(value))


def encode_bool(key: str, value: bool) -> bytes:
    """A KeyValue that holds a bool."""
    return _pair(key, any_bool(value))


def encode_string_array(key: str, values: Sequence[str]) -> bytes:
    """A KeyValue that holds an array of strings."""
    return _pair(key, any_array([any_string(value.encode()) for value in values]))


def any_string(value: bytes) -> bytes:
    """An AnyValue that holds a string, given as UTF-8."""
    return delimited(_STRING, value)


def any_bool(value: bool) -> bytes:
    """An AnyValue that holds a bool. Written even when false: a oneof's member has presence."""
    return _BOOL + _ONE_BYTE[value]


def any_int(value: int) -> bytes:
    """An AnyValue that holds an int64: negative numbers are two's complement in ten bytes."""
    if not INT64_MIN <= value <= INT64_MAX:
        raise ValueError("the integer needs more than 64 bits")
    return _INT + varint(value if value >= 0 else value + _UINT64)


def any_double(value: float) -> bytes:
    """An AnyValue that holds a double."""
    return _DOUBLE + _DOUBLE_LE.pack(value)


def any_bytes(value: bytes) -> bytes:
    """An AnyValue that holds bytes."""
    return delimited(_BYTES, value)


def any_array(items: Iterable[bytes]) -> bytes:
    """An AnyValue that holds an array of AnyValues, each given serialized."""
    return delimited(_ARRAY, b"".join([delimited(b"\x0a", item) for item in items]))


def any_kvlist(pairs: Iterable[bytes]) -> bytes:
    """An AnyValue that holds KeyValues, each given serialized."""
    return delimited(_KVLIST, b"".join([delimited(b"\x0a", pair) for pair in pairs]))


def decode(raw: bytes) -> tuple[str, Value]:
    """The key and the value of a serialized KeyValue.

    Raises ValueError when ``raw`` is not one, holds invalid UTF-8 or nests deeper than protobuf's
    limit of 100 messages; none of these is left after ``mend``.

    Nearly all entries are a key and then a simple value, as every known encoder writes them: read without the parser, in half the time.
    """
    try:
        at = raw[1] + 2
        if raw[0] == 0x0A and at < 130 and (value := _simple(raw, at)) is not None:
            return raw[2:at].decode(), value
    except (IndexError, UnicodeDecodeError):
        pass  # no attribute at all: the parser says so
    return _parse(raw)


def _simple(raw: bytes, at: int) -> str | int | None:
    """The value that begins at ``at`` and ends with ``raw``: a string below 16 KiB or an integer of 0 to 16,383; None for any other.

    Every length is checked, so that the parser would read the same.
    """
    try:
        size, tag, rest = raw[at + 1], raw[at + 2], len(raw) - at
        if raw[at] != 0x12:
            return None
        if size >= 0x80:  # a string whose length, like that of the value around it, takes two bytes
            low, high = raw[at + 4], raw[at + 5]
            lengths_fit = tag < 0x80 <= low and high < 0x80 and size + (tag << 7) == rest + 125 and low + (high << 7) == rest + 122
            if lengths_fit and raw[at + 3] == 0x0A:
                return raw[at + 6 :].decode()
        elif tag == 0x0A:  # a string of at most 125 bytes
            if size + 2 == rest and raw[at + 3] + 2 == size:
                return raw[at + 4 :].decode()
        elif tag == 0x18:
            if size == 2 and rest == 4 and raw[at + 3] < 0x80:
                return raw[at + 3]
            if size == 3 and rest == 5 and raw[at + 3] >= 0x80 > raw[at + 4]:
                return raw[at + 3] & 0x7F | raw[at + 4] << 7
    except (IndexError, UnicodeDecodeError):
        pass  # shorter than any of them, or no attribute at all: the parser knows
    return None


def _parse(raw: bytes) -> tuple[str, Value]:
    try:
        pair = KeyValue.FromString(raw)
    except DecodeError as error:
        raise ValueError("not a KeyValue of OTLP") from error
    value = pair.value
    # Most values are strings, then integers: asking for them first saves a third.
    return pair.key, value.string_value or value.int_value or _value(value)


def find(attributes: Iterable[bytes], key: bytes) -> Value | None:
    """The value of the first attribute whose key (UTF-8) is ``key``; None when there is none or it is empty.

    Looks only at entries that begin with their key, as every known encoder writes them. Raises
    ValueError when that attribute can't be read.
    """
    prefix = delimited(KEY, key)
    for raw in attributes:
        if raw.startswith(prefix):
            return decode(raw)[1]
    return None


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    scalar: str | bool | int | float | bytes = getattr(value, kind)
    return scalar


MAX_SHORT = 128
"""Bytes of an entry up to which it is looked up in the memo: hashing a longer one costs as much as decoding it."""
MANY = 256
"""Values of one key that are remembered."""
MAX_KEYS = 1024
"""Keys that are known."""

EXACT_IN_A_DOUBLE = 1 << 53
"""Integers up to here are the same number for readers whose only numbers are doubles."""


def is_plain(value: Value) -> bool:
    """Whether a value is a string, a bool or a number that every reader of JSON reads as it is."""
    kind = value.__class__
    return kind is str or kind is float or kind is bool or (kind is int and -EXACT_IN_A_DOUBLE <= value <= EXACT_IN_A_DOUBLE)  # type: ignore[operator]  # mypy does not narrow by class


class _Key:
    """What is known of a key."""

    __slots__ = ("name", "room")

    def __init__(self, name: str) -> None:
        self.name = name
        self.room = MANY
        """How many of its values may still be remembered."""


class AttributeMemo:
    """Reads attributes, and remembers the key and value of short ones, because most of them repeat endlessly.

    Two generations of ``entries / 2`` each: when the young one is full it becomes the old one, and
    what was not used since is dropped. Bound: 4096 entries x (128 raw + about 430 bytes of Python
    objects) = 2.2 MiB. Only short entries and only what ``is_plain``: keys and values are chosen by
    users, and a list handed out twice could be changed by one of its readers.

    Of each key only the first ``MANY`` values are remembered: token counts and ids of answers are new each time, and to remember one costs
    twice as much as to read it. Bound: ``MAX_KEYS`` keys x about 400 bytes = 0.4 MiB; when there are more, all begin anew.
    """

    def __init__(self, entries: int = 4096, max_raw_bytes: int = MAX_SHORT) -> None:
        self._half = max(1, entries // 2)
        self._max_raw_bytes = max_raw_bytes
        self._young: dict[bytes, tuple[str, Value]] = {}
        self._old: dict[bytes, tuple[str, Value]] = {}
        self._keys: dict[bytes, _Key] = {}
        """By how an entry begins: with its key, as every known encoder writes it."""

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def read(self, attributes: Iterable[bytes]) -> tuple[dict[str, Value], list[tuple[bytes, str, Value]]]:
        """The values by key, of a key that occurs twice the last; and what is not plain, serialized and with its key and value.

        Raises ValueError as ``decode`` does.
        """
        values: dict[str, Value] = {}
        odd: list[tuple[bytes, str, Value]] = []
        known, known_key, max_raw_bytes = self._young.get, self._keys.get, self._max_raw_bytes
        for raw in attributes:
            is_short = len(raw) <= max_raw_bytes
            if is_short and (pair := known(raw)) is not None:
                name, value = pair
                values[name] = value
                continue
            head = raw[: raw[1] + 2] if len(raw) > 1 else raw
            key = known_key(head)
            if key is not None and (value := _simple(raw, len(head))) is not None:
                values[key.name] = value
                if not is_short or not key.room:
                    continue
                pair = key.name, value
            else:
                pair = decode(raw)
                values[pair[0]] = pair[1]
                if pair[1].__class__ is not str and not is_plain(pair[1]):
                    odd.append((raw, *pair))
                    continue
                key = key or self._new_key(head, pair[0])
                if not is_short or not key.room:
                    continue
            self._remember(raw, pair, key)
            known = self._young.get  # it may have begun anew
        return values, odd

    def _new_key(self, head: bytes, name: str) -> _Key:
        key = _Key(name)
        if head == delimited(KEY, name.encode()) and len(head) < 130:
            if len(self._keys) >= MAX_KEYS:
                self._keys.clear()
            self._keys[head] = key
        return key

    def _remember(self, raw: bytes, pair: tuple[str, Value], key: _Key) -> None:
        if self._old.pop(raw, None) is None:
            key.room -= 1
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[raw] = pair

"""OTLP/JSON values to bytes: numbers, ids, base64 and attributes.

Owns the reading of single values out of parsed JSON. It must raise nothing but ``Fault``, whatever
it is given, and never put a value into a message.

Rules: OTLP specification, "JSON Protobuf Encoding" (ids in hex of either case, enums as integers,
unknown keys ignored), and protobuf's JSON mapping for the rest (null is absent, 64-bit integers as
strings or numbers, NaN and infinities as strings, base64 standard or URL-safe, padded or not).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeAlias

from sidecar.wire import attributes as wire
from sidecar.wire.mend import Mend

Json: TypeAlias = "str | bool | int | float | list[Json] | dict[str, Json] | None"
"""What a JSON parser returns."""
Object: TypeAlias = dict[str, Json]

MAX_VALUE_LEVELS = 93
"""Messages below an attribute's value. Protobuf's limit is 100, and the value of an event's attribute is the seventh."""

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?")
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_URL_SAFE = str.maketrans("-_", "+/")


class Fault(ValueError):
    """A value that its place does not allow; ``path`` leads to it, ``text`` says what is wrong, never what it is."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path} {text}" if path else text)
        self.path = path
        self.text = text


def object_at(parent: Object, key: str, path: str) -> Object:
    """The object under ``key``; empty when it is absent."""
    value = parent.get(key)
    if value is None:
        return {}
    return as_object(value, f"{path}.{key}" if path else key)


def as_object(value: Json, path: str) -> Object:
    """``value``, which must be an object."""
    if not isinstance(value, dict):
        raise Fault(path, "is not an object")
    return value


def list_at(parent: Object, key: str, path: str) -> list[Json]:
    """The list under ``key``; empty when it is absent."""
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Fault(f"{path}.{key}" if path else key, "is not a list")
    return value


def integer_at(parent: Object, key: str, low: int, high: int, path: str) -> int:
    """The integer under ``key``, a number or a string of digits; 0 when it is absent."""
    value = parent.get(key)
    if value is None:
        return 0
    number = _integer(value)
    if number is None or not low <= number <= high:
        raise Fault(f"{path}.{key}", "is not an integer that fits its type")
    return number


def enum_at(parent: Object, key: str, path: str) -> int:
    """The integer under ``key``. Names of enum values are refused: the specification says that they must not be used."""
    if isinstance(parent.get(key), str):
        raise Fault(f"{path}.{key}", "is a string; OTLP/JSON wants the enum's integer")
    return integer_at(parent, key, -(1 << 31), (1 << 31) - 1, path)


def id_at(parent: Object, key: str, path: str) -> bytes:
    """The bytes of the hex string under ``key``; empty when it is absent. The length is not judged here."""
    value = parent.get(key)
    if value is None:
        return b""
    if isinstance(value, str):
        try:
            raw = bytes.fromhex(value)
        except ValueError:
            raw = b""
        if 2 * len(raw) == len(value):  # fromhex skips blanks
            return raw
    raise Fault(f"{path}.{key}", "is not a hex string; OTLP/JSON writes ids in hex, not in base64")


class Values:
    """Reads strings and attributes, and counts in ``mends`` what had to be mended."""

    def __init__(self, mends: Counter[str]) -> None:
        self._mends = mends

    def text_at(self, parent: Object, key: str, path: str) -> bytes:
        """The string under ``key`` as UTF-8; empty when it is absent."""
        value = parent.get(key)
        if value is None:
            return b""
        if not isinstance(value, str):
            raise Fault(f"{path}.{key}", "is not a string")
        return self._utf8(value)

    def attributes_at(self, parent: Object, path: str) -> list[bytes]:
        """The KeyValues under ``attributes``. One that has no value or can't be read is dropped and counted, as in protobuf."""
        return list(self._key_values(list_at(parent, "attributes", path), MAX_VALUE_LEVELS, drop_unreadable=True))

    def _key_values(self, items: list[Json], levels: int, *, drop_unreadable: bool) -> Iterator[bytes]:
        for item in items:
            try:
                pair = as_object(item, "")
                value = pair.get("value")
                if value is None:
                    self._mends[Mend.NO_VALUE] += 1
                    continue
                key = self.text_at(pair, "key", "")
                encoded = self._any_value(as_object(value, ""), levels)
            except Fault:
                if not drop_unreadable:
                    raise
                self._mends[Mend.UNREADABLE] += 1
                continue
            yield wire.delimited(wire.KEY, key) + wire.delimited(wire.VALUE, encoded)

    def _any_value(self, value: Object, levels: int) -> bytes:
        if levels < 0:
            raise Fault("", "nests too deeply")
        members = [(key, member) for key, member in value.items() if member is not None and key in _MEMBERS]
        if not members:
            return b""
        if len(members) > 1:
            raise Fault("", "has more than one value")
        key, member = members[0]
        return _MEMBERS[key](self, member, levels)

    def _string(self, value: Json, _levels: int) -> bytes:
        if not isinstance(value, str):
            raise Fault("", "is not a string")
        return wire.any_string(self._utf8(value))

    def _bool(self, value: Json, _levels: int) -> bytes:
        if not isinstance(value, bool):
            raise Fault("", "is not a bool")
        return wire.any_bool(value)

    def _int(self, value: Json, _levels: int) -> bytes:
        number = _integer(value)
        if number is None or not wire.INT64_MIN <= number <= wire.INT64_MAX:
            raise Fault("", "is not a 64-bit integer")
        return wire.any_int(number)

    def _double(self, value: Json, _levels: int) -> bytes:
        if isinstance(value, str):
            if value in _NOT_FINITE:
                return wire.any_double(_NOT_FINITE[value])
            if _NUMBER.fullmatch(value):
                return wire.any_double(float(value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return wire.any_double(float(value))
            except OverflowError:
                pass
        raise Fault("", "is not a double")

    def _bytes(self, value: Json, _levels: int) -> bytes:
        if isinstance(value, str):
            text = value.translate(_URL_SAFE).rstrip("=")
            try:
                return wire.any_bytes(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
            except (binascii.Error, ValueError):
                pass
        raise Fault("", "is not base64")

    def _array(self, value: Json, levels: int) -> bytes:
        items = list_at(as_object(value, ""), "values", "")
        return wire.any_array([self._any_value(as_object({} if item is None else item, ""), levels - 2) for item in items])

    def _kvlist(self, value: Json, levels: int) -> bytes:
        pairs = list_at(as_object(value, ""), "values", "")
        return wire.any_kvlist(list(self._key_values(pairs, levels - 3, drop_unreadable=False)))

    def _utf8(self, value: str) -> bytes:
        try:
            return value.encode()
        except UnicodeEncodeError:  # a lone surrogate, which JSON can write and UTF-8 can't
            self._mends[Mend.INVALID_UTF8] += 1
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


_MEMBERS: dict[str, Callable[[Values, Json, int], bytes]] = {
    "stringValue": Values._string,  # noqa: SLF001  (the class's own table)
    "boolValue": Values._bool,  # noqa: SLF001
    "intValue": Values._int,  # noqa: SLF001
    "doubleValue": Values._double,  # noqa: SLF001
    "arrayValue": Values._array,  # noqa: SLF001
    "kvlistValue": Values._kvlist,  # noqa: SLF001
    "bytesValue": Values._bytes,  # noqa: SLF001
}


def _integer(value: Json) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return None

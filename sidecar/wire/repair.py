"""The nearest readable form of an attribute that the strict schema refuses. The rare path.

Owns a walk over the encoding of KeyValue and AnyValue that replaces invalid UTF-8 and leaves out
pairs without a value. It must not be used on attributes that parse: parsing them in C is far faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.wire.attributes import KEY, VALUE, delimited

MAX_LEVELS = 100
"""Protobuf's own limit of nested messages; three Python frames a level stay far below the interpreter's limit."""

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10


class Unreadable(ValueError):
    """These bytes are no KeyValue, or nest too deeply."""


class WithoutValue(ValueError):
    """A KeyValue that has no value."""


def utf8(raw: bytes) -> bytes:
    """``raw`` with every invalid sequence replaced by U+FFFD; valid UTF-8 comes back as it is."""
    return raw.decode("utf-8", "replace").encode()


@dataclass(slots=True)
class Repair:
    """The repair of one attribute, and what it came across."""

    invalid_utf8: bool = False
    without_value: bool = False
    """A pair inside the value has no value and was left out."""

    def key_value(self, raw: bytes, levels: int = MAX_LEVELS) -> bytes:
        """A KeyValue as the strict schema takes it; raises Unreadable or WithoutValue."""
        out, has_value = [], False
        for number, wire_type, payload, whole in fields(raw):
            if wire_type == _DELIMITED and number == 1:
                out.append(delimited(KEY, self._utf8(payload)))
            elif wire_type == _DELIMITED and number == 2:
                out.append(delimited(VALUE, self._any_value(payload, levels - 1)))
                has_value = True
            else:
                out.append(whole)
        if not has_value:
            raise WithoutValue
        return b"".join(out)

    def _any_value(self, raw: bytes, levels: int) -> bytes:
        if levels <= 0:
            raise Unreadable
        out = []
        for number, wire_type, payload, whole in fields(raw):
            if wire_type != _DELIMITED:
                out.append(whole)
            elif number == 1:
                out.append(delimited(b"\x0a", self._utf8(payload)))
            elif number == 5:
                out.append(delimited(b"\x2a", self._array(payload, levels - 1)))
            elif number == 6:
                out.append(delimited(b"\x32", self._kvlist(payload, levels - 1)))
            else:
                out.append(whole)
        return b"".join(out)

    def _array(self, raw: bytes, levels: int) -> bytes:
        return b"".join(
            delimited(b"\x0a", self._any_value(payload, levels - 1)) if (number, wire_type) == (1, _DELIMITED) else whole
            for number, wire_type, payload, whole in fields(raw)
        )

    def _kvlist(self, raw: bytes, levels: int) -> bytes:
        out = []
        for number, wire_type, payload, whole in fields(raw):
            if (number, wire_type) != (1, _DELIMITED):
                out.append(whole)
                continue
            try:
                out.append(delimited(b"\x0a", self.key_value(payload, levels - 1)))
            except WithoutValue:
                self.without_value = True
        return b"".join(out)

    def _utf8(self, raw: bytes) -> bytes:
        mended = utf8(raw)
        self.invalid_utf8 |= mended != raw
        return mended


def fields(raw: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """(field number, wire type, payload, the whole field) of each field; groups, long gone from OTLP, are unreadable."""
    at = 0
    while at < len(raw):
        start = at
        tag, at = _varint(raw, at)
        number, wire_type = tag >> 3, tag & 7
        payload_at = at
        if wire_type == _VARINT:
            _, at = _varint(raw, at)
        elif wire_type == _DELIMITED:
            length, payload_at = _varint(raw, at)
            at = payload_at + length
        elif wire_type in _FIXED_BYTES:
            at += _FIXED_BYTES[wire_type]
        else:
            raise Unreadable
        if number == 0 or at > len(raw):
            raise Unreadable
        yield number, wire_type, raw[payload_at:at], raw[start:at]


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    number = 0
    for index, byte in enumerate(raw[at : at + _MAX_VARINT_BYTES]):
        number |= (byte & 127) << (7 * index)
        if byte < 128:
            return number, at + index + 1
    raise Unreadable

"""Structured attribute values as plain ones. Pure.

Langfuse's server shows a key-value list, bytes, an empty value and an empty array as a piece of OTLP/JSON, and rounds an
integer above 2^53. So they become JSON strings, or digits. Owns that conversion. It must not know what any key means.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, MutableSequence

import msgspec

from sidecar.enrich.media import MIN_BYTES, describe_bytes
from sidecar.wire.attributes import Value, decode, encode_string

SHORT = 128
"""Bytes of an entry up to which the tag of its value is at a fixed distance from its key's end."""
_ARRAY, _KVLIST, _BYTES, _INT = 0x2A, 0x32, 0x3A, 0x18
_ODD = frozenset({_ARRAY, _KVLIST, _BYTES, _INT})
_INT_BYTES = 9
"""Of an AnyValue with an integer from 2^49 on: its tag and eight bytes of seven bits."""
_SUSPECT = frozenset(
    [b"\x00"]
    + [bytes((size, tag)) for size in range(SHORT) for tag in (_ARRAY, _KVLIST, _BYTES)]
    + [bytes((size, _INT)) for size in range(_INT_BYTES, SHORT)]
)
"""Length and first byte of an AnyValue that needs a look; an empty one has a length only."""
_EXACT_IN_A_DOUBLE = 1 << 53


def to_json(value: Value) -> str:
    """A value as JSON. Bytes become text where they are, a descriptor where they are long, else base64."""
    return msgspec.json.encode(_printable(value)).decode()


def odd_attributes(attributes: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    """The serialized KeyValues that the server would spoil, each with what to send instead: None says nothing at all.

    Looks at the first byte of each value only, so it costs 0.1 us where nothing is wrong. Raises nothing on mended attributes.
    """
    suspects = [raw for raw in attributes if len(raw) > SHORT or raw[raw[1] + 3 : raw[1] + 5] in _SUSPECT]
    for raw in suspects:
        tag = _tag(raw)
        if tag is None or tag in _ODD:
            plain = _plain(raw)
            if plain is not raw:
                yield raw, plain


def flatten(attributes: MutableSequence[bytes]) -> int:
    """Make the attributes of a resource or a scope plain, in place; how many had to be changed."""
    changed = dict(odd_attributes(attributes))
    if changed:
        attributes[:] = [new for new in (changed.get(raw, raw) for raw in list(attributes)) if new is not None]
    return len(changed)


def _tag(raw: bytes) -> int | None:
    """The first byte of the AnyValue: its field and type."""
    at = 1
    if raw[at] >= SHORT:  # a key of 128 to 16,383 bytes
        length = (raw[at] & 127) + (raw[at + 1] << 7)
        at += 1
        if raw[at] >= SHORT:
            return _ARRAY  # a longer one: have it looked at
    else:
        length = raw[at]
    at += length + 2
    while at < len(raw) and raw[at] >= SHORT:
        at += 1
    at += 1
    return raw[at] if at < len(raw) else None


def _plain(raw: bytes) -> bytes | None:
    key, value = decode(raw)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return raw if abs(value) <= _EXACT_IN_A_DOUBLE else encode_string(key, str(value))
    if isinstance(value, bytes | dict) or (isinstance(value, list) and (not value or not all(isinstance(item, str | int | float) for item in value))):
        return encode_string(key, _text(value))
    return raw


def _text(value: Value) -> str:
    printable = _printable(value)
    return printable if isinstance(printable, str) else to_json(value)


def _printable(value: Value) -> object:
    """A value of what JSON knows."""
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    return value


def _bytes(value: bytes) -> str:
    if len(value) >= MIN_BYTES and (described := describe_bytes(value)) is not None:
        return described
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
    return base64.b64encode(value).decode() if "\x00" in text else text

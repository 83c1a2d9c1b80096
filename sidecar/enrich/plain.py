"""Structured attribute values as plain ones. Pure.

Langfuse's server shows a key-value list, bytes, an empty value and an empty array as a piece of OTLP/JSON, and rounds an
integer above 2^53. So they become JSON strings, or digits. Owns that conversion. It must not know what any key means.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, MutableSequence

import msgspec

from sidecar.enrich.media import describe_bytes
from sidecar.enrich.view import AttributeView
from sidecar.wire.attributes import AttributeMemo, Value, encode_string


def to_json(value: Value) -> str:
    """A value as JSON. Bytes become text where they are, a descriptor where they are long, else base64."""
    return msgspec.json.encode(_printable(value)).decode()


def plain_entries(odd: Iterable[tuple[bytes, str, Value]]) -> Iterator[tuple[bytes, bytes | None]]:
    """Of a view's ``odd`` attributes those that the server would spoil: serialized, with what to send instead; None says nothing at all."""
    for raw, key, value in odd:
        if value is None:
            yield raw, None
        elif isinstance(value, int):
            yield raw, encode_string(key, str(value))
        elif not isinstance(value, list) or not value or not all(isinstance(item, str | int | float) for item in value):
            yield raw, encode_string(key, _text(value))


def flatten(attributes: MutableSequence[bytes], memo: AttributeMemo) -> int:
    """Make the attributes of a resource or a scope plain, in place; how many had to be changed."""
    changed = dict(plain_entries(AttributeView(attributes, memo).odd))
    if changed:
        attributes[:] = [new for new in (changed.get(raw, raw) for raw in list(attributes)) if new is not None]
    return len(changed)


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
    described = describe_bytes(value)
    if described is not None:
        return described
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
    return base64.b64encode(value).decode() if "\x00" in text else text

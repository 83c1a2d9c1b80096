"""The changes that shaping makes to one span, collected and then applied in one pass over its attributes. Pure.

Owns adding, replacing, renaming and removing attributes by key. Of what a key means it knows only which others say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache

from sidecar.enrich.keys import ALIASES
from sidecar.enrich.traits import traits_of
from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import KEY, VALUE, any_string, delimited, encode_int
from sidecar.wire.shallow_pb2 import Span

_SHORT_KEY = 128
"""Bytes of a key from which its length takes two bytes."""
_SHORT_VALUE = 126
"""Bytes of a string below which its lengths take one byte each."""


def encode_text(key: str, text: str) -> bytes:
    """A serialized KeyValue. Lone surrogates, which JSON can carry and UTF-8 can't, become question marks."""
    try:
        value = text.encode()
    except UnicodeEncodeError:
        value = text.encode(errors="replace")
    return encode_utf8(key, value)


def encode_utf8(key: str, value: bytes) -> bytes:
    """As ``encode_text``, of what is UTF-8 already."""
    head = _head(key) if len(key) < _SHORT_KEY else delimited(KEY, key.encode(errors="replace"))
    size = len(value)
    if size < _SHORT_VALUE:
        return b"%b\x12%c\x0a%c%b" % (head, size + 2, size, value)  # three times as fast as the general way
    return head + delimited(VALUE, any_string(value))


@lru_cache(maxsize=1024)  # 1024 x 0.5 KB: short keys only
def _head(key: str) -> bytes:
    return delimited(KEY, key.encode(errors="replace"))


def encode_all(attributes: Mapping[str, str]) -> dict[str, bytes]:
    """Attributes as an edit takes them, to be encoded once where many spans get the same."""
    return {key: encode_text(key, text) for key, text in attributes.items()}


class Edit:
    """What is to change, over what the view shows. A key that is set again replaces what was there."""

    __slots__ = ("_added", "_keys", "_removed", "_replaced", "media", "traits", "view")

    def __init__(self, view: SpanView) -> None:
        self.view = view
        self.media = 0
        """Binary data in the span's attributes that became descriptors."""
        self.traits = view.traits or traits_of(view.keys)
        self._keys = view.keys
        self._added: dict[str, bytes] = {}
        self._removed: dict[str, None] = {}
        self._replaced: dict[bytes, bytes | None] = {}

    @property
    def added(self) -> tuple[str, ...]:
        """Keys that were set, in order."""
        return tuple(self._added)

    def adds_any(self, keys: AbstractSet[str]) -> bool:
        """Whether any of these keys was set."""
        return not self._added.keys().isdisjoint(keys)

    @property
    def removed(self) -> tuple[str, ...]:
        """Keys that the span had and will not have."""
        return tuple(key for key in self._removed if key not in self._added)

    def has(self, key: str) -> bool:
        """Whether the span will have the key, as far as is known now."""
        return key in self._added or (key in self._keys and key not in self._removed)

    def has_any(self, keys: tuple[str, ...]) -> bool:
        for key in keys:  # noqa: SIM110  (a generator costs twice as much)
            if key in self._added or (key in self._keys and key not in self._removed):
                return True
        return False

    def put(self, key: str, text: str) -> None:
        """Set a string."""
        self.put_raw(key, encode_text(key, text))

    def put_int(self, key: str, number: int) -> None:
        """Set an integer of at most 64 bits."""
        self.put_raw(key, encode_int(key, number))

    def put_raw(self, key: str, raw: bytes) -> None:
        """Set a serialized KeyValue whose key is ``key``."""
        if key in self._keys:
            self._removed[key] = None
        self._added[key] = raw

    def fill(self, attributes: Mapping[str, bytes]) -> None:
        """Set serialized KeyValues by key, each unless the span will have the key, or another that says the same, anyway."""
        if attributes.keys().isdisjoint(self._keys) and attributes.keys().isdisjoint(ALIASES):
            added = self._added
            for key, raw in attributes.items():
                added.setdefault(key, raw)
            return
        for key, raw in attributes.items():
            if not self.has_any(ALIASES.get(key) or (key,)):
                self.put_raw(key, raw)

    def remove(self, key: str) -> None:
        """The span will not have the key."""
        self._added.pop(key, None)
        if key in self._keys:
            self._removed[key] = None

    def replace_raw(self, raw: bytes, by: bytes | None) -> None:
        """Put one serialized attribute in place of another, or nothing; unless its key is set or removed."""
        self._replaced[raw] = by

    def apply(self, span: Span) -> None:
        """Change the span. Removal finds a key where every known encoder writes it, at the front of its entry."""
        attributes = span.attributes
        if self._removed or self._replaced:
            heads = {delimited(KEY, key.encode()) for key in self._removed}
            long_heads = tuple(head for head in heads if len(head) > _SHORT_KEY)
            kept = [raw for raw in attributes if raw[: raw[1] + 2] not in heads]
            if long_heads:
                kept = [raw for raw in kept if not raw.startswith(long_heads)]
            if self._replaced:
                replaced = self._replaced
                kept = [new for new in (replaced.get(raw, raw) for raw in kept) if new is not None]
            del attributes[:]
            attributes.extend(kept)
        attributes.extend(self._added.values())

"""Every place of an attribute in which text can stand: its key, values of every type, nested ones, and what hides in its encoding. Pure.

Owns the walk over the encoding of KeyValue and AnyValue. It must not know detectors, spans or what a policy says.

Most attributes are strings that end where their entry ends: their text is cut out of the entry and scanned, nothing is decoded. Everything else is parsed
and serialized again, so that what is written is what was read: no second value, no field that nobody knows.
"""

from __future__ import annotations

import math
from dataclasses import replace

from google.protobuf.message import DecodeError

from sidecar.mask.actions import Action
from sidecar.mask.audit import Tally, is_audit
from sidecar.mask.json_text import ROOT, Path
from sidecar.mask.keys import KeyVerdict
from sidecar.mask.masker import FAILED, Masker, Place
from sidecar.mask.memo import ENTRY_BYTES_MAX, Key, Memo
from sidecar.mask.policy import Scope
from sidecar.mask.turns import Turns
from sidecar.mask.windows import WorkLimit
from sidecar.wire.attributes import KEY, VALUE, any_string, delimited
from sidecar.wire.strict_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

KEY_PLACE = "attribute.key"
"""The name under which policies see keys themselves."""
NODES_MAX = 8192
"""Values inside of one attribute that are scanned: 16 ms. Doubles that are no whole numbers are free, because embeddings have thousands."""
GUARD_BYTES = 16 * 1024
"""Larger entries with many values are searched once as they are, for the work limit of a single text; each value alone would have one of its own."""
ENTRY_COST, KNOWN_COST = 192, 16
"""Work on an entry beside its text, in bytes of clean text."""
_FRACTION_MAX = 1e6
"""Doubles that are no whole numbers and smaller than this are no sensitive numbers: probabilities, embeddings, costs."""
_DOUBLE_DIGITS_MAX = 1e22
"""Whole doubles below are written with all their digits."""
_KEY_TAG, _VALUE_TAG, _STRING_TAG = KEY[0], VALUE[0], 0x0A
_CONTAINERS = {"array_value", "kvlist_value"}


class Entries:
    """Masks attribute lists of one policy. Raises nothing that has to do with what is in them."""

    def __init__(self, masker: Masker) -> None:
        self.masker = masker
        self.memo = Memo()

    def one(self, raw: bytes, scope: Scope, tally: Tally) -> bytes | None:
        """An entry as it may leave the process, itself when it stays; None when it goes."""
        tally.cost += ENTRY_COST
        short = len(raw) <= ENTRY_BYTES_MAX
        if (short and self.memo.is_clean(scope, raw)) or is_audit(raw):
            return raw
        try:
            masked = self._masked(raw, scope, tally)
        except Exception:  # noqa: BLE001 - whatever it is, the entry must not pass; and its text may quote the entry
            tally.failed("error")
            return None
        if short and masked is raw:
            self.memo.add_clean(scope, raw)
        return masked

    def in_turns(self, raw: bytes, scope: Scope, tally: Tally) -> Turns[bytes | None]:
        """The same with pauses, for a long entry, where its value is one string."""
        found = _string(raw)
        if found is None or is_audit(raw):
            return self.one(raw, scope, tally)
        tally.cost += ENTRY_COST
        name, text = found
        try:
            key = self.key(name, scope, tally)
            return _written(raw, name, key, text, (yield from self.masker.in_turns(text, key.place, tally)))
        except Exception:  # noqa: BLE001 - as above
            tally.failed("error")
            return None

    def _masked(self, raw: bytes, scope: Scope, tally: Tally) -> bytes | None:
        found = _string(raw)
        if found is None:
            return self._parsed(raw, scope, tally)
        name, text = found
        key = self.key(name, scope, tally)
        return _written(raw, name, key, text, self.masker.text(text, key.place, tally))

    def key(self, name: bytes, scope: Scope, tally: Tally) -> Key:
        """What is known of a key, given as UTF-8."""
        key = self.memo.key(scope, name)
        if key is None:
            masked = self.masker.text(name, Place(scope, KEY_PLACE, KeyVerdict("scan"), b""), tally)
            shown, said = self.masker.unlabelled(masked or b""), self.masker.unlabelled(name)
            text = shown.decode("utf-8", "replace")
            verdict = scope.key(text)
            if shown != said:  # what either name says counts, as far as it hides more
                verdict = max(scope.key(said.decode("utf-8", "replace")), verdict, key=_hides)
            key = Key(Place(scope, text, verdict, shown, _before(shown)), None if masked is name else masked or b"")
            if len(name) <= ENTRY_BYTES_MAX and key.masked is None:
                self.memo.add_key(scope, name, key)
        return key

    def _parsed(self, raw: bytes, scope: Scope, tally: Tally) -> bytes | None:
        """Any entry: parsed, masked, and serialized as it was understood."""
        try:
            pair = KeyValue.FromString(raw)
        except DecodeError:
            pair = KeyValue()
        if not pair.IsInitialized():
            tally.failed("unreadable")
            return None
        pair.DiscardUnknownFields()
        walk = _Walk(self.masker, self, scope, tally)
        try:
            if len(raw) > GUARD_BYTES:
                self.masker.engine.find(raw)
            if not walk.pair(pair):
                return None
        except WorkLimit as limit:
            tally.failed(limit.reason)
            pair.value.Clear()
            pair.value.string_value = FAILED.decode()
        masked = pair.SerializeToString()
        return raw if masked == raw else masked


def _hides(verdict: KeyVerdict) -> int:
    return ("keep", "scan", "mask").index(verdict.what)


def _before(name: bytes) -> bytes:
    """How a name stands before its value in JSON."""
    return b'"%b": "' % name


def _string(raw: bytes) -> tuple[bytes, bytes] | None:
    """Key and value of an entry that is a string to its end; None when it has to be parsed."""
    value_at = _value_at(raw)
    if value_at is None or raw[value_at] != _STRING_TAG:
        return None
    text_at = _payload_at(raw, value_at + 1)
    return None if text_at is None else (raw[2 : 2 + raw[1]], raw[text_at:])


def _written(raw: bytes, name: bytes, key: Key, text: bytes, masked: bytes | None) -> bytes | None:
    """The entry with the masked text, itself where nothing changed."""
    if masked is text and key.masked is None:
        return raw
    if masked is None:
        return None
    return delimited(KEY, name if key.masked is None else key.masked) + delimited(VALUE, any_string(masked))


def _value_at(raw: bytes) -> int | None:
    """Where the AnyValue of an entry begins, when the entry is a key of up to 127 bytes and then a value to its end; else None."""
    size = len(raw)
    if size < 4 or raw[0] != _KEY_TAG or raw[1] > 127:
        return None
    at = 2 + raw[1]
    if at + 3 > size or raw[at] != _VALUE_TAG:
        return None
    at_value = _payload_at(raw, at + 1)
    return at_value if at_value is not None and at_value < size else None


def _payload_at(raw: bytes, at: int) -> int | None:
    """Where a payload begins whose length stands at ``at`` in as few bytes as it needs, when it reaches to the end of the entry; else None."""
    size = len(raw)
    if at >= size:
        return None
    length = raw[at]
    if length < 128:
        return at + 1 if at + 1 + length == size else None
    length &= 127
    for shift in range(7, 35, 7):
        at += 1
        if at >= size:
            return None
        byte = raw[at]
        length |= (byte & 127) << shift
        if byte < 128:
            return at + 1 if byte and at + 1 + length == size else None
    return None


class _Walk:
    """The walk through one parsed attribute."""

    __slots__ = ("_entries", "_masker", "_nodes", "_scope", "_tally")

    def __init__(self, masker: Masker, entries: Entries, scope: Scope, tally: Tally) -> None:
        self._masker = masker
        self._entries = entries
        self._scope = scope
        self._tally = tally
        self._nodes = 0

    def pair(self, pair: KeyValue) -> bool:
        """Mask an attribute in place; False when it goes."""
        name = pair.key.encode()
        key = self._entries.key(name, self._scope, self._tally)
        if key.masked is not None:
            pair.key = key.masked.decode("utf-8", "replace")
        return self._value(pair.value, key.place, ROOT)

    def _value(self, value: AnyValue, place: Place, path: Path) -> bool:
        """Mask a value in place; False when it goes."""
        kind = value.WhichOneof("value")
        verdict = place.verdict
        if kind is None:
            return True
        if verdict.what == "mask":
            return self._hide(value, kind, place)
        if kind == "array_value":
            return self._array(value.array_value, place, path)
        if kind == "kvlist_value":
            return self._members(value.kvlist_value, place, path)
        if verdict.what == "keep" or kind == "bool_value":
            return True
        return self._scalar(value, kind, place)

    def _scalar(self, value: AnyValue, kind: str, place: Place) -> bool:
        if kind == "double_value" and abs(value.double_value) < _FRACTION_MAX and not value.double_value.is_integer():
            return True
        text = _text_of(value, kind)
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise WorkLimit("work")
        self._tally.cost += ENTRY_COST
        masked = self._masker.text(text, place, self._tally)
        if masked is text:
            return True
        if masked is None:
            return False
        _put(value, kind, masked)
        return True

    def _array(self, array: ArrayValue, place: Place, path: Path) -> bool:
        gone = [index for index, item in enumerate(array.values) if not self._value(item, place, Path(path, index))]
        for index in gone:  # its neighbours keep their places
            array.values[index].string_value = ""
        return True

    def _members(self, members: KeyValueList, place: Place, path: Path) -> bool:
        kept = [member for member in members.values if self._member(member, place, path)]
        if len(kept) < len(members.values):
            kept = [KeyValue.FromString(member.SerializeToString()) for member in kept]
            members.ClearField("values")
            members.values.extend(kept)
        return True

    def _member(self, member: KeyValue, outer: Place, path: Path) -> bool:
        name = member.key.encode()
        key = self._entries.key(name, self._scope, self._tally)
        self._tally.cost += ENTRY_COST
        here = Path(path, name)
        shown = key.place.words
        verdict = self._scope.member(here, key.place.key)
        if verdict.what == "scan" and outer.verdict.what == "keep":
            verdict = outer.verdict
        if key.masked is not None:
            member.key = key.masked.decode("utf-8", "replace")
        place = Place(self._scope, outer.key, verdict, outer.words + b" " + shown, _before(shown))
        return self._value(member.value, place, here)

    def _hide(self, value: AnyValue, kind: str, place: Place) -> bool:
        """Replace a value under a key that hides it, whatever its type."""
        if kind in _CONTAINERS:
            text, verdict = value.SerializeToString(), place.verdict
            if verdict.action is Action.PARTIAL:  # its last characters are no text
                place = replace(place, verdict=verdict._replace(action=Action.LABEL))
        else:
            text = _text_of(value, kind)
        masked = self._masker.text(text, place, self._tally)
        if masked is None:
            return False
        if masked is not text:
            _put(value, "string_value" if kind in _CONTAINERS else kind, masked)
        return True


def _text_of(value: AnyValue, kind: str) -> bytes:
    """A scalar as text."""
    if kind == "string_value":
        return value.string_value.encode()
    if kind == "int_value":
        return b"%d" % value.int_value
    if kind == "bytes_value":
        return value.bytes_value
    return _double(value.double_value) if kind == "double_value" else str(value.bool_value).lower().encode()


def _double(number: float) -> bytes:
    whole = math.isfinite(number) and number.is_integer() and abs(number) < _DOUBLE_DIGITS_MAX
    return b"%d" % int(number) if whole else repr(number).encode()


def _put(value: AnyValue, kind: str, masked: bytes) -> None:
    """Write what stands in place of a value: bytes stay bytes, anything else becomes a string."""
    if kind == "bytes_value":
        value.bytes_value = masked
    else:
        value.string_value = masked.decode("utf-8", "replace")

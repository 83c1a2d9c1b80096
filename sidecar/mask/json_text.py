"""JSON in texts, JSON inside its strings, and escapes in any text: hits found where they mean something, changed where they stand.

Owns how a text is read: as a document, or as text with its layers of escapes. What hits, replacements and key rules are comes from callbacks: it must
not know detectors, actions or policies. A document is first read as one text without its escapes, layer by layer (JSON in JSON has several); when nothing
is found and no member name matters, it is returned as it is. Otherwise its tokens are walked, and only the literals that are touched are decoded. Text that
is no JSON to its end (truncated, Python's repr) is searched as it stands and without each layer of escapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container

import msgspec

from sidecar.mask.detector import Hit
from sidecar.mask.edits import Edit, Rewrite, apart, apply_in_turns
from sidecar.mask.escapes import Unescaped, unescape, unescaped
from sidecar.mask.json_path import ROOT, Path
from sidecar.mask.json_walk import BOM, HIDES, KeyVerdict, Scan, Walk, counted
from sidecar.mask.merge import merge
from sidecar.mask.turns import Turns, at_once
from sidecar.mask.windows import WorkLimit

__all__ = ["DEPTH_MAX", "ROOT", "Harmless", "KeyRule", "KeyVerdict", "Look", "Path", "Rewrite", "Scan", "mask_json", "mask_text"]

DEPTH_MAX = 5  # JSON in JSON, and layers of escapes, unless the caller says otherwise
NAMES_MAX = 4096  # distinct member names of one value that are judged, and one more for each 512 bytes: 4 us each
WORDS_MAX = 4096  # bytes of member names that are handed over as context of a whole document
ACROSS = 512  # bytes on either side of a hit across literals in which it must show again
TURN_BYTES = 64 * 1024  # a document that is longer makes pauses between its passes: half a millisecond each
ASKED_MAX = 256  # such hits that are looked at; all others hide what they touch

Look = Callable[[bytes], Scan]
"""Looks through a text: where there may be hits in it, and what they are."""
KeyRule = Callable[[bytes, Path | None], KeyVerdict]
"""(member name, path of the member) -> verdict. Without a path: HIDE when any path could say so."""


def mask_json(
    text: bytes,
    look: Look,
    rewrite: Rewrite,
    key_rule: KeyRule,
    by_word: Container[int] | None = None,
    harmless: Harmless | None = None,
    depth_max: int = DEPTH_MAX,
) -> bytes | None:
    """The document with hits and hidden values replaced; ``text`` itself when there are none; None when it does not begin as JSON.

    A document that is not valid to its end is masked as JSON as far as it goes, and all of it as text too. Several documents after
    each other count as one. ``by_word`` are the detectors that need a context word: what they find in the whole document counts only when they find it
    behind its own name too (None: this goes for every detector). What others find across literals hides the literals that it touches.
    ``harmless`` remembers names that hide nothing at any path. WorkLimit when there are too many tokens, names, escapes or layers.
    """
    return at_once(mask_json_in_turns(text, look, rewrite, key_rule, by_word, harmless, depth_max))


def mask_json_in_turns(
    text: bytes,
    look: Look,
    rewrite: Rewrite,
    key_rule: KeyRule,
    by_word: Container[int] | None = None,
    harmless: Harmless | None = None,
    depth_max: int = DEPTH_MAX,
) -> Turns[bytes | None]:
    """The same with pauses."""
    if not _begins_as_json(text):
        return None
    edits = yield from _Reader(look, key_rule, by_word, Harmless() if harmless is None else harmless, depth_max).document(text, ROOT, 0)
    return text if edits == [] else None if edits is None else (yield from apply_in_turns(text, edits, rewrite))


def mask_text(text: bytes, look: Look, rewrite: Rewrite, depth_max: int = DEPTH_MAX) -> bytes:
    """Any other text with hits replaced, in it as it stands and without its escapes; ``text`` itself when there are none."""
    return at_once(mask_text_in_turns(text, look, rewrite, depth_max))


def mask_text_in_turns(text: bytes, look: Look, rewrite: Rewrite, depth_max: int = DEPTH_MAX) -> Turns[bytes]:
    """The same with pauses."""
    reader = _Reader(look, lambda _name, _path: KeyVerdict.SCAN, None, Harmless(), depth_max)
    edits = yield from reader.text(look(text), text, b"", ROOT)
    return (yield from apply_in_turns(text, edits, rewrite)) if edits else text


class Harmless:
    """Names that hide nothing: at most ``ENTRIES`` of up to ``NAME_BYTES`` bytes, 0.5 MiB; when it is full it begins anew."""

    ENTRIES = 2048
    NAME_BYTES = 64
    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: set[bytes] = set()

    def add(self, name: bytes) -> None:
        if len(self.names) >= self.ENTRIES:
            self.names = set()
        if len(name) <= self.NAME_BYTES:
            self.names.add(name)


_SPACED_END = re.compile(rb'"[ \t\r\n]++:')
_BACKSLASH = ord("\\")
_VALID = msgspec.json.Decoder(msgspec.Raw)


def _begins_as_json(text: bytes) -> bool:
    stripped = text[3:].lstrip() if text.startswith(BOM) else text.lstrip()
    return stripped[:1] in {b"{", b"["} or (stripped[:1] == b'"' and stripped.rstrip()[-1:] == b'"')


def _is_valid(text: bytes) -> bool:
    try:
        _VALID.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_escaped(text: bytes, at: int) -> bool:
    """Whether an odd number of backslashes stands before an offset."""
    first = at
    while first and text[first - 1] == _BACKSLASH:
        first -= 1
    return (at - first) % 2 == 1


def _names(text: bytes) -> set[bytes]:
    """The names of all members; of a text that is no valid JSON, some that are none."""
    pieces = text.split(b'":')
    pieces.pop()
    names: set[bytes] = set()
    at = 0
    for piece in pieces:
        start = piece.rfind(b'"') + 1
        name: bytes | None = piece[start:]
        at += len(piece) + 2
        if b"\\" in piece[max(0, start - 2) :]:
            name = _name_before(text, at - 2)
        if name is not None:
            names.add(name)
    for match in _SPACED_END.finditer(text):
        spaced = _name_before(text, match.start())
        if spaced is not None:
            names.add(spaced)
    return names


def _name_before(text: bytes, end: int) -> bytes | None:
    """The literal that ends with the quote at an offset; None when that quote is part of one."""
    if _is_escaped(text, end):
        return None
    start = text.rfind(b'"', 0, end)
    while start > 0 and _is_escaped(text, start):
        start = text.rfind(b'"', 0, start)
    return unescaped(text[start + 1 : end])


class _Reader:
    """Finds the edits of one value. Callbacks only; nothing is kept."""

    def __init__(self, look: Look, key_rule: KeyRule, by_word: Container[int] | None, harmless: Harmless, depth_max: int) -> None:
        self.key = key_rule
        self._harmless = harmless
        self._depth_max = depth_max
        self._judged = 0
        self._look = look
        self._by_word = by_word
        self._asked = 0

    def hits(self, scan: Scan, shift: int, path: Path) -> Turns[list[Hit]]:
        """Merged hits, as far as they reach behind the first ``shift`` bytes, with offsets from there."""
        hits = merge((yield from scan.in_turns(path.words, path)))
        return [Hit(max(hit.start - shift, 0), hit.end - shift, hit.detector) for hit in hits if hit.end > shift] if shift else hits

    def is_across(self, scan: Scan, hit: Hit, path: Path) -> bool:
        """Whether a hit in a document stands although no literal alone has it: policy lets it count at ``path``, and no context word of another member made it one."""
        if self._by_word is None or hit.detector in self._by_word:
            return False
        self._asked += 1
        if self._asked > ASKED_MAX:
            return True
        value = scan.text[hit.start : hit.end]
        around = scan.text[max(0, hit.start - ACROSS) : hit.end + ACROSS]
        found = at_once(self._look(around).in_turns(path.words, path))
        return any(value in around[each.start : each.end] for each in found if each.detector not in self._by_word)

    def text(self, scan: Scan, text: bytes, before: bytes, path: Path) -> Turns[list[Edit]]:
        """Edits of a text that is no JSON: of hits in it as it stands, and without each layer of escapes. ``before`` stands before it as context, in ``scan`` too."""
        edits: list[Edit] = []
        weak: list[Edit] = []
        layers: list[Unescaped] = []
        layer = text
        for number in range(self._depth_max + 1):
            below = unescape(layer) if b"\\" in layer and number < self._depth_max else None
            last = below is None or below.text == layer
            if not last:
                counted(text, layer.count(b"\\"))
            for hit in (yield from self.hits(scan, len(before), path)):
                start, end = hit.start, hit.end
                for unescaping in reversed(layers):
                    start, end = unescaping.raw(start, end)
                (weak if below is not None and below.splits(hit.start) else edits).append(Edit(start, end, layer, hit, path))
            if below is None or last:
                break
            layers.append(below)
            layer = below.text
            scan = self._look(before + layer)
        return edits + apart(weak, edits) if weak else edits

    def document(self, text: bytes, path: Path, depth: int) -> Turns[list[Edit] | None]:
        """Edits of a JSON document; None when it does not begin as one."""
        if not _begins_as_json(text):
            return None
        is_long = len(text) > TURN_BYTES
        layer = unescape(text)
        names = _names(text)
        if is_long:
            yield
        scan = self._look(layer.text)
        if is_long:
            yield
        named = self._may_hide(text, names)
        all_names = b" ".join(names)
        words = all_names if len(all_names) <= WORDS_MAX else None
        touched = merge((yield from scan.in_turns(words, None)))
        escaped = layer.text != text and (yield from self._may_hold_more(text, layer.text, words))
        valid = _is_valid(text)
        if valid and not (touched or escaped or named):
            return []
        if depth >= self._depth_max:
            if valid:
                raise WorkLimit("depth")
            return None
        walk = Walk(self, text, path, depth, scan, touched, escaped)
        if (yield from walk.run()):
            return walk.edits
        return walk.edits + (yield from self.text(self._look(text) if b"\\" in text else scan, text, b"", path))

    def _may_hold_more(self, text: bytes, layer: bytes, words: bytes | None) -> Turns[bool]:
        """Whether strings with escapes may hold more than the text without them shows: names, or hits in layers below this one."""
        if not any(escaped in text for escaped in (b'\\"', b"\\\\", b"\\u")):
            return False  # no quote and no backslash came out of an escape
        for _ in range(self._depth_max):
            if self._may_hide(layer, _names(layer)):
                return True
            if len(layer) > TURN_BYTES:
                yield
            below = unescaped(layer)
            if below == layer:
                return False
            if (yield from self._look(below).in_turns(words, None)):
                return True
            layer = below
        return b"\\" in layer

    def _may_hide(self, text: bytes, names: set[bytes]) -> bool:
        """Whether any of a text's names could hide its value somewhere."""
        harmless = self._harmless
        for name in names - harmless.names:
            self._judged += 1
            if self._judged > NAMES_MAX + len(text) // 512:
                raise WorkLimit("work")
            if self.key(name, None) in HIDES:
                return True
            harmless.add(name)
        return False

"""The walk through the tokens of one JSON document: which literals are touched, which members hide their values.

Owns the grammar and where each value stands. What is in a literal it asks its reader. It must not know detectors, actions or policies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from sidecar.mask.detector import Hit
from sidecar.mask.edits import Edit, disjoint
from sidecar.mask.escapes import unescape, unescaped
from sidecar.mask.json_path import Path
from sidecar.mask.json_schema import Part, below, fits, opened, says_what
from sidecar.mask.windows import WorkLimit

COUNT_MAX = 16_384  # tokens, and escapes, of one text that are walked, and one more for each 32 bytes: half a microsecond each
_READ_BEFORE = 512
"""What a hit may have been read with, before it: in the whole document `curl` of one literal and `-u` of a later one, where each has its own."""
BOM = b"\xef\xbb\xbf"


class KeyVerdict(Enum):
    """What a member's name says about its value."""

    SCAN = "scan"
    KEEP = "keep"  # leave the value alone, whatever is in it
    HIDE = "hide"  # replace the whole value; null, true and false stay, and what describes a value: a schema
    HIDE_ALL = "hide all"  # schemas too


HIDES = frozenset({KeyVerdict.HIDE, KeyVerdict.HIDE_ALL})


def counted(text: bytes, number: int) -> None:
    """WorkLimit when a text has too many tokens or escapes."""
    if number > COUNT_MAX + len(text) // 32:
        raise WorkLimit("work")


class Reader(Protocol):
    """What the walk asks about names and literals."""

    def key(self, name: bytes, path: Path | None, /) -> KeyVerdict: ...

    def hits(self, text: bytes, before: bytes, path: Path, /) -> list[Hit]: ...

    def text(self, text: bytes, before: bytes, path: Path, /) -> list[Edit]: ...

    def document(self, text: bytes, path: Path, depth: int, /) -> list[Edit] | None: ...

    def is_across(self, text: bytes, hit: Hit, path: Path, /) -> bool: ...


_TOKEN = re.compile(
    rb"[ \t\r\n]*+(?:"
    rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+([:,]?)'  # 1 a string, 2 what follows it
    rb"|([{\[])"  # 3 a container begins
    rb"|([}\]])[ \t\r\n]*+(,?)"  # 4 it ends, 5 what follows
    rb"|(-?(?:\d++(?:\.\d++)?(?:[eE][+-]?\d++)?|Infinity)|true|false|null|NaN)[ \t\r\n]*+(,?))",  # 6 an atom, 7 what follows
    re.DOTALL,
)
_TELLS_NOTHING = frozenset({b"null", b"true", b"false"})
_STRING, _OPEN, _CLOSE = 2, 3, 5  # the last group of such a match; another one is an atom


class _Expect(Enum):
    """What may come next in a document: a value (or a member's name), that or the end of the container, only its end."""

    VALUE, FIRST, END = range(3)


class _Frame:
    """A container on the way to the current token; the outermost is the text itself. What it is kept for, its members are, unless their names hide them."""

    __slots__ = ("closing", "described", "index", "name", "part", "path", "pending", "verdict", "whole")

    def __init__(self, closing: bytes, path: Path, verdict: KeyVerdict, part: Part | None = None) -> None:
        self.closing = closing
        self.part = part  # of what may be a schema
        self.described = False  # whether a member makes a schema of it
        self.path = path
        self.index = 0
        self.name = b""
        self.pending = False  # whether a member's name has come and its value has not
        self.whole = self.verdict = verdict  # of the container, and of the current member or element

    def here(self) -> Path:
        return Path(self.path, self.name if self.closing == b"}" else self.index) if self.closing else self.path

    def inside(self) -> Part | None:
        """What the current member or element is of what may be a schema; None: nothing."""
        return None if self.part is None else below(self.part, self.name)

    def before(self) -> bytes:
        """What stands before a literal: its name as context."""
        return b'"' + self.name + b'": "' if self.closing == b"}" else b'"'


@dataclass(frozen=True, slots=True)
class _Whole:
    """A container that is hidden as a whole, or, while it may be a schema, perhaps is."""

    depth: int
    """Of the stack around it."""
    start: int
    path: Path
    edits: int
    """Made before it."""


class Walk:
    """The walk through the tokens of one document. Iterative, so depth of containers costs nothing."""

    def __init__(self, reader: Reader, text: bytes, path: Path, depth: int, touched: Sequence[Hit], escaped: bool) -> None:
        self.edits: list[Edit] = []
        self._reader = reader
        self._text = text
        self._depth = depth
        self._touched = touched
        self._next = 0
        self._escaped = escaped
        self._stack = [_Frame(b"", path, KeyVerdict.SCAN)]
        self._containers = 0  # they count twice: each costs a frame
        self._expect = _Expect.VALUE
        self._hidden: _Whole | None = None
        self._schema: _Whole | None = None

    def run(self) -> bool:
        """Whether the text is JSON to its end. When not, what is to be hidden is hidden to the end of the text."""
        text = self._text
        counted(text, text.count(b"\\"))
        at = len(BOM) if text.startswith(BOM) else 0
        for count, match in enumerate(_TOKEN.finditer(text, at)):
            counted(text, count + self._containers)
            if match.start() != at or not self._take(match):
                break
            at = match.end()
        if len(self._stack) == 1 and not text[at:].strip():
            return True
        frame = self._stack[-1]
        if whole := self._schema or self._hidden:
            self._hide_whole(whole, len(text))
        elif frame.pending and frame.verdict in HIDES:
            self._hide(at, len(text), frame.here())
        return False

    def _take(self, match: re.Match[bytes]) -> bool:
        """One token; False when it can't stand here."""
        kind, frame = match.lastindex, self._stack[-1]
        if kind == _CLOSE:
            return self._close(match, frame)
        if self._expect is _Expect.END:
            return False
        if frame.closing == b"}" and not frame.pending:
            return kind == _STRING and match[2] == b":" and self._name(match, frame)
        if kind == _OPEN:
            self._open(frame, match[3], match.start(3))
            return True
        if match[kind or 0] == b":":
            return False
        self._value(match, frame, match.span(1 if kind == _STRING else 6))
        return self._after(match[kind or 0], frame)

    def _open(self, frame: _Frame, bracket: bytes, start: int) -> None:
        """A container begins. Under a name that hides its value it may be a schema."""
        verdict, part = frame.verdict, None
        if self._hidden:
            pass
        elif verdict in HIDES:
            whole = _Whole(len(self._stack), start, frame.here(), len(self.edits))
            if verdict is KeyVerdict.HIDE and bracket == b"{" and not self._schema:
                self._schema, verdict, part = whole, KeyVerdict.SCAN, Part.SCHEMA
            else:
                self._hidden = whole
        elif self._schema and (inside := frame.inside()) is Part.VALUE:
            self._hidden = _Whole(len(self._stack), start, self._schema.path, len(self.edits))
        elif self._schema and (part := opened(inside, bracket)) is None:
            self._no_schema()
        self._containers += 1
        self._stack.append(_Frame(b"}" if bracket == b"{" else b"]", frame.here(), verdict, part))
        self._expect = _Expect.FIRST

    def _no_schema(self) -> None:
        """What could have been a schema is none: it is hidden as a whole."""
        self._hidden, self._schema = self._schema, None

    def _close(self, match: re.Match[bytes], frame: _Frame) -> bool:
        if match[4] != frame.closing or frame.pending or self._expect is _Expect.VALUE:
            return False
        self._stack.pop()
        if self._schema and not self._hidden:
            outermost = len(self._stack) == self._schema.depth
            if frame.part is Part.SCHEMA and not frame.described and (frame.index or outermost):
                self._no_schema()
            elif outermost:
                self._schema = None
        if self._hidden and len(self._stack) == self._hidden.depth:
            self._hide_whole(self._hidden, match.end(4))
            self._hidden = None
        return self._after(match[5], self._stack[-1])

    def _after(self, follows: bytes, frame: _Frame) -> bool:
        frame.pending = False
        if not frame.closing:
            self._expect = _Expect.VALUE
            return not follows
        frame.index += 1
        self._expect = _Expect.VALUE if follows else _Expect.END
        return True

    def _name(self, match: re.Match[bytes], frame: _Frame) -> bool:
        start, end = match.span(1)
        frame.name = unescaped(self._text[start + 1 : end - 1])
        frame.pending = True
        self._expect = _Expect.VALUE
        if self._hidden:
            return True
        if frame.part is None:
            frame.verdict = self._reader.key(frame.name, frame.here())
            if frame.verdict is KeyVerdict.SCAN:
                frame.verdict = frame.whole
        elif not self._describes(frame):
            return True
        if self._is_touched(start, end):
            self._literal(start, end, frame.path, self._reader.text(frame.name, b'"', frame.path))
        return True

    def _describes(self, frame: _Frame) -> bool:
        """Whether a member's name may stand in a schema; its keywords hide nothing unless a rule for their place does."""
        if frame.inside() is None:
            self._no_schema()
            return False
        if frame.part is Part.SCHEMA:
            frame.described = frame.described or says_what(frame.name)
        verdict = self._reader.key(frame.name, frame.here())
        frame.verdict = verdict if verdict is KeyVerdict.HIDE_ALL else frame.whole
        return True

    def _value(self, match: re.Match[bytes], frame: _Frame, span: tuple[int, int]) -> None:
        """A string, number or word."""
        start, end = span
        raw = self._text[start:end]
        is_string = match.lastindex == _STRING
        if self._hidden or frame.verdict is KeyVerdict.KEEP:
            return
        if frame.verdict in HIDES:
            self._hide(start, end, frame.here())
        elif self._schema and (inside := frame.inside()) is Part.VALUE:
            self._hide(start, end, self._schema.path)
        elif self._schema and not fits(inside, raw):
            self._no_schema()
        elif is_string and (self._is_touched(start, end) or (self._escaped and b"\\" in raw)):
            path, inner = frame.here(), unescaped(raw[1:-1])
            edits = self._reader.document(inner, path, self._depth + 1)
            self._literal(start, end, path, self._reader.text(inner, frame.before(), path) if edits is None else edits)
        elif not is_string and self._is_touched(start, end):
            path = frame.here()
            if hits := self._reader.hits(raw, frame.before(), path):
                self.edits.append(Edit(start, end, raw, max(hits, key=lambda hit: hit.end - hit.start), path, quoted=True))
            elif across := self._across(start, end, path, []):
                self.edits.append(Edit(start, end, raw, Hit(0, len(raw), across.detector), path, quoted=True))

    def _literal(self, start: int, end: int, path: Path, edits: list[Edit]) -> None:
        """Edits of a decoded string as edits of this text; all of it when a hit across literals takes part of it."""
        if not edits and self._across(start + 1, end - 1, path, edits) is None:
            return
        way = unescape(self._text[start + 1 : end - 1])
        made: list[Edit] = []
        for edit in edits:
            raw_start, raw_end = way.raw(edit.start, edit.end)
            made.append(edit._replace(start=start + 1 + raw_start, end=start + 1 + raw_end, escapes=edit.escapes + 1))
        if (across := self._across(start + 1, end - 1, path, made)) is not None:
            made = [Edit(start + 1, end - 1, way.text, Hit(0, len(way.text), across.detector), path, escapes=1)]
        self.edits += made

    def _across(self, start: int, end: int, path: Path, edits: Sequence[Edit]) -> Hit | None:
        """A hit of the document that takes bytes of a value and that none of the value's edits touches."""
        if self._next == len(self._touched) or self._touched[self._next].start >= end:
            return None
        edited = disjoint(edits)
        at = 0
        for number in range(self._next, len(self._touched)):
            hit = self._touched[number]
            low, high = max(hit.start, start), min(hit.end, end)
            if hit.start >= end:
                break
            while at < len(edited) and edited[at].end <= low:
                at += 1
            if low < high and not (at < len(edited) and edited[at].start < high) and self._reader.is_across(self._text, hit, path):
                return hit
        return None

    def _hide_whole(self, whole: _Whole, end: int) -> None:
        del self.edits[whole.edits :]
        self._hide(whole.start, end, whole.path)

    def _hide(self, start: int, end: int, path: Path) -> None:
        raw = self._text[start:end]
        if raw in _TELLS_NOTHING:
            return
        source = unescaped(raw[1:-1]) if raw[:1] == b'"' and raw[-1:] == b'"' else raw
        self.edits.append(Edit(start, end, source, None, path, quoted=True))

    def _is_touched(self, start: int, end: int) -> bool:
        touched = self._touched
        while self._next < len(touched) and touched[self._next].end <= start:
            self._next += 1
        return self._next < len(touched) and touched[self._next].start < end + _READ_BEFORE

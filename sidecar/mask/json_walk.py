"""The walk through the tokens of one JSON document: which literals are touched, which members hide their values.

Owns the grammar and where each value stands. What is in a literal it asks its reader. It must not know detectors, actions or policies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from sidecar.mask.detector import Hit
from sidecar.mask.edits import Edit, disjoint
from sidecar.mask.escapes import unescape, unescaped
from sidecar.mask.json_path import Path
from sidecar.mask.json_schema import Part, below, fits, opened, says_what
from sidecar.mask.turns import Turns
from sidecar.mask.windows import WorkLimit

COUNT_MAX = 16_384  # tokens, and escapes, of one text that are walked, and one more for each 32 bytes: half a microsecond each
TURN_TOKENS, LOOK_TOKENS = 2048, 64  # tokens between pauses, two milliseconds; and what looking into a value counts as
TURN_EDITS = 256  # of one string that are brought back to where they stand, between pauses
BOM = b"\xef\xbb\xbf"


class KeyVerdict(Enum):
    """What a member's name says about its value."""

    SCAN = "scan"
    PLAIN = "plain"  # the same, at every path: it need not be asked about again
    KEEP = "keep"  # leave the value alone, whatever is in it
    HIDE = "hide"  # replace the whole value; null, true and false stay, and what describes a value: a schema
    HIDE_ALL = "hide all"  # schemas too


HIDES = frozenset({KeyVerdict.HIDE, KeyVerdict.HIDE_ALL})


def counted(text: bytes, number: int) -> None:
    """WorkLimit when a text has too many tokens or escapes."""
    if number > COUNT_MAX + len(text) // 32:
        raise WorkLimit("work")


class Scan(Protocol):
    """One text, looked through: where there may be hits, and what they are."""

    text: bytes

    @property
    def marks(self) -> Sequence[int]:
        """Where anything ends that may be the sign of a hit that reaches over a `"`, in order."""
        ...

    def in_turns(self, words: bytes | None, path: Path | None, /) -> Turns[list[Hit]]:
        """Hits. Without a path: what could be one anywhere in the document; without words: as if every context word were there."""
        ...

    def part(self, name_at: int, start: int, end: int, before: bytes, /) -> Scan:
        """The scan of ``before``, which stands in the text from ``name_at`` on, and bytes ``start`` to ``end``."""
        ...


class Reader(Protocol):
    """What the walk asks about names and literals."""

    def key(self, name: bytes, path: Path | None, /) -> KeyVerdict: ...

    def hits(self, scan: Scan, shift: int, path: Path, /) -> Turns[list[Hit]]: ...

    def text(self, scan: Scan, text: bytes, before: bytes, path: Path, /) -> Turns[list[Edit]]: ...

    def document(self, text: bytes, path: Path, depth: int, /) -> Turns[list[Edit] | None]: ...

    def is_across(self, scan: Scan, hit: Hit, path: Path, /) -> bool: ...


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

    __slots__ = ("closing", "described", "index", "name", "name_at", "part", "path", "pending", "verdict", "whole")

    def __init__(self, closing: bytes, path: Path, verdict: KeyVerdict, part: Part | None = None) -> None:
        self.closing = closing
        self.part = part  # of what may be a schema
        self.described = False  # whether a member makes a schema of it
        self.path = path
        self.index = 0
        self.name = b""
        self.name_at = 0  # where it begins in the text without escapes
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


class _Found(NamedTuple):
    """A value or name that may hold something."""

    start: int
    end: int
    last: int
    """Where it ends in the text without escapes."""
    inner: bytes | None
    """What a string holds."""
    path: Path
    before: bytes
    name_at: int
    is_name: bool = False


class Walk:
    """The walk through the tokens of one document. Iterative, so depth of containers costs nothing.

    A string is looked into when a hit of the document touches it, or when in it there is the sign of one that may reach over quotes: such a hit is read
    from where it begins, and what the string has of its own may lie in between, as with `curl` in one string and `-u` in the next.
    """

    def __init__(self, reader: Reader, text: bytes, path: Path, depth: int, scan: Scan, touched: Sequence[Hit], escaped: bool) -> None:
        """``scan`` is of the text without its escapes, ``touched`` are hits in that. ``escaped``: strings with escapes may hold more."""
        self.edits: list[Edit] = []
        self._reader = reader
        self._text = text
        self._depth = depth
        self._scan = scan
        self._touched = touched
        self._next = 0
        self._marks = scan.marks
        self._mark = 0
        self._escapes = b"\\" in text
        self._shrunk = 0  # bytes that escapes took up until here
        self._escaped = escaped
        self._stack = [_Frame(b"", path, KeyVerdict.SCAN)]
        self._plain: set[bytes] = set()  # names that are
        self._containers = 0  # they count twice: each costs a frame
        self._expect = _Expect.VALUE
        self._found: _Found | None = None  # what is to be looked into before the next token
        self._hidden: _Whole | None = None
        self._schema: _Whole | None = None

    def run(self) -> Turns[bool]:
        """Whether the text is JSON to its end. When not, what is to be hidden is hidden to the end of the text."""
        text, take = self._text, self._take
        counted(text, text.count(b"\\"))
        most = COUNT_MAX + len(text) // 32
        at = len(BOM) if text.startswith(BOM) else 0
        work = 0
        for count, match in enumerate(_TOKEN.finditer(text, at)):
            if count + self._containers > most:
                raise WorkLimit("work")
            if match.start() != at or not take(match):
                break
            at = match.end()
            work += 1
            if self._found is not None:
                found, self._found = self._found, None
                yield from self._look_into(found)
                work += LOOK_TOKENS
            if work >= TURN_TOKENS:
                work = 0
                yield
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
        frame.name_at = start - self._shrunk
        frame.name = self._decoded(start, end)
        frame.pending = True
        self._expect = _Expect.VALUE
        if self._hidden:
            return True
        if frame.part is None:
            self._ask(frame)
        elif not self._describes(frame):
            return True
        if self._is_touched(frame.name_at, frame.name_at, end - self._shrunk):
            self._found = _Found(start, end, end - self._shrunk, frame.name, frame.path, b'"', frame.name_at, is_name=True)
        return True

    def _ask(self, frame: _Frame) -> None:
        """What the name of the current member says."""
        frame.verdict = frame.whole
        if frame.name not in self._plain:
            verdict = self._reader.key(frame.name, frame.here())
            if verdict is KeyVerdict.PLAIN:
                self._plain.add(frame.name)
            elif verdict is not KeyVerdict.SCAN:
                frame.verdict = verdict

    def _decoded(self, start: int, end: int) -> bytes:
        """A string without quotes and escapes; afterwards offsets are those behind it."""
        raw = self._text[start + 1 : end - 1]
        if not self._escapes or b"\\" not in raw:
            return raw
        inner = unescaped(raw)
        self._shrunk += len(raw) - len(inner)
        return inner

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
        is_string = match.lastindex == _STRING
        first = start - self._shrunk
        inner = self._decoded(start, end) if is_string and self._escapes else None
        if self._hidden or frame.verdict is KeyVerdict.KEEP:
            return
        if frame.verdict in HIDES:
            self._hide(start, end, frame.here())
        elif self._schema and (inside := frame.inside()) is Part.VALUE:
            self._hide(start, end, self._schema.path)
        elif self._schema and not fits(inside, self._text[start:end]):
            self._no_schema()
        elif self._is_touched(frame.name_at if frame.closing == b"}" else first, first, end - self._shrunk) or (
            inner is not None and self._escaped and b"\\" in self._text[start:end]
        ):
            if inner is None and is_string:
                inner = self._text[start + 1 : end - 1]
            name_at = frame.name_at if frame.closing == b"}" else max(first - 1, 0)
            self._found = _Found(start, end, end - self._shrunk, inner, frame.here(), frame.before(), name_at)

    def _look_into(self, found: _Found) -> Turns[None]:
        """Edits of a value that may hold something."""
        start, end, last, inner, path, before, name_at, is_name = found
        if inner is not None:
            edits = None if is_name else (yield from self._reader.document(inner, path, self._depth + 1))
            if edits is None:
                part = self._scan.part(name_at, last - 1 - len(inner), last - 1, before)
                edits = yield from self._reader.text(part, inner, before, path)
            yield from self._literal(found, inner, edits)
            return
        raw, first = self._text[start:end], last - end + start
        hits = yield from self._reader.hits(self._scan.part(name_at, first, last, before), len(before), path)
        if hits:
            self.edits.append(Edit(start, end, raw, max(hits, key=lambda hit: hit.end - hit.start), path, quoted=True))
        elif across := self._across(first, last, path, []):
            self.edits.append(Edit(start, end, raw, Hit(0, len(raw), across.detector), path, quoted=True))

    def _literal(self, found: _Found, inner: bytes, edits: list[Edit]) -> Turns[None]:
        """Edits of a string as edits of this text; all of it when a hit across literals takes part of it."""
        start, end, last, path = found.start + 1, found.end - 1, found.last - 1, found.path
        if (across := self._across(last - len(inner), last, path, edits)) is not None:
            self.edits.append(Edit(start, end, inner, Hit(0, len(inner), across.detector), path, escapes=1))
        elif edits:
            way = unescape(self._text[start:end])
            for number, edit in enumerate(edits, 1):
                if number % TURN_EDITS == 0:
                    yield
                low, high = way.raw(edit.start, edit.end)
                self.edits.append(Edit(start + low, start + high, edit.source, edit.hit, edit.path, edit.escapes + 1, edit.quoted))

    def _across(self, start: int, end: int, path: Path, edits: Sequence[Edit]) -> Hit | None:
        """A hit of the document that takes bytes of a value, from ``start`` to ``end`` without escapes, and that none of the value's edits touches."""
        if self._next == len(self._touched) or self._touched[self._next].start >= end:
            return None
        edited = disjoint(edits)
        at = 0
        for number in range(self._next, len(self._touched)):
            hit = self._touched[number]
            low, high = max(hit.start, start) - start, min(hit.end, end) - start
            if hit.start >= end:
                break
            while at < len(edited) and edited[at].end <= low:
                at += 1
            if low < high and not (at < len(edited) and edited[at].start < high) and self._reader.is_across(self._scan, hit, path):
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

    def _is_touched(self, name_at: int, first: int, end: int) -> bool:
        """Whether to look into a value: from ``first`` to ``end``, or to its name at ``name_at``, all without escapes."""
        touched, marks = self._touched, self._marks
        while self._next < len(touched) and touched[self._next].end <= first:
            self._next += 1
        while self._mark < len(marks) and marks[self._mark] <= name_at:
            self._mark += 1
        return (self._next < len(touched) and touched[self._next].start < end) or (self._mark < len(marks) and marks[self._mark] <= end)

"""Escapes as JSON and Python write them: taken off with the way back to where they stood, or put on. Pure bytes.

Owns one layer of escapes. It must not know documents, hits or what a text is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\"\\/'bfnrt])",
)
_BASIC = re.compile(rb"u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})")
_SINGLE = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"/": b"/", b'"': b'"', b"'": b"'"}
_SPECIAL = re.compile(rb'["\\\x00-\x1f]')
_SPECIALS = {byte: b"\\u%04x" % byte for byte in range(32)} | {ord('"'): b'\\"', ord("\\"): b"\\\\", 10: b"\\n", 13: b"\\r", 9: b"\\t"}


@dataclass(frozen=True, slots=True)
class Unescaped:
    """A text without one layer of escapes, and offsets, plain and raw, of each start and end of an escape."""

    text: bytes
    _plain: list[int]
    _raw: list[int]

    def raw(self, start: int, end: int) -> tuple[int, int]:
        """The range of the escaped text that stands for bytes ``start`` to ``end``: whole escapes."""
        first = bisect_right(self._plain, start) - 1
        last = bisect_right(self._plain, end) - 1
        offset = end - self._plain[last]
        raw_end = self._raw[last + (offset > 0)] if last % 2 else self._raw[last] + offset
        return self._raw[first] + (0 if first % 2 else start - self._plain[first]), raw_end

    def splits(self, offset: int) -> bool:
        """Whether an offset of the escaped text lies inside of an escape: the `n` of a line end is no part of a word."""
        index = bisect_right(self._raw, offset) - 1
        return index % 2 == 1 and offset > self._raw[index]


def _decode(escape: bytes) -> bytes:
    kind = escape[1:2]
    if kind in _SINGLE:
        return _SINGLE[kind]
    if kind == b"x":
        return bytes.fromhex(escape[2:].decode()).decode("latin-1").encode()
    if kind == b"u":
        units = b"".join(int(four, 16).to_bytes(2, "big") for four in escape[2:].split(b"\\u"))
        return units.decode("utf-16-be", "replace").encode()
    return kind


def unescape(text: bytes) -> Unescaped:
    """One layer of escapes taken off, with offsets: half a microsecond for each escape. Unknown escapes and lone surrogates hurt nobody."""
    parts: list[bytes] = []
    plain, raw = [0], [0]
    at = end = 0
    for match in _ESCAPE.finditer(text):
        start = match.start()
        piece = _decode(match.group())
        parts += (text[end:start], piece)
        at += start - end
        end = match.end()
        plain += (at, at + len(piece))
        raw += (start, end)
        at += len(piece)
    parts.append(text[end:])
    return Unescaped(b"".join(parts), plain, raw)


def unescaped(text: bytes) -> bytes:
    """The text of `unescape`, a good deal faster while surrogate pairs and escapes in hex are rare."""
    if b"\\" not in text:
        return text
    parts = iter(text.split(b"\\"))
    result = [next(parts)]
    for part in parts:
        first = part[:1]
        if first in _SINGLE:
            result.append(_SINGLE[first] + part[1:])
        elif not part:
            result.append(b"\\" + next(parts, b""))
        elif first == b"u" and _BASIC.match(part):
            result.append(chr(int(part[1:5], 16)).encode() + part[5:])
        elif first in {b"u", b"x"}:
            return unescape(text).text
        else:
            result.append(b"\\" + part)
    return b"".join(result)


def escape(text: bytes) -> bytes:
    """The text as it stands between the quotes of a JSON literal; UTF-8 stays as it is."""
    return _SPECIAL.sub(lambda match: _SPECIALS[match.group()[0]], text)

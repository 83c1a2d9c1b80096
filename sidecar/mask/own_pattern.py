"""Operators' own expressions, read so that every engine finds the same with them. Pure.

Owns the syntax: only what every engine reads alike, what matches a bounded length in bounded time, and can't part a character. It must not know what a policy
does with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import log2

PATTERN_BYTES_MAX = 256
PATTERN_BYTES_MIN = 4
"""Shorter formats would be found everywhere."""
WAYS_MAX = 10_000
"""In how many ways an own pattern may try to match at one place: what backtracking can cost."""
TRIGGER_BITS, TRIGGER_PIECES = 10, 8
"""A trigger of fewer bits fires all the time: three digits are 11, two letters 14."""
GROUPS_DEEP_MAX = 10


class BadPattern(ValueError):
    """An expression that own patterns can't be; says where and why."""


@dataclass(frozen=True, slots=True)
class OwnPattern:
    """An expression, written so that every engine reads it alike."""

    pattern: str
    min_bytes: int
    max_bytes: int
    ways: int
    pieces: tuple[tuple[str, float], ...]
    """Single bytes that every match has, in order, each with its bits; 0 bits where something of other width stands between."""

    @property
    def trigger(self) -> str | None:
        """The rarest run of bytes that every match holds, else the pattern itself if it is short. None: there is none."""
        best, bits = "", 0.0
        for start in range(len(self.pieces)):
            text, sum_bits = "", 0.0
            for piece, piece_bits in self.pieces[start : start + TRIGGER_PIECES]:
                if not piece_bits:
                    break
                text, sum_bits = text + piece, sum_bits + piece_bits
            if sum_bits > bits:
                best, bits = text, sum_bits
        return best if bits >= TRIGGER_BITS else self.pattern if self.max_bytes <= PATTERN_BYTES_MAX // 4 else None


_ASCII = frozenset(range(128))
_GAP = ("", 0.0)
_DIGIT, _WORD, _SPACE = frozenset(b"0123456789"), frozenset(c for c in range(128) if chr(c).isalnum() or c == 0x5F), frozenset(b"\t\n\v\f\r ")
_CLASSES = {"d": _DIGIT, "D": _ASCII - _DIGIT, "w": _WORD, "W": _ASCII - _WORD, "s": _SPACE, "S": _ASCII - _SPACE}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_REPEAT = re.compile(r"\{([0-9]{1,4})(?:(,)([0-9]{1,4})?)?\}|[?*+]")


def read_pattern(text: str) -> OwnPattern:
    """An operator's expression; BadPattern when engines differ about it, or its length or work has no bound. `.` and negated classes are ASCII."""
    reader = _PatternReader(text)
    read = reader.either(0)
    if reader.at < len(text):
        raise reader.bad("a ) without its (")
    return read


class _PatternReader:
    """Recursive descent over one expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def bad(self, why: str) -> BadPattern:
        return BadPattern(f"at character {self.at + 1}: {why}")

    def either(self, depth: int) -> OwnPattern:
        """Alternatives, up to a closing parenthesis or the end."""
        branches = [self._sequence(depth)]
        while self._text[self.at : self.at + 1] == "|":
            self.at += 1
            branches.append(self._sequence(depth))
        if len(branches) == 1:
            return branches[0]
        low, high = min(each.min_bytes for each in branches), max(each.max_bytes for each in branches)
        return self._bounded(
            OwnPattern(f"(?:{'|'.join(each.pattern for each in branches)})", low, high, sum(each.ways for each in branches), (_GAP,))
        )

    def _sequence(self, depth: int) -> OwnPattern:
        whole = OwnPattern("", 0, 0, 1, ())
        while self.at < len(self._text) and self._text[self.at] not in "|)":
            item = self._repeated(self._item(depth))
            low, high, ways = whole.min_bytes + item.min_bytes, whole.max_bytes + item.max_bytes, whole.ways * item.ways
            whole = self._bounded(OwnPattern(whole.pattern + item.pattern, low, high, ways, whole.pieces + item.pieces))
        return whole

    def _bounded(self, read: OwnPattern) -> OwnPattern:
        if read.max_bytes > PATTERN_BYTES_MAX:
            raise self.bad(f"matches over {PATTERN_BYTES_MAX} bytes")
        if read.ways > WAYS_MAX:
            raise self.bad("could match in too many ways; make repeats fixed or shorter, and don't repeat what repeats")
        return read

    def _repeated(self, item: OwnPattern) -> OwnPattern:
        found = _REPEAT.match(self._text, self.at)
        if found is None:
            return item
        low, comma, high = found.groups()
        if found[0] in {"*", "+"} or (comma and not high):
            raise self.bad(f"{found[0]} has no upper bound; write {{1,40}}, for example")
        least, most = (0, 1) if found[0] == "?" else (int(low), int(high or low))
        if most < least or not most:
            raise self.bad(f"{found[0]} repeats nothing")
        self.at = found.end()
        if _REPEAT.match(self._text, self.at):
            raise self.bad("a repeat after a repeat")
        if item.max_bytes * most > PATTERN_BYTES_MAX or not item.max_bytes:
            raise self.bad(f"repeats nothing, or over {PATTERN_BYTES_MAX} bytes")
        ways = most - least + 1 if item.ways == 1 else sum(min(item.ways**count, WAYS_MAX + 1) for count in range(least, most + 1))
        pieces = item.pieces * least if least == most and len(item.pieces) == 1 else (_GAP,)
        return self._bounded(OwnPattern(f"(?:{item.pattern}){found[0]}", item.min_bytes * least, item.max_bytes * most, ways, pieces))

    def _item(self, depth: int) -> OwnPattern:
        char = self._text[self.at]
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._leaf(self._class())
        if char in "*+?{":
            raise self.bad(f"{char} has nothing before it; write \\{char} for the character")
        if char in "^$":
            raise self.bad(f"{char} is not used; a match never has a letter or digit beside it")
        self.at += 1
        if char == ".":
            return self._leaf(frozenset(range(32, 127)))
        if char == "\\":
            return self._leaf(self._escape())
        raw = char.encode("utf-8", "replace")
        return (
            self._leaf(frozenset(raw))
            if len(raw) == 1
            else OwnPattern("(?:" + "".join(f"\\x{byte:02x}" for byte in raw) + ")", len(raw), len(raw), 1, (_GAP,))
        )

    def _leaf(self, options: frozenset[int]) -> OwnPattern:
        if not options:
            raise self.bad("a class without characters")
        text = _written(options)
        return OwnPattern(text, 1, 1, 1, ((text, log2(128 / len(options)) or 0.01),))

    def _group(self, depth: int) -> OwnPattern:
        self.at += 1
        if self._text.startswith("?:", self.at):
            self.at += 2
        elif self._text.startswith("?", self.at):
            raise self.bad("look-around, flags and named groups are not read by every engine")
        if depth >= GROUPS_DEEP_MAX:
            raise self.bad(f"groups deeper than {GROUPS_DEEP_MAX}")
        inner = self.either(depth + 1)
        if self.at >= len(self._text):
            raise self.bad("a ( without its )")
        self.at += 1
        return OwnPattern(f"(?:{inner.pattern})", inner.min_bytes, inner.max_bytes, inner.ways, inner.pieces)

    def _escape(self) -> frozenset[int]:
        """What a backslash, which has been read, and what follows stand for."""
        char = self._text[self.at : self.at + 1]
        if char == "x":
            digits = self._text[self.at + 1 : self.at + 3]
            if not re.fullmatch("[0-7][0-9a-fA-F]", digits):
                raise self.bad("expected \\x and two hex digits up to 7f")
            self.at += 3
            return frozenset({int(digits, 16)})
        if char in _CLASSES:
            options = _CLASSES[char]
        elif char in _CONTROLS:
            options = frozenset({_CONTROLS[char]})
        elif char and char.isascii() and not char.isalnum():
            options = frozenset(char.encode())
        else:
            raise self.bad(f"\\{char} is not read alike by every engine")
        self.at += 1
        return options

    def _class(self) -> frozenset[int]:
        self.at += 1
        negated = self._text.startswith("^", self.at)
        self.at += negated
        options: frozenset[int] = frozenset()
        while not self._text.startswith("]", self.at):
            one = self._class_item()
            if len(one) == 1 and self._text.startswith("-", self.at) and not self._text.startswith("-]", self.at):
                self.at += 1
                end = self._class_item()
                if len(end) != 1 or min(end) < min(one):
                    raise self.bad("a range without an end, or backwards")
                one = frozenset(range(min(one), min(end) + 1))
            options |= one
        self.at += 1
        return _ASCII - options if negated else options

    def _class_item(self) -> frozenset[int]:
        char = self._text[self.at : self.at + 1]
        if not char or char == "[":
            raise self.bad("a [ without its ], or an unescaped [ inside")
        if not char.isascii():
            raise self.bad("characters beyond ASCII can't stand in a class; write alternatives")
        self.at += 1
        return self._escape() if char == "\\" else frozenset(char.encode())


def _written(options: frozenset[int]) -> str:
    """A set of ASCII bytes as a character or class."""
    runs: list[list[int]] = []
    for byte in sorted(options):
        if runs and runs[-1][1] == byte - 1:
            runs[-1][1] = byte
        else:
            runs.append([byte, byte])
    shown = [_byte(low) if low == high else f"{_byte(low)}-{_byte(high)}" for low, high in runs]
    return shown[0] if len(options) == 1 else f"[{''.join(shown)}]"


def _byte(byte: int) -> str:
    return chr(byte) if chr(byte).isalnum() else f"\\x{byte:02x}"

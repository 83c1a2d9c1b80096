"""Triggers as every engine reads them: one spelling, their widths, and where their matches end. Pure.

Owns the expressions that engines scan for. Hyperscan reports ends of matches; `re` and RE2 know starts, so `Ends` turns these into
the same ends: then windows, hits and work limits are the same whatever engine found the places. It must not know detectors or windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from re import _parser  # type: ignore[attr-defined]  # nothing public tells how wide the matches of an expression are
from typing import Any

Trigger = tuple[str, bool]
"""(expression, ignore_case)."""

WIDTH_MAX = 4096
"""Matches of a trigger that are longer than this are not looked for: triggers are short."""

_SPACES = "\\t\\n\\x0b\\x0c\\r "
_ESCAPED = re.compile(rb"(\\[A-Z])|[^\\]+|\\.", re.DOTALL)
_CAPITALS = range(65, 91)
_PIECE = re.compile(r"\\.|\[\^?\]?|\]|\$|[^\\\[\]$]+", re.DOTALL)


def portable(expression: str) -> str:
    r"""The expression with ``\s`` and ``\S`` spelled out, because RE2 leaves the vertical tab out of them."""
    parts: list[str] = []
    for piece, inside in _pieces(expression):
        match piece:
            case "\\s":
                parts.append(_SPACES if inside else f"[{_SPACES}]")
            case "\\S" if not inside:
                parts.append(f"[^{_SPACES}]")
            case "\\S":
                raise ValueError("\\S can't stand in a class")
            case _:
                parts.append(piece)
    return "".join(parts)


def with_end(expression: str, end: str) -> str:
    """The expression with each ``$`` written as ``end``."""
    return "".join(end if piece == "$" and not inside else piece for piece, inside in _pieces(expression))


def _pieces(expression: str) -> Iterator[tuple[str, bool]]:
    """(piece, whether it stands inside of a class)."""
    inside = False
    for piece in _PIECE.findall(expression):
        inside = (inside or piece.startswith("[")) and piece != "]"
        yield piece, inside


def widths(expression: str) -> tuple[int, int]:
    """Bytes of the shortest and of the longest match. re.error when it is no expression."""
    low, high = _parser.parse(expression.encode()).getwidth()
    return int(low), int(high)


def lowered(expression: bytes) -> bytes:
    r"""The expression with its ASCII letters in lower case, but for ``\S`` and its like."""
    return _ESCAPED.sub(lambda match: match[0] if match[1] else match[0].lower(), expression)


def is_caseless(expression: bytes, others: Iterable[int]) -> bool:
    """Whether an expression, and a set of bytes, say of no letter that only its capital counts: then the text in lower case is all that need be searched.

    re.error when it is no expression.
    """
    around = frozenset(others)
    same = all((byte in around) == (byte ^ 32 in around) for byte in _CAPITALS)
    return same and not any(low <= byte <= high for low, high in _ranges(_parser.parse(expression)) for byte in _CAPITALS)


def _ranges(parsed: Any) -> Iterator[tuple[int, int]]:
    """Every range of bytes that a parsed expression names, single ones too."""
    match parsed:
        case (kind, int(value)) if str(kind) in {"LITERAL", "NOT_LITERAL"}:
            yield value, value
        case (kind, value) if str(kind) == "RANGE":
            yield value
        case tuple() | list() | _parser.SubPattern():
            for part in parsed:
                yield from _ranges(part)


def can_hold(expression: str, byte: int) -> bool:
    """Whether a match may hold a byte after its first one; at times true where none does. re.error when it is no expression."""
    parsed = _parser.parse(expression.encode())
    return _holds(parsed[1:] if len(parsed) and parsed[:1].getwidth()[1] <= 1 else parsed, byte)


def _holds(parsed: Any, byte: int) -> bool:
    match parsed:
        case (kind, int(value)) if str(kind) == "LITERAL":
            return value == byte
        case (kind, int(value)) if str(kind) == "NOT_LITERAL":
            return value != byte
        case (kind, (low, high)) if str(kind) == "RANGE":
            return bool(low <= byte <= high)
        case (kind, [(negate, None), *members]) if str(kind) == "IN" and str(negate) == "NEGATE":
            return not any(_holds(member, byte) for member in members if str(member[0]) != "CATEGORY")
        case (kind, _) if str(kind) in {"ANY", "CATEGORY"}:
            return True
        case tuple() | list() | _parser.SubPattern():
            return any(_holds(part, byte) for part in parsed)
    return False


def is_expression(expression: str) -> bool:
    """Whether `re` takes it."""
    try:
        re.compile(expression.encode())
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def compiled(trigger: Trigger) -> re.Pattern[bytes]:
    expression, ignore_case = trigger
    return re.compile(expression.encode(), re.IGNORECASE if ignore_case else 0)


class Ends:
    """Where the matches of one trigger end that start at a given place: all of them, as Hyperscan reports them."""

    def __init__(self, trigger: Trigger) -> None:
        expression, ignore_case = trigger
        self._low, high = widths(expression)
        self._high = min(high, WIDTH_MAX)
        self._whole = compiled(trigger)
        self._inner = compiled((with_end(expression, "(?!)"), ignore_case))  # `re` takes the end of a slice for the end of the text

    def of(self, text: bytes, start: int) -> Iterator[int]:
        """Offsets in order; none when nothing starts there."""
        if self._low == self._high:
            if self._whole.match(text, start):
                yield start + self._low
            return
        size = len(text)
        last = size - text.endswith(b"\n")
        for end in range(start + self._low, min(start + self._high, size) + 1):
            if (self._whole if end >= last else self._inner).fullmatch(text, start, end):
                yield end

"""Where triggers fire, found with `re` alone: always there, slow. Also serves the few triggers that another engine can't compile.

Owns the search of one trigger after the other, each behind a literal that every match of it holds. It must not know
detectors, windows or policies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sidecar.mask.triggers import Ends, Trigger, compiled
from sidecar.mask.windows import WorkLimit

_PIECE = re.compile(
    r"(?P<escape>\\[^0-9A-Za-z])|(?P<special>\\x[0-9A-Fa-f]{2}|\\.)|(?P<klass>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<repeat>\{[0-9,]+\}|[*+?])|(?P<other>[()|.^$])|(?P<plain>.)",
    re.DOTALL,
)


def required_literal(expression: str) -> str:
    """The longest text that stands in every match of an expression, or "" when none is sure.

    Only what stands outside groups counts; an alternative outside groups makes nothing sure.
    """
    runs, depth, best = [""], 0, ""
    for piece in _PIECE.finditer(expression):
        text = piece.group()
        if piece.lastgroup in {"plain", "escape"} and depth == 0:
            runs[-1] += text[-1]
        elif piece.lastgroup == "repeat" and depth == 0:
            runs[-1] = runs[-1][:-1]
            runs.append("")
        else:
            depth += (text == "(") - (text == ")")
            if text == "|" and depth == 0:
                return ""
            runs.append("")
    for run in runs:
        best = run if len(run) > len(best) else best
    return best


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    literal: bytes
    pattern: re.Pattern[bytes]
    ends: Ends


class StdlibScanner:
    """Places where the given triggers fire. ``numbers`` are their places in the table; none of them changes afterwards."""

    name = "stdlib"

    def __init__(self, triggers: Sequence[Trigger], numbers: Iterable[int] | None = None) -> None:
        """re.error when a trigger is no expression."""
        self._plain: list[_Entry] = []
        self._folded: list[_Entry] = []
        for number in range(len(triggers)) if numbers is None else numbers:
            trigger = triggers[number]
            literal = required_literal(trigger[0]).encode()
            entry = _Entry(number, literal.lower() if trigger[1] else literal, compiled(trigger), Ends(trigger))
            (self._folded if trigger[1] else self._plain).append(entry)

    def places(self, text: bytes, most: int) -> dict[int, list[int]]:
        """Ends of all matches of each trigger; WorkLimit beyond ``most`` of them."""
        found: dict[int, list[int]] = {}
        left = self._collect(self._plain, text, text, found, most)
        if self._folded:
            self._collect(self._folded, text, text.lower(), found, left)
        return found

    @staticmethod
    def _collect(table: list[_Entry], text: bytes, folded: bytes, found: dict[int, list[int]], left: int) -> int:
        """How many more there may be."""
        for entry in table:
            if entry.literal not in folded:
                continue
            ends: set[int] = set()
            match = entry.pattern.search(text)
            while match:
                ends.update(entry.ends.of(text, match.start()))
                if len(ends) > left:
                    raise WorkLimit("work")
                match = entry.pattern.search(text, match.start() + 1)
            left -= len(ends)
            if ends:
                found[entry.number] = sorted(ends)
        return left

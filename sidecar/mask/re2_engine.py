"""Where triggers fire, found with RE2: linear in the text, for machines without Hyperscan.

One alternation of all triggers finds where the next one starts; a set, anchored there, tells which ones do. It must not
know detectors, windows or policies.

A set alone would not do: it answers "nothing" too when its automaton runs out of memory. Here an empty answer of the set
contradicts the alternation, whose search never gives up, and then every trigger counts as fired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from sidecar.mask.stdlib_engine import StdlibScanner
from sidecar.mask.triggers import Ends, Trigger, with_end
from sidecar.mask.windows import WorkLimit

MEMORY_BYTES = 32 << 20
"""For each of the two automata, at most; a clean text takes well under 1 MiB."""


class _Match(Protocol):
    def start(self) -> int: ...


class _Pattern(Protocol):
    def search(self, text: bytes, pos: int = 0) -> _Match | None: ...


class _Set(Protocol):
    def Add(self, pattern: bytes) -> int: ...  # noqa: N802 - RE2's own name

    def Compile(self) -> None: ...  # noqa: N802 - RE2's own name

    def Match(self, text: bytes) -> list[int] | None: ...  # noqa: N802 - RE2's own name


class Re2Scanner:
    """Places where triggers fire. ``width`` is the most bytes that a trigger's match may have."""

    name = "re2"

    def __init__(self, triggers: Sequence[Trigger], width: int) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        options.max_mem = MEMORY_BYTES
        self._width = width
        self._numbers: list[int] = []
        self._ends: list[Ends] = []
        refused: list[int] = []
        parts: list[bytes] = []
        self._set = cast(_Set, re2.Set.MatchSet(options))
        for number, (expression, ignore_case) in enumerate(triggers):
            part = b"(?%s:%s)" % (b"i" if ignore_case else b"", with_end(expression, "(?:\\n?\\z)").encode())
            try:
                self._set.Add(part)
            except re2.error:
                refused.append(number)
                continue
            self._numbers.append(number)
            self._ends.append(Ends((expression, ignore_case)))
            parts.append(part)
        self._set.Compile()
        self._any = cast(_Pattern, re2.compile(b"|".join(parts), options)) if parts else None
        self._rest = StdlibScanner(triggers, refused) if refused else None

    def places(self, text: bytes, most: int) -> dict[int, list[int]]:
        """Ends of all matches of each trigger; WorkLimit beyond ``most`` of them."""
        found = self._rest.places(text, most) if self._rest else {}
        left = most - sum(map(len, found.values()))
        by_trigger: dict[int, set[int]] = {}
        match = self._any.search(text) if self._any else None
        while match and self._any:
            start = match.start()
            for index in self._set.Match(text[start : start + self._width]) or range(len(self._numbers)):
                ends = by_trigger.setdefault(index, set())
                left += len(ends)
                ends.update(self._ends[index].of(text, start))
                left -= len(ends)
            if left < 0:
                raise WorkLimit("work")
            match = self._any.search(text, start + 1)
        return found | {self._numbers[index]: sorted(ends) for index, ends in by_trigger.items() if ends}

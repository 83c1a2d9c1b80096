"""The engine: texts in, hits out; and its choice at start.

Owns the interface that the rest of masking sees. Hyperscan, RE2 and `re` differ in how fast they find where triggers fire, never in what is found.
It must not know policies, actions, JSON or keys.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from sidecar.mask.detector import Detector, Hit
from sidecar.mask.stdlib_engine import StdlibScanner
from sidecar.mask.triggers import can_hold, is_expression
from sidecar.mask.turns import Turns, at_once
from sidecar.mask.windows import BadDetector, Gates, Limits, Search

Wanted = Literal["auto", "hyperscan", "re2", "stdlib"]


class Scanner(Protocol):
    """Finds where triggers fire: what engines differ in."""

    name: str

    def places(self, text: bytes, most: int) -> Mapping[int, list[int]]:
        """Offsets by number of the trigger: the starts of all its matches, or their ends. WorkLimit beyond ``most`` of them."""
        ...


class Scan:
    """One text and where triggers fired in it. Searching it again, with other context words, or a part of it, costs no second look for triggers."""

    __slots__ = ("_engine", "_gates", "_marks", "_places", "_sorted", "text")

    def __init__(self, engine: Engine, text: bytes, places: Mapping[int, list[int]], gates: Gates | None) -> None:
        self.text = text
        self._engine = engine
        self._places = places
        self._gates = gates
        self._sorted: list[tuple[int, int]] | None = None
        self._marks: list[int] | None = None

    def hits(self, words_in: bytes) -> list[Hit]:
        """As ``Engine.find`` of the text."""
        return at_once(self.in_turns(words_in)) if self._places else []

    def in_turns(self, words_in: bytes) -> Turns[list[Hit]]:
        """The same with pauses."""
        return (yield from self._engine.search.in_turns(self.text, self._places, words_in, self._gates)) if self._places else []

    @property
    def marks(self) -> Sequence[int]:
        """Where triggers end whose matches may reach over a `"`, in order."""
        if self._marks is None:
            spanning = self._engine.spanning
            self._marks = sorted(place for trigger, ends in self._places.items() if trigger in spanning for place in ends)
        return self._marks

    def part(self, name_at: int, start: int, end: int, before: bytes) -> Scan:
        """The scan of ``before`` and bytes ``start`` to ``end`` of the text. What fires in that fires in this text too, behind ``name_at``, where ``before`` stands.

        Between name and value it may stand with other spaces, so what ends there is taken to end anywhere there: more places than there are cost a little, fewer would lose hits.
        """
        if self._sorted is None:
            self._sorted = sorted((place, trigger) for trigger, ends in self._places.items() for place in ends)
        places: dict[int, list[int]] = {}
        shift, named = len(before) - start, max(0, len(before) - len('": "'))
        for index in range(bisect_right(self._sorted, (name_at, _LAST)), bisect_right(self._sorted, (end + 1, _LAST))):
            place, trigger = self._sorted[index]
            ends = places.setdefault(trigger, [])
            if place > start:
                ends.append(place + shift)
            elif place - name_at <= named:
                ends.append(place - name_at)
            else:
                ends += range(named, len(before) + 1)
        return Scan(self._engine, before + self.text[start:end], places, self._gates and self._gates.part(start, end, shift))


_LAST = 1 << 30
"""Beyond the number of any trigger."""


class Engine:
    """Finds sensitive values in one text. Safe to share between threads."""

    def __init__(self, search: Search, scanner: Scanner, words: Scanner | None = None, passed_over: Sequence[str] = ()) -> None:
        """``words`` finds the search's word triggers; without it context words are looked for around each match."""
        self.search = search
        self.scanner = scanner
        self._words = words
        self.name = scanner.name
        self.every_word = b" ".join(sorted({word.encode() for detector in search.detectors for word in detector.words}))
        """As ``words_in`` it stands for a context in which every detector finds a word of its own."""
        self.by_word = frozenset(index for index, detector in enumerate(search.detectors) if detector.words)
        """The detectors that need a context word."""
        self.spanning = search.triggers_of(_may_span)
        """Triggers of detectors whose matches may reach from one JSON string into the next."""
        self.passed_over = tuple(passed_over)
        """Why the faster engines are not used: one sentence each, for the log."""

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """The table that `Hit.detector` indexes."""
        return self.search.detectors

    def compile(self, index: int) -> None:
        """The pattern of one detector now, not when its trigger fires for the first time. BadDetector when it is no regular expression."""
        self.search.compiled(index)

    def scan(self, text: bytes) -> Scan:
        """Where triggers fire. WorkLimit when there are too many."""
        places = self.scanner.places(text, self.search.limits.places(text))
        return Scan(self, text, places, self._gates(text) if places else None)

    def find(self, text: bytes, words_in: bytes = b"") -> list[Hit]:
        """Hits in order of (start, end, detector), validated, not merged; the same from every engine.

        ``words_in`` is text whose words count as context, the key or path of the value. WorkLimit when the text asks for more work than it may have.
        """
        return self.scan(text).hits(words_in)

    def find_in_turns(self, text: bytes, words_in: bytes = b"") -> Turns[list[Hit]]:
        """The same with pauses, after a few milliseconds each; but the look for triggers is one piece: 1 to 9 us a KB."""
        return (yield from self.scan(text).in_turns(words_in))

    def _gates(self, text: bytes) -> Gates | None:
        words, search = self._words, self.search
        return None if words is None else Gates(lambda: search.by_detector(words.places(text, search.limits.places(text))))


_QUOTE = ord('"')


def _may_span(detector: Detector) -> bool:
    """Whether a match may hold a `"`. A pattern that is none is found out when it is compiled."""
    try:
        return can_hold(detector.pattern, _QUOTE)
    except (re.error, OverflowError, RecursionError):
        return True


def choose_engine(detectors: Sequence[Detector], wanted: Wanted = "auto", limits: Limits | None = None, cache: Path | None = None) -> Engine:
    """The fastest engine that works here, or the wanted one if it does. BadDetector when a trigger is wrong.

    Patterns are compiled when they are needed; the self-test says which are wrong. ``cache`` is a directory for Hyperscan's compiled database. An engine that is missing costs speed, not masking, so the next one takes its place.
    """
    search = Search(detectors, limits or Limits())
    passed_over: list[str] = []
    makers: dict[str, Callable[[], tuple[Scanner, Scanner]]] = {"hyperscan": lambda: _hyperscan(search, cache), "re2": lambda: _re2(search)}
    for name, make in makers.items():
        if wanted not in {"auto", name}:
            continue
        try:
            return Engine(search, *make(), passed_over)
        except ImportError:
            passed_over.append(f"{name}: not installed")
        except Exception as problem:  # noqa: BLE001 - whatever fails in a C++ package, the next engine serves
            passed_over.append(f"{name}: does not work here ({type(problem).__name__})")
    try:
        return Engine(search, StdlibScanner(search.triggers), StdlibScanner(search.word_triggers), passed_over)
    except (re.error, OverflowError, RecursionError):
        raise BadDetector(_wrong_triggers(search)) from None


def _wrong_triggers(search: Search) -> str:
    """The names of detectors whose triggers `re` doesn't take."""
    return "; ".join(f"{one.name}: trigger is not a regular expression" for one in search.detectors if not is_expression(one.trigger))


def _hyperscan(search: Search, cache: Path | None) -> tuple[Scanner, Scanner]:
    from sidecar.mask.hyperscan_engine import HyperscanScanner  # noqa: PLC0415 - a C++ package that may be missing

    return HyperscanScanner(search.triggers, cache), HyperscanScanner(search.word_triggers, cache, "words")


def _re2(search: Search) -> tuple[Scanner, Scanner]:
    from sidecar.mask.re2_engine import Re2Scanner  # noqa: PLC0415 - a C++ package that may be missing

    return Re2Scanner(search.triggers, search.width), Re2Scanner(search.word_triggers, search.width)

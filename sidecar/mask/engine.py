"""The engine: texts in, hits out; and its choice at start.

Owns the interface that the rest of masking sees. Hyperscan, RE2 and `re` differ in how fast they find where triggers fire, never in what is found.
It must not know policies, actions, JSON or keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from sidecar.mask.detector import Detector, Hit
from sidecar.mask.stdlib_engine import StdlibScanner
from sidecar.mask.triggers import is_expression
from sidecar.mask.windows import BadDetector, Limits, Search

Wanted = Literal["auto", "hyperscan", "re2", "stdlib"]


class Scanner(Protocol):
    """Finds where triggers fire: what engines differ in."""

    name: str

    def places(self, text: bytes, most: int) -> Mapping[int, list[int]]:
        """Offsets by number of the trigger: the starts of all its matches, or their ends. WorkLimit beyond ``most`` of them."""
        ...


class Engine:
    """Finds sensitive values in one text. Safe to share between threads."""

    def __init__(self, search: Search, scanner: Scanner, words: Scanner | None = None, passed_over: Sequence[str] = ()) -> None:
        """``words`` finds the search's word triggers; without it context words are looked for around each match."""
        self._search = search
        self.scanner = scanner
        self._word_places = None if words is None else words.places
        self.name = scanner.name
        self.every_word = b" ".join(sorted({word.encode() for detector in search.detectors for word in detector.words}))
        """As ``words_in`` it stands for a context in which every detector finds a word of its own."""
        self.by_word = frozenset(index for index, detector in enumerate(search.detectors) if detector.words)
        """The detectors that need a context word."""
        self.passed_over = tuple(passed_over)
        """Why the faster engines are not used: one sentence each, for the log."""

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """The table that `Hit.detector` indexes."""
        return self._search.detectors

    def compile(self, index: int) -> None:
        """The pattern of one detector now, not when its trigger fires for the first time. BadDetector when it is no regular expression."""
        self._search.compiled(index)

    def find(self, text: bytes, words_in: bytes = b"") -> list[Hit]:
        """Hits in order of (start, end, detector), validated, not merged; the same from every engine.

        ``words_in`` is text whose words count as context, the key or path of the value. WorkLimit when the text asks for more work than it may have.
        """
        places = self.scanner.places(text, self._search.limits.places(text))
        return self._search.hits(text, places, words_in, self._word_places) if places else []


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

"""Looks through texts without any policy, for the tests of JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidecar.mask.detector import Hit
from sidecar.mask.engine import Engine
from sidecar.mask.engine import Scan as EngineScan
from sidecar.mask.json_path import Path
from sidecar.mask.json_text import Look, Scan
from sidecar.mask.turns import Turns

Find = Callable[[bytes, bytes | None, Path | None], list[Hit]]
"""(text, context words, path) -> hits."""


class Found:
    """A scan by a function that finds hits; it has a mark everywhere."""

    def __init__(self, find: Find, text: bytes) -> None:
        self._find = find
        self.text = text

    @property
    def marks(self) -> Sequence[int]:
        return range(len(self.text) + 1)

    def in_turns(self, words: bytes | None, path: Path | None) -> Turns[list[Hit]]:
        yield
        return self._find(self.text, words, path)

    def part(self, _name_at: int, start: int, end: int, before: bytes) -> Scan:
        return Found(self._find, before + self.text[start:end])


class Scanned:
    """A scan by an engine."""

    def __init__(self, engine: Engine, scan: EngineScan) -> None:
        self._engine = engine
        self._scan = scan
        self.text = scan.text

    @property
    def marks(self) -> Sequence[int]:
        return self._scan.marks

    def in_turns(self, words: bytes | None, _path: Path | None) -> Turns[list[Hit]]:
        return self._scan.in_turns(self._engine.every_word if words is None else words)

    def part(self, name_at: int, start: int, end: int, before: bytes) -> Scan:
        return Scanned(self._engine, self._scan.part(name_at, start, end, before))


def found_by(find: Find) -> Look:
    return lambda text: Found(find, text)


def scanned_by(engine: Engine) -> Look:
    return lambda text: Scanned(engine, engine.scan(text))

"""From places where triggers fired to hits: windows of `re`, boundaries, context words, validators, and the work limits.

What every engine shares, so that all engines find the same. The rule they all equal: for each detector, all leftmost
non-overlapping matches of its pattern in the whole text; a match that boundary, words or validator refuse does not count,
and the search goes on one byte after its start. It must not know how triggers are found, nor policies or actions.

Why windows are exact. A match that starts at ``p`` holds a trigger, and the trigger's end ``a`` has ``a - before <= p <= a``; no match
is longer than ``before + reach``. So each place asks for the starts from ``a - before`` to ``a``, with ``before + reach`` bytes after ``a``
in sight, and no start is asked for twice. `re` steps over starts itself, with a lazy repeat: it stops after the last one that counts,
where a search would run on to the end of the window. Boundaries are part of the expression, around an atomic group, so that a refused match
is never tried in another length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecar.mask.detector import Detector, Hit, Validator
from sidecar.mask.triggers import Trigger, portable, widths
from sidecar.mask.words import Context, word_pattern

PLACE_STEPS = 350
"""What a fired trigger costs: a call back from the scanner, an entry in a list."""
WINDOW_STEPS = 700
"""What a window costs before the first byte of it is looked at."""
START_STEPS, START_STEPS_ANY_CASE = 20, 120
"""What a start costs `re` that leads to no match, about; `re` is slow at letters of any case."""
CANDIDATE_STEPS = 1500
"""What a match costs: words, validator."""
MATCH_BYTE_STEPS = 12
"""What a byte of a match costs, where it is a repeated choice."""


class WorkLimit(Exception):
    """A value asks for more work than it may have: ``reason`` is bytes, hits, work or depth. The caller hides the whole value."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"masking work limit: {reason}")
        self.reason = reason


class BadDetector(Exception):
    """A detector can't be compiled; the message names it and says what is wrong, without any value."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Work that one value may cost. Counted, never timed, so that output does not depend on the machine."""

    value_bytes: int = 1 << 20
    hits: int = 4096
    steps: int = 9_000_000
    """A step is about a nanosecond: 9 ms, and ``steps_per_byte`` more for each byte (100 KB: 11 ms)."""
    steps_per_byte: int = 24

    def budget(self, text: bytes) -> int:
        """Steps for this text, or WorkLimit when it is too long."""
        if len(text) > self.value_bytes:
            raise WorkLimit("bytes")
        return self.steps + self.steps_per_byte * len(text)

    def places(self, text: bytes) -> int:
        """How many triggers may fire in this text."""
        return self.budget(text) // PLACE_STEPS


def _portable_trigger(detector: Detector) -> Trigger:
    try:
        return portable(detector.trigger), detector.ignore_case
    except ValueError as problem:
        raise BadDetector(f"{detector.name}: trigger: {problem}") from None


def _class(members: frozenset[int]) -> bytes:
    return b"[" + b"".join(b"\\x%02x" % member for member in sorted(members)) + b"]"


@dataclass(frozen=True, slots=True)
class _Shape:
    """A detector, prepared for the loop."""

    first: re.Pattern[bytes]
    """Matches from any of ``before + 1`` starts on; the match itself is group 1."""
    before: int
    nearest: int
    """Bytes between a match's start and its trigger's end, at least."""
    width: int
    steps: int
    """What a window costs that has no match in it."""
    group: int
    validate: Validator | None
    words: re.Pattern[bytes] | None
    words_reach: int


def _shape(detector: Detector) -> _Shape:
    before = detector.reach if detector.before is None else detector.before
    pattern = b"(?%b:%b)" % (b"i" if detector.ignore_case else b"", detector.pattern.encode())
    after = b"(?!%b)" % _class(detector.not_after) if detector.not_after else b""
    ahead = b"(?<!%b)" % _class(detector.not_before) if detector.not_before else b""
    try:
        re.compile(pattern)  # so that no bracket of a pattern closes one of ours
        before = min(before, widths(detector.pattern)[1])
        nearest = min(before, widths(detector.trigger)[0])
        first = re.compile(b"(?s:.{0,%d}?)%b((?>%b))%b" % (before - nearest, ahead, pattern, after))
    except (re.error, OverflowError, RecursionError) as problem:
        raise BadDetector(f"{detector.name}: not a regular expression ({getattr(problem, 'msg', 'too large')})") from None
    words = word_pattern(detector.words) if detector.words else None
    steps = WINDOW_STEPS + (before - nearest) * (START_STEPS_ANY_CASE if detector.ignore_case else START_STEPS)
    return _Shape(first, before, nearest, before + detector.reach, steps, detector.group + 1, detector.validate, words, detector.words_reach)


class Search:
    """A detector table: turns places into hits. Expressions are compiled when their trigger fires for the first time; safe to share between threads."""

    def __init__(self, detectors: Sequence[Detector], limits: Limits) -> None:
        self.detectors = tuple(detectors)
        self.limits = limits
        self.triggers: list[Trigger] = []
        """Distinct (trigger, ignore_case); an engine reports places by index into this list."""
        self._owners: list[list[int]] = []
        self._shapes: list[_Shape | None] = [None] * len(self.detectors)
        numbers: dict[Trigger, int] = {}
        for index, detector in enumerate(self.detectors):
            trigger = _portable_trigger(detector)
            if trigger not in numbers:
                numbers[trigger] = len(self.triggers)
                self.triggers.append(trigger)
                self._owners.append([])
            self._owners[numbers[trigger]].append(index)

    def compiled(self, index: int) -> _Shape:
        """The expressions of one detector, compiled once (by two threads at the same time twice, to the same). BadDetector when they are none."""
        shape = self._shapes[index]
        if shape is None:
            shape = self._shapes[index] = _shape(self.detectors[index])
        return shape

    @property
    def width(self) -> int:
        """Bytes that no match is longer than, and so no trigger."""
        return max(((one.reach if one.before is None else one.before) + one.reach for one in self.detectors), default=0)

    def hits(self, text: bytes, places: Mapping[int, list[int]], words_in: bytes) -> list[Hit]:
        """Hits in order of (start, end, detector), at borders of characters. ``places`` has, by trigger, the ends of its matches."""
        found: list[Hit] = []
        left = self.limits.budget(text)
        context = Context(text, words_in)
        for trigger in sorted(places):
            ends = places[trigger]
            ends.sort()
            left -= len(ends) * PLACE_STEPS
            for index in self._owners[trigger]:
                left = self._one(index, text, ends, context, found, left)
        found.sort()
        return found

    def _one(self, index: int, text: bytes, ends: Sequence[int], context: Context, found: list[Hit], left: int) -> int:
        """Hits of one detector, appended; the steps that are left. ``low`` is the first start that has not been asked for."""
        shape = self._shapes[index] or self.compiled(index)
        first, before, nearest, width = shape.first.match, shape.before, shape.nearest, shape.width
        steps = shape.steps
        low = 0
        for end in ends:
            last = end - nearest
            low = max(low, end - before)
            while low <= last:
                left -= steps
                if left < 0:
                    raise WorkLimit("work")
                match = first(text, low, end + width + 1)
                if match is None or match.start(1) > last:
                    low = last + 1
                    break
                start, match_end = match.span(1)
                left -= CANDIDATE_STEPS + (match_end - start) * MATCH_BYTE_STEPS
                low = start + 1
                if self._is_meant(shape, match, context):
                    low = max(match_end, low)
                    found.append(_whole_characters(text, *match.span(shape.group), index))
                    if len(found) > self.limits.hits:
                        raise WorkLimit("hits")
        return left

    @staticmethod
    def _is_meant(shape: _Shape, match: re.Match[bytes], context: Context) -> bool:
        """Whether words and validator agree."""
        value = match[shape.group]
        if not value or (shape.words is not None and not context.has(shape.words, match.start(1), shape.words_reach)):
            return False
        return shape.validate is None or shape.validate(value)


def _whole_characters(text: bytes, start: int, end: int, index: int) -> Hit:
    """The hit, widened so that it cuts no UTF-8 character: bytes 80 to BF begin none."""
    size = len(text)
    if 0x80 <= text[start] < 0xC0 or (end < size and 0x80 <= text[end] < 0xC0):
        for _ in range(3):
            start -= start > 0 and 0x80 <= text[start] < 0xC0
            end += end < size and 0x80 <= text[end] < 0xC0
    return Hit(start, end, index)

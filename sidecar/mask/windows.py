"""From places where triggers fired to hits: windows of `re`, boundaries, context words, validators, and the work limits.

What every engine shares, so that all engines find the same. The rule they all equal: for each detector, all leftmost
non-overlapping matches of its pattern in the whole text; a match that boundary, words or validator refuse does not count,
and the search goes on one byte after its start. It must not know how triggers are found, nor policies or actions.

Why windows are exact. A match that starts at ``p`` holds a trigger, and the trigger's end ``a`` has ``a - before <= p <= a``; no match
is longer than ``before + reach``. So each place asks for the starts from ``a - before`` to ``a``, with ``before + reach`` bytes after ``a``
in sight, and no start is asked for twice. `re` steps over starts itself, with a lazy repeat: it stops after the last one that counts,
where a search would run on to the end of the window. Boundaries are part of the expression, around an atomic group, so that a refused match
is never tried in another length.

A detector that needs a context word asks no window where no word can be: the engine finds the places of all words as it does those of triggers, once for a
text, and only in texts in which such a detector's trigger fired.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.mask.detector import Detector, Hit, Validator
from sidecar.mask.triggers import Trigger, is_caseless, lowered, portable, widths
from sidecar.mask.words import Context, word_pattern, word_triggers

PLACE_STEPS = 350
"""What a fired trigger costs: a call back from the scanner, an entry in a list."""
WINDOW_STEPS = 700
"""What a window costs before the first byte of it is looked at."""
START_STEPS = 20
"""What a start costs `re` that leads to no match, about."""
CANDIDATE_STEPS = 1500
"""What a match costs: words, validator."""
GATE_STEPS = 300
"""What a place costs at which no context word stands."""
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
    in_lower: bool
    """Whether it is searched in the text in lower case."""
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
    pattern = detector.pattern.encode()
    after = b"(?!%b)" % _class(detector.not_after) if detector.not_after else b""
    ahead = b"(?<!%b)" % _class(detector.not_before) if detector.not_before else b""
    try:
        re.compile(pattern)  # so that no bracket of a pattern closes one of ours
        before = min(before, widths(detector.pattern)[1])
        nearest = min(before, widths(detector.trigger)[0])
        in_lower = detector.ignore_case and is_caseless(lowered(pattern), detector.not_before | detector.not_after)
        pattern = lowered(pattern) if in_lower else b"(?%b:%b)" % (b"i" if detector.ignore_case else b"", pattern)
        first = re.compile(b"(?s:.{0,%d}?)%b((?>%b))%b" % (before - nearest, ahead, pattern, after))
    except (re.error, OverflowError, RecursionError) as problem:
        raise BadDetector(f"{detector.name}: not a regular expression ({getattr(problem, 'msg', 'too large')})") from None
    words = word_pattern(detector.words) if detector.words else None
    steps = WINDOW_STEPS + (before - nearest) * START_STEPS
    return _Shape(
        first, in_lower, before, nearest, before + detector.reach, steps, detector.group + 1, detector.validate, words, detector.words_reach
    )


WordPlaces = Callable[[bytes, int], Mapping[int, list[int]]]
"""(text, most) -> ends of the word triggers by their number; WorkLimit beyond ``most`` of them."""
_NO_ENDS: list[int] = []


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
        self.word_triggers: list[Trigger] = []
        """Distinct ones that fire wherever a context word may stand; their ends are at its end or one byte later."""
        self._word_owners: list[list[int]] = []
        word_numbers: dict[Trigger, int] = {}
        for index, detector in enumerate(self.detectors):
            for trigger in word_triggers(detector.words):
                if trigger not in word_numbers:
                    word_numbers[trigger] = len(self.word_triggers)
                    self.word_triggers.append(trigger)
                    self._word_owners.append([])
                self._word_owners[word_numbers[trigger]].append(index)

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

    def hits(self, text: bytes, places: Mapping[int, list[int]], words_in: bytes, word_places: WordPlaces | None = None) -> list[Hit]:
        """Hits in order of (start, end, detector), at borders of characters. ``places`` has, by trigger, the ends of its matches.

        ``word_places`` finds, in texts of at most so many, the ends of ``word_triggers``; None: nobody knows where words are.
        """
        found: list[Hit] = []
        left = self.limits.budget(text)
        context = Context(text, words_in)
        gates: dict[int, list[int]] | None = None
        for trigger in sorted(places):
            ends = places[trigger]
            ends.sort()
            left -= len(ends) * PLACE_STEPS
            for index in self._owners[trigger]:
                shape = self._shapes[index] or self.compiled(index)
                gate = None
                if shape.words is not None and word_places is not None and not context.has_in_key(shape.words):
                    if gates is None:
                        gates, left = self._gates(word_places(text, max(0, left) // PLACE_STEPS), left)
                    gate = gates.get(index, _NO_ENDS)
                    if not gate:
                        left -= GATE_STEPS
                        continue
                left = self._one(index, shape, ends, context, found, left, gate)
        found.sort()
        return found

    def _gates(self, places: Mapping[int, list[int]], left: int) -> tuple[dict[int, list[int]], int]:
        """Ends of context words by detector, in order; the steps that are left."""
        gates: dict[int, list[int]] = {}
        for number, ends in places.items():
            left -= len(ends) * PLACE_STEPS
            for index in self._word_owners[number]:
                gates.setdefault(index, []).extend(ends)
        for ends in gates.values():
            ends.sort()
        return gates, left

    def _one(self, index: int, shape: _Shape, ends: Sequence[int], context: Context, found: list[Hit], left: int, gate: list[int] | None) -> int:
        """Hits of one detector, appended; the steps that are left. ``low`` is the first start that has not been asked for.

        Where ``gate`` has no end of a context word (or of the byte after it), no window is asked.
        """
        first, before, nearest, width, steps = shape.first.match, shape.before, shape.nearest, shape.width, shape.steps
        text = context.text
        searched = context.lower if shape.in_lower else text
        low = 0
        for end in ends:
            last = end - nearest
            low = max(low, end - before)
            if gate is not None:
                at = bisect_right(gate, low - shape.words_reach)
                if at == len(gate) or gate[at] > last + 1:
                    left -= GATE_STEPS
                    continue
            while low <= last:
                left -= steps
                if left < 0:
                    raise WorkLimit("work")
                match = first(searched, low, end + width + 1)
                if match is None or match.start(1) > last:
                    low = last + 1
                    break
                start, match_end = match.span(1)
                left -= CANDIDATE_STEPS + (match_end - start) * MATCH_BYTE_STEPS
                low = start + 1
                value_at, value_end = match.span(shape.group)
                if (
                    value_at < value_end
                    and (shape.words is None or context.has(shape.words, start, shape.words_reach))
                    and (shape.validate is None or shape.validate(text[value_at:value_end]))
                ):
                    low = max(match_end, low)
                    found.append(_whole_characters(text, value_at, value_end, index))
                    if len(found) > self.limits.hits:
                        raise WorkLimit("hits")
        return left


def _whole_characters(text: bytes, start: int, end: int, index: int) -> Hit:
    """The hit, widened so that it cuts no UTF-8 character: bytes 80 to BF begin none."""
    size = len(text)
    if 0x80 <= text[start] < 0xC0 or (end < size and 0x80 <= text[end] < 0xC0):
        for _ in range(3):
            start -= start > 0 and 0x80 <= text[start] < 0xC0
            end += end < size and 0x80 <= text[end] < 0xC0
    return Hit(start, end, index)

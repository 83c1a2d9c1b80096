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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sidecar.mask.detector import Detector, Hit, Validator
from sidecar.mask.triggers import Trigger, is_caseless, lowered, portable, widths
from sidecar.mask.turns import Turns, at_once
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
"""What a place costs at which no context word stands, or no tail."""
MATCH_BYTE_STEPS = 12
"""What a byte of a match costs, where it is a repeated choice."""

TURN_STEPS = 2_000_000
"""Between pauses of a long search, about two milliseconds."""
TURN_PLACES = 256
"""Of one detector between looks at the steps."""


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
    tail: re.Pattern[bytes] | None
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
        before = min(before, widths(detector.pattern)[1] + 1)
        nearest = min(before, widths(detector.trigger)[0])
        in_lower = detector.ignore_case and is_caseless(lowered(pattern), detector.not_before | detector.not_after)
        flag = b"(?i:%b)" if detector.ignore_case and not in_lower else b"(?:%b)"
        tail = None if detector.tail is None else re.compile(flag % (lowered(detector.tail.encode()) if in_lower else detector.tail.encode()))
        pattern = flag % (lowered(pattern) if in_lower else pattern)
        first = re.compile(b"(?s:.{0,%d}?)%b((?>%b))%b" % (before - nearest, ahead, pattern, after))
    except (re.error, OverflowError, RecursionError) as problem:
        raise BadDetector(f"{detector.name}: not a regular expression ({getattr(problem, 'msg', 'too large')})") from None
    words = word_pattern(detector.words) if detector.words else None
    steps = WINDOW_STEPS + (before - nearest) * START_STEPS
    return _Shape(
        first, in_lower, tail, before, nearest, before + detector.reach, steps, detector.group + 1, detector.validate, words, detector.words_reach
    )


class Gates:
    """Where context words end in one text, by detector; found when it is asked for the first time."""

    __slots__ = ("_ends", "_find")

    def __init__(self, find: Callable[[], Mapping[int, list[int]]]) -> None:
        """``find`` gives ends by detector, in order."""
        self._find = find
        self._ends: Mapping[int, list[int]] | None = None

    def of(self, index: int) -> list[int]:
        """Ends of one detector's words, or one byte after them, in order."""
        if self._ends is None:
            self._ends = self._find()
        return self._ends.get(index, _NO_ENDS)

    def part(self, start: int, end: int, shift: int) -> Gates:
        """The same for bytes ``start`` to ``end`` of the text, moved by ``shift``."""
        return _Part(self, start, end, shift)


class _Part(Gates):
    __slots__ = ("_end", "_shift", "_start", "_whole")

    def __init__(self, whole: Gates, start: int, end: int, shift: int) -> None:
        self._whole = whole
        self._start, self._end, self._shift = start, end, shift

    def of(self, index: int) -> list[int]:
        ends = self._whole.of(index)
        return [end + self._shift for end in ends[bisect_right(ends, self._start) : bisect_right(ends, self._end + 1)]]


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

    def triggers_of(self, wanted: Callable[[Detector], bool]) -> frozenset[int]:
        """The triggers that any detector shares of which this is true."""
        return frozenset(number for number, owners in enumerate(self._owners) if any(wanted(self.detectors[index]) for index in owners))

    @property
    def width(self) -> int:
        """Bytes that no match is longer than, and so no trigger."""
        return max(((one.reach if one.before is None else one.before) + one.reach for one in self.detectors), default=0)

    def hits(self, text: bytes, places: Mapping[int, list[int]], words_in: bytes, gates: Gates | None = None) -> list[Hit]:
        """Hits in order of (start, end, detector), at borders of characters. ``places`` has, by trigger, the ends of its matches.

        ``gates`` knows where context words stand; None: they are looked for before each match.
        """
        return at_once(self.in_turns(text, places, words_in, gates))

    def in_turns(self, text: bytes, places: Mapping[int, list[int]], words_in: bytes, gates: Gates | None = None) -> Turns[list[Hit]]:
        """The same with pauses, after a few milliseconds each."""
        found: list[Hit] = []
        left = self.limits.budget(text)
        pause = left - TURN_STEPS
        context = Context(text, words_in)
        for trigger in sorted(places):
            ends = places[trigger]
            ends.sort()
            left -= len(ends) * PLACE_STEPS
            for index in self._owners[trigger]:
                shape = self._shapes[index] or self.compiled(index)
                gate = None
                if shape.words is not None and gates is not None and not context.has_in_key(shape.words):
                    gate = gates.of(index)
                    if not gate:
                        left -= GATE_STEPS
                        continue
                low = 0
                for some in (ends,) if len(ends) <= TURN_PLACES else _in_batches(ends, TURN_PLACES):
                    left, low = self._one(index, shape, some, context, found, left, gate, low)
                    if left < pause:
                        yield
                        pause = left - TURN_STEPS
        found.sort()
        return found

    def by_detector(self, places: Mapping[int, list[int]]) -> dict[int, list[int]]:
        """Ends of word triggers, by number of the trigger, as those of each detector's words, in order."""
        ends: dict[int, list[int]] = {}
        for number in places:
            for index in self._word_owners[number]:
                ends.setdefault(index, []).extend(places[number])
        for each in ends.values():
            each.sort()
        return ends

    def _one(
        self, index: int, shape: _Shape, ends: Sequence[int], context: Context, found: list[Hit], left: int, gate: list[int] | None, low: int
    ) -> tuple[int, int]:
        """Hits of one detector, appended; the steps that are left, and the first start that has not been asked for, which ``low`` is too.

        Where ``gate`` has no end of a context word (or of the byte after it), or the tail does not follow, no window is asked.
        """
        first, before, nearest, width, steps = shape.first.match, shape.before, shape.nearest, shape.width, shape.steps
        text = context.text
        searched = context.lower if shape.in_lower else text
        follows = None if shape.tail is None else shape.tail.match
        plain = context.plain
        for end in ends:
            last = end - nearest
            low = max(low, end - before)
            if gate is not None:
                at = bisect_right(gate, low - shape.words_reach)
                if at == len(gate) or gate[at] > last + 1:
                    left -= GATE_STEPS
                    continue
            if follows is not None:
                left -= GATE_STEPS
                tail = follows(searched, end)
                if tail is None:
                    continue
                left -= (tail.end() - end) * MATCH_BYTE_STEPS
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
                    found.append(Hit(value_at, value_end, index) if plain else _whole_characters(text, value_at, value_end, index))
                    if len(found) > self.limits.hits:
                        raise WorkLimit("hits")
        return left, low


def _in_batches(ends: list[int], size: int) -> Iterator[list[int]]:
    """The list in pieces of at most ``size``."""
    return (ends[at : at + size] for at in range(0, len(ends), size))


def _whole_characters(text: bytes, start: int, end: int, index: int) -> Hit:
    """The hit, widened so that it cuts no UTF-8 character: bytes 80 to BF begin none."""
    size = len(text)
    if 0x80 <= text[start] < 0xC0 or (end < size and 0x80 <= text[end] < 0xC0):
        for _ in range(3):
            start -= start > 0 and 0x80 <= text[start] < 0xC0
            end += end < size and 0x80 <= text[end] < 0xC0
    return Hit(start, end, index)

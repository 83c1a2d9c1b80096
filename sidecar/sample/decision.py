"""Whether a trace is kept: OpenTelemetry's consistent probability sampling, keep rules, and the memory of what was decided. Pure.

Owns thresholds and what is written of them (tracestate ``ot=th``, metadata ``sampling_*``), and one decision a trace.
It must not know where probabilities come from, hold spans, or read a clock: times are monotonic seconds of the caller.

What the counts rest on: whether a rule is asked, met and granted never depends on R. So a span counts 1/p when R kept it, 1 when it
came after its trace was granted a rule (whatever R said), and 0 when it was dropped before and rescued, because
those that R kept in its place count for it already. (OpenTelemetry specification, "TraceState: Probability Sampling", 2026-08.)
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import NamedTuple

from sidecar.enrich.edit import encode_text
from sidecar.enrich.keys import METADATA
from sidecar.enrich.notes import UNKNOWN, Finding
from sidecar.sample.budget import Allowance, Minimums
from sidecar.sample.keep_rules import COST, ERRORS, MINIMUM, TOKENS, KeepRules
from sidecar.wire.attributes import KEY, delimited
from sidecar.wire.shallow_pb2 import Span
from sidecar.wire.tracestate import RANDOMNESS_BITS, explicit_randomness, randomness_of, threshold

KEEP_ALL, NEVER = 0, 1 << RANDOMNESS_BITS
"""T that every R passes, and T that none does (a base probability of 0); the latter is never written."""
PRECISION = 4
"""Hex digits of a threshold beside leading f's (the specification's default)."""
_DIGITS = RANDOMNESS_BITS // 4
MAX_OT = 256
"""Characters of the ``ot`` member (tracestate handling)."""
MAX_MEMBERS = 32
"""Of a tracestate (W3C Trace Context)."""

PROBABILITY = f"{METADATA}.sampling_probability"
ADJUSTED_COUNT = f"{METADATA}.sampling_adjusted_count"
RULE = f"{METADATA}.sampling_rule"
RESCUED = f"{METADATA}.sampling_rescued"
TORN = f"{METADATA}.sampling_torn"
DEGRADED = f"{METADATA}.sampling_degraded"
IS_DEGRADED = encode_text(DEGRADED, "true")
"""On spans whose long values were cut harder because it pressed."""
_IS_RESCUED = encode_text(RESCUED, "true")
_DROPPED_MARKS = (encode_text(ADJUSTED_COUNT, "0"), _IS_RESCUED)
_COUNT_HEADS = tuple(delimited(KEY, key.encode()) for key in (PROBABILITY, ADJUSTED_COUNT))

ENTRY_BYTES = 512
"""A trace that is remembered: id 49, entry 128, randomness and threshold 2 x 36, other numbers 3 x 28, its share of the table about 180."""
UNKNOWN_AGENT = ""


class Reason(StrEnum):
    """Why spans were dropped, in the ledger's ``sampled{reason}``."""

    PROBABILITY = "probability"
    PRIORITY = "priority"
    """``sampling.priority`` 0."""
    SHED = "shed"
    """Their trace was taken out of the backlog."""


class Priority(IntEnum):
    """What is shed last (``NewRow.priority``)."""

    CHANCE = 0
    MINIMUM = 1
    RULE = 2
    ERROR = 3


def threshold_of(probability: float) -> int:
    """T for a keep probability, 56 bits, rounded to ``PRECISION`` digits beside leading f's; ``NEVER`` for 0 and less."""
    if probability >= 1:
        return KEEP_ALL
    if not probability > 0:
        return NEVER
    exact = NEVER - max(1, round(math.ldexp(probability, RANDOMNESS_BITS)))
    leading = 0
    while leading < _DIGITS and exact >> (4 * (_DIGITS - 1 - leading)) & 15 == 15:
        leading += 1
    shift = 4 * max(0, _DIGITS - PRECISION - leading)
    rounded = (exact + (1 << shift >> 1)) >> shift << shift
    return min(rounded, NEVER - 1)


def probability_of(t: int) -> float:
    """The keep probability of a threshold."""
    return (NEVER - t) / NEVER


def adjusted_count(t: int) -> float:
    """How many spans one stands for that passed T; 0 for ``NEVER``, which nothing passes."""
    return NEVER / (NEVER - t) if t < NEVER else 0.0


def with_threshold(trace_state: bytes, t: int | None) -> bytes:
    """The state with ``ot=th`` set, or erased for None; everything else in ``ot`` and all other members stay.

    The member is put first, as W3C asks for one that was changed. Where ``ot`` would grow over 256 characters, ``th`` is left out.
    """
    members = [member for member in (each.strip() for each in trace_state.split(b",")) if member]
    own = next((member for member in members if member.startswith(b"ot=")), b"ot=")
    fields = [each for each in own[3:].split(b";") if each and not each.strip().startswith(b"th:")]
    if t is not None:
        digits = (f"{t:0{_DIGITS}x}".rstrip("0") or "0").encode()
        if len(b";".join([own[:3], *fields])) + len(digits) + 4 <= MAX_OT:
            fields.insert(0, b"th:" + digits)
    others = [member for member in members if not member.startswith(b"ot=")]
    return b",".join([b"ot=" + b";".join(fields), *others[: MAX_MEMBERS - 1]] if fields else others)


class Glimpse:
    """What one request shows of one trace."""

    __slots__ = ("agent", "base", "cost_usd", "has_state", "label", "members", "priority", "randomness", "rule", "spans", "tokens", "trace_id")

    def __init__(self, trace_id: bytes) -> None:
        self.trace_id = trace_id
        self.spans = 0
        self.members: list[Span] = []
        """The spans themselves, as far as they were given."""
        self.randomness: int | None = None
        self.has_state = False
        """One of the spans has a trace state."""
        self.agent: str | None = None
        self.label = UNKNOWN
        self.base: float | None = None
        self.rule: str | None = None
        self.cost_usd = 0.0
        self.tokens = 0
        self.priority: float | None = None

    def add(self, trace_state: bytes, found: Finding) -> None:
        """One more span. Of several the strongest rule, the most generous probability and the highest priority count, and the first agent."""
        self.spans += 1
        if trace_state:
            self.has_state = True
            if self.randomness is None:
                self.randomness = explicit_randomness(trace_state)
        if found.rule is not None and (self.rule is None or found.rule == ERRORS):
            self.rule = found.rule
        if found.priority is not None and (self.priority is None or found.priority > self.priority):
            self.priority = found.priority
        if self.agent is None:
            self.agent = found.agent
        if self.label is UNKNOWN:
            self.label = found.label
        if self.base is None or found.base > self.base:
            self.base = found.base
        self.cost_usd += found.cost_usd
        self.tokens += found.tokens


def glimpses(spans: Iterable[tuple[Span, Finding]]) -> dict[bytes, Glimpse]:
    """By trace id, in the order of first appearance, with their members."""
    seen: dict[bytes, Glimpse] = {}
    for span, found in spans:
        trace_id = span.trace_id
        glimpse = seen.get(trace_id)
        if glimpse is None:
            glimpse = seen[trace_id] = Glimpse(trace_id)
        glimpse.add(span.trace_state, found)
        glimpse.members.append(span)
    return seen


class Decision(NamedTuple):
    """What happens to the spans of a trace that came with one request."""

    kept: bool
    threshold: int
    """T that they have passed here; ``KEEP_ALL`` for what is kept by rule, and when nothing is sampled."""
    randomness: int
    rule: str | None = None
    """The rule that was granted to the trace."""
    reason: Reason = Reason.PROBABILITY
    """Of what is dropped."""
    priority: Priority = Priority.CHANCE
    """By the rule that the trace meets, also where nothing had to be granted: a backlog may have to be shed later."""
    rescues: int = 0
    """Spans of this trace that were dropped before and are wanted back now."""
    torn: bool = False
    """Parts of the trace are known to be missing."""

    @property
    def is_plain(self) -> bool:
        """Nothing was decided: spans pass as they came."""
        return self.kept and self.threshold == KEEP_ALL and self.rule is None and not self.torn


class _Entry:
    __slots__ = ("agent_known", "cost_usd", "dropped", "kept", "randomness", "reason", "rule", "spans", "threshold", "tokens", "torn")

    def __init__(self, randomness: int, t: int, reason: Reason) -> None:
        self.randomness = randomness
        self.threshold = t
        self.kept = randomness >= t
        self.reason = reason
        self.rule: str | None = None
        self.agent_known = False
        self.torn = False
        self.spans = 0
        self.dropped = 0
        self.cost_usd = 0.0
        self.tokens = 0


class Decisions:
    """One decision a trace, remembered for as long as there is room: the trace unseen for longest is forgotten first.

    Kept and dropped traces are remembered alike, also while everything is kept, so that no trace is torn when the probability
    changes. A trace that was forgotten is decided anew, the same way unless the probability has crossed its R.
    Memory, at most: ``max_bytes``, 512 a trace.
    """

    def __init__(self, max_bytes: int, rules: KeepRules, now_s: float) -> None:
        self._max_traces = max(1, max_bytes // ENTRY_BYTES)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.forgotten = 0
        """Traces forgotten for want of room, since they were last taken away."""
        self.excess: Counter[str] = Counter()
        """Spans that met a rule which had nothing left to grant, by rule, since they were last taken away."""
        self.use_rules(rules, now_s)

    def __len__(self) -> int:
        return len(self._entries)

    def use_rules(self, rules: KeepRules, now_s: float) -> None:
        """Decide by ``rules`` from now on; what was decided stays."""
        self._rules = rules
        self.allowance = Allowance(rules.capacity, now_s)
        self._minimums = Minimums(rules.minimum_per_minute)

    def decide(self, glimpse: Glimpse, probability: float, now_s: float) -> Decision:
        """What happens to the spans of this glimpse. ``probability`` is what pressure and budgets allow; it is multiplied by the trace's base."""
        entry = self._entries.get(glimpse.trace_id)
        if entry is None:
            entry = self._remember(glimpse, probability)
        else:
            self._entries.move_to_end(glimpse.trace_id)
        entry.spans += glimpse.spans
        entry.cost_usd += glimpse.cost_usd
        entry.tokens += glimpse.tokens
        met = self._met(entry, glimpse)
        if entry.rule is not None:
            self.allowance.spend(glimpse.spans)
        elif entry.threshold != KEEP_ALL:
            rule = met or self._minimum(entry, glimpse, now_s)
            if rule is not None and self._grant(entry, rule, glimpse, now_s):
                entry.kept = True
        rescues = 0
        if entry.kept:
            rescues, entry.dropped = entry.dropped, 0
        else:
            entry.dropped += glimpse.spans
        asked = KEEP_ALL if entry.rule is not None else entry.threshold
        priority = max(priority_of(entry.rule), priority_of(met))
        return Decision(entry.kept, asked, entry.randomness, entry.rule, entry.reason, priority, rescues, entry.torn)

    def take_back(self, glimpse: Glimpse, decision: Decision) -> None:
        """The request of this glimpse was refused: its spans never came, and whoever was rescued for it is dropped again.

        What was granted stays granted, so that the same spans, sent again, are kept.
        """
        entry = self._entries.get(glimpse.trace_id)
        if entry is None:
            return
        entry.spans = max(0, entry.spans - glimpse.spans)
        entry.cost_usd -= glimpse.cost_usd
        entry.tokens -= glimpse.tokens
        entry.dropped = entry.dropped + decision.rescues if decision.kept else max(0, entry.dropped - glimpse.spans)

    def demand(self, trace_id: bytes, rule: str, now_s: float) -> Decision | None:
        """Somebody asks for a trace from outside (feedback, a score). None: nothing is known of it.

        A later span of it is kept too; ``rescues`` says what should come back.
        """
        if trace_id not in self._entries:
            return None
        wish = Glimpse(trace_id)
        wish.rule = rule
        return self.decide(wish, 1.0, now_s)

    def tear(self, trace_id: bytes) -> None:
        """Note that parts of a kept trace are missing, so that its later spans are marked."""
        entry = self._entries.get(trace_id)
        if entry is not None:
            entry.torn = True

    def shed(self, trace_id: bytes, randomness: int, spans: int, raised: int) -> None:
        """Note that so many spans of a trace were taken out of the backlog when T was raised: it is dropped from now on.

        A trace that is forgotten takes nobody's room: a backlog is large, and little of it is still alive.
        """
        entry = self._entries.get(trace_id)
        if entry is None:
            if len(self._entries) >= self._max_traces:
                return
            entry = self._entries[trace_id] = _Entry(randomness, raised, Reason.SHED)
        entry.kept, entry.rule, entry.reason = False, None, Reason.SHED
        entry.threshold = max(entry.threshold, raised)
        entry.dropped += spans

    def _remember(self, glimpse: Glimpse, probability: float) -> _Entry:
        randomness = randomness_of(glimpse.trace_id) if glimpse.randomness is None else glimpse.randomness
        if glimpse.priority is not None and glimpse.priority <= 0:
            entry = _Entry(randomness, NEVER, Reason.PRIORITY)
        else:
            entry = _Entry(randomness, threshold_of(probability * (1.0 if glimpse.base is None else glimpse.base)), Reason.PROBABILITY)
        self._insert(glimpse.trace_id, entry)
        return entry

    def _insert(self, trace_id: bytes, entry: _Entry) -> None:
        if len(self._entries) >= self._max_traces:
            self._entries.popitem(last=False)
            self.forgotten += 1
        self._entries[trace_id] = entry

    def _met(self, entry: _Entry, glimpse: Glimpse) -> str | None:
        """The rule that the trace meets by now, granted or not."""
        keep = self._rules.keep
        if glimpse.rule is not None:
            return glimpse.rule
        if keep.cost_usd is not None and entry.cost_usd >= keep.cost_usd:
            return COST
        return TOKENS if keep.tokens is not None and entry.tokens >= keep.tokens else None

    def _minimum(self, entry: _Entry, glimpse: Glimpse, now_s: float) -> str | None:
        is_new = entry.spans == glimpse.spans
        if entry.reason is Reason.PROBABILITY and (is_new or (glimpse.agent is not None and not entry.agent_known)):
            entry.agent_known = glimpse.agent is not None
            return MINIMUM if self._minimums.due(glimpse.agent or UNKNOWN_AGENT, now_s) else None
        return None

    def _grant(self, entry: _Entry, rule: str, glimpse: Glimpse, now_s: float) -> bool:
        """Charges what the trace has had so far, whatever R said of it."""
        if not self.allowance.take(entry.spans, now_s, urgent=rule == ERRORS):
            self.excess[rule] += glimpse.spans
            return False
        if rule == MINIMUM:
            self._minimums.took(glimpse.agent or UNKNOWN_AGENT, now_s)
        entry.rule = rule
        return True


_PRIORITIES: Mapping[str | None, Priority] = {None: Priority.CHANCE, ERRORS: Priority.ERROR, MINIMUM: Priority.MINIMUM}


def priority_of(rule: str | None) -> Priority:
    """Of rows that meet a rule, or none."""
    return _PRIORITIES.get(rule, Priority.RULE)


def mark_kept(spans: Iterable[Span], decision: Decision) -> float:
    """Write on kept spans of one trace how they were chosen; gives the sum of their adjusted counts.

    A higher incoming ``th`` stays. One that R can't have passed is erased, because nobody knows then what the span stands for
    before it came here; it counts for what was decided here. When nothing was decided, spans stay as they came.
    """
    total = 0.0
    marks: dict[float, tuple[bytes, ...]] = {}
    for span in spans:
        state = span.trace_state
        incoming = threshold(state) if state else None
        consistent = incoming is None or incoming <= decision.randomness
        t = max(incoming or KEEP_ALL, decision.threshold) if consistent else decision.threshold
        count = adjusted_count(t)
        total += count
        if decision.is_plain:
            continue
        if not consistent:
            span.trace_state = with_threshold(state, None)
        elif decision.threshold != KEEP_ALL and t != incoming:
            span.trace_state = with_threshold(state, t)
        if count not in marks:
            marks[count] = _marks(count, decision)
        span.attributes.extend(marks[count])
    return total


def mark_raised(spans: Sequence[Span], raised: int) -> bool:
    """Write on the spans of a row that it passed a higher threshold since it was stored; whether anything was changed.

    Nothing is, if a span says that it has passed ``raised`` already: then that is what the row came with. Rescued spans count for nothing all the same.
    """
    if any((threshold(span.trace_state) or KEEP_ALL) >= raised for span in spans if span.trace_state):
        return False
    count = adjusted_count(raised)
    marks = [encode_text(PROBABILITY, f"{1 / count:.6g}"), encode_text(ADJUSTED_COUNT, f"{count:.6g}")]
    changed = False
    for span in spans:
        if _IS_RESCUED in span.attributes:
            continue
        others = [raw for raw in span.attributes if not raw.startswith(_COUNT_HEADS)]
        span.attributes[:] = others + marks
        span.trace_state = with_threshold(span.trace_state, raised)
        changed = True
    return changed


def mark_dropped(spans: Iterable[Span]) -> None:
    """Write on spans that go to limbo what will be true if they are rescued: they count for nothing, others stand for them."""
    for span in spans:
        if span.trace_state:
            span.trace_state = with_threshold(span.trace_state, None)
        span.attributes.extend(_DROPPED_MARKS)


def _marks(count: float, decision: Decision) -> tuple[bytes, ...]:
    marks = [encode_text(PROBABILITY, f"{1 / count:.6g}"), encode_text(ADJUSTED_COUNT, f"{count:.6g}")]
    if decision.rule is not None:
        marks.append(encode_text(RULE, decision.rule))
    if decision.torn:
        marks.append(encode_text(TORN, "true"))
    return tuple(marks)

"""What is known of live traces: when they began, who is whose parent, what their spans say for others.

Owns one table bounded by bytes; the trace unseen for longest leaves first. It must not read clocks or spans, nor know
what an attribute means: callers say what they saw and when. Everything textual in it has been masked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from sidecar.trace.measure import MEASURE_BYTES, Measure

ENTRY_BYTES = 1152
"""A trace without spans: id 49, state 220, its containers 7 x 64, its share of the table about 180, room to grow."""
NODE_BYTES = 300
"""A span: two ids of 41, the tuple 80, its share of a dict about 100."""
FACT_BYTES = 160
"""A fact beside its text: headers 2 x 49, its share of a dict about 60."""
CALL_BYTES = 500
"""A call: id 41, the struct 72, numbers 5 x 32, models 56 + 2 x 32, its share of a dict about 100."""
ABOVE_BYTES = 150
"""A span above a call: id 41, its share of a dict about 100."""
MAX_CALLS = 64
"""Calls of one trace that are remembered, the newest: what saw the same call reports it within seconds."""
MAX_ANSWERS = 4096
"""Calls whose answers are remembered whatever their trace, the newest: 4096 x 190 bytes (hash 32, id 41, share of a dict about 110) = 0.8 MB beside the table."""
CALL_BELOW, COUNTED_BELOW = 1, 2
"""Bits of what lies below a span: a call, wherever; a call that counted, with tokens, and nothing that bounds in between."""
MAX_DEPTH = 64
"""Ancestors that are followed at a time; a circle ends there."""
MAX_NODES = 8192
"""Spans of one trace that are remembered, the newest: 2.4 MiB. Children come before their parents, so old ones are rarely asked for."""
MAX_CONTEXT_BYTES = 16 * 1024
"""What a trace may say for all its spans; each of them carries it."""
MAX_TAGS = 64
MAX_TAG_CHARS = 200
"""Langfuse's SDKs drop a longer tag; here it stays on its own span and is not spread. All tags together are 13 KiB on each span of their trace."""
MAX_CONTENT_BYTES = 1024 * 1024
"""Content of a trace's spans that waits for them."""


class Said(NamedTuple):
    """What a span says for those below it, as serialized attributes."""

    agent: tuple[bytes, ...]
    """Who does the work; empty when the span names no agent."""
    context: Mapping[str, bytes]
    """By subject (user, session, ...), said on purpose."""
    weak_session: bytes | None = None
    """A session that is only implied (a conversation's id)."""
    tags: tuple[str, ...] = ()
    budget: str = ""
    """Name of the agent's budget in the operator's rules."""

    @property
    def size_bytes(self) -> int:
        texts = sum(map(len, self.agent)) + sum(map(len, self.context.values())) + len(self.weak_session or b"")
        return FACT_BYTES * (len(self.agent) + len(self.context)) + texts


class Node(NamedTuple):
    """One span of a live trace."""

    parent_id: bytes
    said: Said | None
    kept: bool
    """False: it was left out, and its children hang on the nearest kept ancestor."""
    awaits_content: bool = False
    """Its input and output may come apart from it."""
    bounds: bool = False
    """A call below it is a call of its own, even if there is another call around."""
    measure: Measure | None = None
    """What it counts for, while its agent is not known."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call of a model that was counted: as much of it as shows that another span is the same one. No text, hashes only."""

    scope: int
    """Of the instrumentation's scope."""
    models: tuple[int, ...]
    """Of the models' names."""
    tokens: int | None
    start_ns: int
    end_ns: int
    answer: int | None
    """Of the id that the provider gave its answer."""
    is_agent: bool
    """An agent's run that counted for the calls that nobody saw; all below it are part of it."""


class Learned(NamedTuple):
    """One subject of a trace's context. Of two claims the stronger counts; equally strong ones that differ cancel out."""

    strength: int
    raw: bytes
    """Serialized attribute; empty while disputed."""


class Content(NamedTuple):
    """A message that came apart from its span."""

    direction: str
    """``input`` or ``output``."""
    time_unix_nano: int
    text: str
    """Masked JSON."""
    many: bool
    """The text is a list of messages."""


@dataclass(slots=True, eq=False)
class TraceState:
    """One live trace. Times are milliseconds of the caller's clock. Only ``LiveTraces`` changes what counts bytes."""

    trace_id: bytes
    first_seen_ms: int
    root_seen: bool = False
    llm_seen: bool = False
    """One of its spans does LLM work."""
    rows_wait: bool = False
    """Rows of this trace wait for its context."""
    content_until_ms: int = 0
    """Until when rows of this trace wait for content."""
    nodes: dict[bytes, Node] = field(default_factory=dict)
    """By span id, oldest first."""
    context: dict[str, Learned] = field(default_factory=dict)
    """By subject."""
    tags: dict[str, None] = field(default_factory=dict)
    """In the order of their appearance."""
    calls: dict[bytes, Call] = field(default_factory=dict)
    """Counted ones by span id, oldest first."""
    above: dict[bytes, int] = field(default_factory=dict)
    """By id, spans that have calls below them, whether they came yet or not, with the bits that say which."""
    contents: dict[bytes, list[Content]] = field(default_factory=dict)
    """By span id."""
    size_bytes: int = ENTRY_BYTES
    content_bytes: int = 0
    context_bytes: int = 0
    measures: int = 0
    """Spans whose measure waits."""
    is_live: bool = True
    """False once the table forgot it."""


class LiveTraces:
    """A table of live traces bounded by bytes.

    Forgetting a trace costs context, never spans: its later rows settle anew, as those of a trace seen for the first time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._traces: OrderedDict[bytes, TraceState] = OrderedDict()
        self._bytes = 0
        self._answers: dict[int, bytes] = {}
        self.evictions = 0
        """Traces forgotten for want of room."""
        self._left: list[Measure] = []

    def __len__(self) -> int:
        return len(self._traces)

    @property
    def size_bytes(self) -> int:
        """The sum of the traces' sizes; at most ``max_bytes`` and one trace's latest fact between calls."""
        return self._bytes

    def see(self, trace_id: bytes, now_ms: int) -> TraceState:
        """The trace, which is seen now."""
        state = self._traces.get(trace_id)
        if state is None:
            state = self._traces[trace_id] = TraceState(trace_id, first_seen_ms=now_ms)
            self._grow(state, ENTRY_BYTES, counted=True)
        else:
            self._traces.move_to_end(trace_id)
            state.first_seen_ms = min(state.first_seen_ms, now_ms)  # the wall clock may have been set back
        return state

    def get(self, trace_id: bytes) -> TraceState | None:
        """What is known of a trace, without counting as a sight of it."""
        return self._traces.get(trace_id)

    def add_span(self, state: TraceState, span_id: bytes, node: Node) -> None:
        """Remember a span; of one that is seen again the newer counts."""
        nodes = state.nodes
        grown = 0
        old = nodes.pop(span_id, None)
        if old is not None:
            grown -= _node_bytes(old)
            if old.measure is not None:
                state.measures -= 1
        elif len(nodes) >= MAX_NODES:
            oldest = nodes.pop(next(iter(nodes)))
            grown -= _node_bytes(oldest)
            if oldest.measure is not None and state.is_live:
                state.measures -= 1
                self._left.append(oldest.measure)
        nodes[span_id] = node
        self._grow(state, grown + _node_bytes(node))

    def add_call(self, state: TraceState, span_id: bytes, call: Call) -> None:
        """Remember a call that counts."""
        calls = state.calls
        if calls.pop(span_id, None) is None:
            if len(calls) >= MAX_CALLS:
                del calls[next(iter(calls))]
            else:
                self._grow(state, CALL_BYTES)
        calls[span_id] = call

    def is_first(self, answer: int, span_id: bytes, *, counts: bool) -> bool:
        """Whether no other span counted for an answer (``Call.answer``) lately, in whatever trace; this one is remembered if it ``counts``."""
        first = self._answers.get(answer)
        if first is None and counts:
            if len(self._answers) >= MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]
            self._answers[answer] = span_id
        return first is None or first == span_id

    def mark_above(self, state: TraceState, span_id: bytes, below: int) -> None:
        """Remember of a span and of all known ones around it what lies below; at most ``MAX_NODES`` of a trace."""
        above = state.above
        for _ in range(MAX_DEPTH):
            known = above.get(span_id)
            if not span_id or (known is not None and known | below == known) or (known is None and len(above) >= MAX_NODES):
                return
            if known is None:
                self._grow(state, ABOVE_BYTES)
            above[span_id] = below if known is None else known | below
            node = state.nodes.get(span_id)
            if node is None:
                return
            if node.bounds:
                below = CALL_BELOW
            span_id = node.parent_id

    def learn(self, state: TraceState, subject: str, claim: Learned, *, always: bool = False) -> None:
        """Take in what a span claims for its whole trace. Beyond ``MAX_CONTEXT_BYTES`` only subjects of a fixed set (``always``) are taken."""
        known = state.context.get(subject)
        if known is not None and known.strength > claim.strength:
            return
        if known is not None and known.strength == claim.strength:
            if known.raw == claim.raw:
                return
            claim = Learned(claim.strength, b"")
        grown = len(claim.raw) - len(known.raw) if known is not None else FACT_BYTES + len(subject) + len(claim.raw)
        if state.context_bytes + grown > MAX_CONTEXT_BYTES and not always:
            return
        state.context[subject] = claim
        state.context_bytes += grown
        self._grow(state, grown)

    def add_tag(self, state: TraceState, tag: str) -> None:
        """One more tag of the trace, up to ``MAX_TAGS`` of ``MAX_TAG_CHARS``."""
        if len(tag) <= MAX_TAG_CHARS and tag not in state.tags and len(state.tags) < MAX_TAGS:
            state.tags[tag] = None
            self._grow(state, FACT_BYTES + 4 * len(tag))

    def add_content(self, state: TraceState, span_id: bytes, content: Content) -> bool:
        """Keep a message until its span is complete; False when it came before, or when the trace holds ``MAX_CONTENT_BYTES`` already."""
        size = _content_bytes(content)
        if content in state.contents.get(span_id, ()):
            return False
        if state.content_bytes + size > MAX_CONTENT_BYTES:
            return False
        state.contents.setdefault(span_id, []).append(content)
        state.content_bytes += size
        self._grow(state, size)
        return True

    def take_content(self, state: TraceState, span_id: bytes) -> list[Content]:
        """The messages that wait for a span, in the order of their time; they are gone afterwards."""
        found = state.contents.pop(span_id, None)
        if found is None:
            return []
        size = sum(_content_bytes(content) for content in found)
        state.content_bytes -= size
        self._grow(state, -size)
        return sorted(found, key=lambda content: content.time_unix_nano)

    def keep_measure(self, state: TraceState, span_id: bytes, measure: Measure) -> bool:
        """Let a measure wait at its span until it is taken; False when the span or its trace is forgotten already."""
        node = state.nodes.get(span_id)
        if node is None or not state.is_live:
            return False
        state.nodes[span_id] = node._replace(measure=measure)
        if node.measure is None:
            state.measures += 1
            self._grow(state, MEASURE_BYTES)
        return True

    def take_measure(self, state: TraceState, span_id: bytes) -> Measure | None:
        """The measure that waits at a span, which is gone afterwards."""
        node = state.nodes.get(span_id) if state.measures else None
        if node is None or node.measure is None:
            return None
        state.nodes[span_id] = node._replace(measure=None)
        state.measures -= 1
        self._grow(state, -MEASURE_BYTES)
        return node.measure

    def take_left(self) -> list[Measure]:
        """The measures of spans that were forgotten while they waited; they are gone afterwards."""
        left, self._left = self._left, []
        return left

    def _grow(self, state: TraceState, size: int, *, counted: bool = False) -> None:
        if not state.is_live:
            return
        if not counted:
            state.size_bytes += size
        self._bytes += size
        while self._bytes > self._max_bytes and self._traces:
            _, oldest = self._traces.popitem(last=False)
            oldest.is_live = False
            self._bytes -= oldest.size_bytes
            self.evictions += 1
            if oldest.measures:
                self._left += [node.measure for node in oldest.nodes.values() if node.measure is not None]


def _node_bytes(node: Node) -> int:
    size = NODE_BYTES if node.measure is None else NODE_BYTES + MEASURE_BYTES
    return size if node.said is None else size + FACT_BYTES + node.said.size_bytes


def _content_bytes(content: Content) -> int:
    """A character of ASCII takes a byte, of another text at most four (PEP 393)."""
    return FACT_BYTES + len(content.text) * (1 if content.text.isascii() else 4)

"""What only a trace knows, written on each of its spans: user, session, agent, tags, kept parents, content from logs. Pure.

Runs after masking, on masked spans: what one span says is copied to others as it will leave the process. Owns when a row
must wait for its trace and when it need not. It must not know dialects, compression or SQLite.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from sidecar.enrich import keys
from sidecar.enrich.agent_labels import AgentLabels
from sidecar.enrich.agent_names import TrackedNames
from sidecar.enrich.edit import encode_text
from sidecar.enrich.log_content import LogContent, assemble
from sidecar.enrich.notes import BOUNDARIES, CALL_KINDS, LLM_KINDS, UNKNOWN, Note
from sidecar.enrich.said import ENVIRONMENT, NAME, NOTHING_SAID, RELEASE, SESSION, SUBJECTS, TAGS, USER, encode_tags, key_of, read_said
from sidecar.enrich.sdk_metadata import MAX_TRACE_NAME
from sidecar.trace.live import CALL_BELOW, COUNTED_BELOW, MAX_CONTEXT_BYTES, Content, Learned, LiveTraces, Node, Said, TraceState
from sidecar.trace.measure import Measure
from sidecar.wire.attributes import encode_bool
from sidecar.wire.shallow_pb2 import Span

MAX_DEPTH = 128
"""Ancestors that are asked at a time; a circle ends there."""
WEAK_CHILD, WEAK_ROOT, CHILD, ROOT = 1, 2, 3, 4
"""Strength of a claim: implied by a span, implied by the root, said on purpose by a span, by the root."""
_NOTHING_LEARNED = Learned(0, b"")
ALWAYS = frozenset({USER, SESSION, NAME, RELEASE, ENVIRONMENT})
"""Learned however much metadata a trace has."""
_CONTENT_KEYS = (("input", keys.INPUT), ("output", keys.OUTPUT))
_APP_ROOT = encode_bool("langfuse.internal.is_app_root", True)


class Outcome(StrEnum):
    """What happened to spans on the way, for metrics."""

    WITHOUT_ROOT = "without_root"
    """Sealed before the trace's root was seen: its context may be missing."""
    FORGOTTEN = "forgotten"
    """Sealed after the table of live traces forgot the trace, or after a restart."""
    REPARENTED = "reparented"
    LATE_CHILD = "late_child"
    """Re-parented though its parent had been left out by an earlier request."""
    LEFT_OUT = "left_out"
    """Infrastructure spans that the filter took out."""
    WITHOUT_CONTEXT = "without_context"
    """Left without context or tags that their trace has, because the spans around them had grown by all that they may."""
    NO_LLM = "no_llm"
    """Spans of traces in which no LLM work was seen."""


class MessageOutcome(StrEnum):
    """What happened to messages that came as log records."""

    JOINED = "joined"
    UNUSED = "unused"
    """Their span had left already, or holds its content itself."""
    NO_ROOM = "no_room"
    """Repeated, or more than a trace may hold."""


MAX_GROWTH_BYTES, MAX_GROWTH_BYTES_PER_SPAN = 4 * 1024 * 1024, 1024
"""What the spans of one batch or row may grow by: so much, and so much more for each. Alone, a span can grow by 29 KiB (context and tags), and
a MiB holds 20,000 spans that say nothing themselves."""
OVERDUE_MS = 30_000
"""After the time to settle: measures that still wait then belong to rows that were never stored (refused, or dropped by sampling)."""
MAX_AWAITED = 20_000
"""Traces whose measures wait, by the time they came: 140 bytes each, 2.8 MB. Of more, the oldest wait no longer."""
FIRST_HOPE, HOPE = 20, 1000
"""Traces that wait for content in logs: so many at first, and so many more with each message that came. Agents that record no
content at all then wait no longer."""


class Inherited(NamedTuple):
    """What the ancestors say, the nearest first."""

    agent: tuple[bytes, ...]
    context: Mapping[str, bytes]
    weak_session: bytes | None
    budget: str
    """Of the agent."""


NOTHING_INHERITED = Inherited((), {}, None, "")


Counted: TypeAlias = "tuple[str, str, Measure]"
"""A measure that is ready to be counted, behind its agent's label (masked, tidied and bounded) and the name of the agent's budget (empty: none)."""


@dataclass(slots=True)
class Completed:
    """What the rows of a batch must know."""

    seal_at: dict[bytes, int] = field(default_factory=dict)
    """Traces whose rows must wait, until when (milliseconds)."""
    released: set[bytes] = field(default_factory=set)
    """Traces whose earlier rows need not wait any longer."""
    without_llm: set[bytes] = field(default_factory=set)
    """Traces to leave out whole."""
    counted: list[Counted] = field(default_factory=list)
    """What to count once the batch is committed: a client that is refused sends it again."""


class _Additions(NamedTuple):
    """Attributes to add to a span."""

    raws: list[bytes]
    size_bytes: int


class _Room:
    """What a batch or row may still grow by."""

    __slots__ = ("left_bytes",)

    def __init__(self, spans: int) -> None:
        self.left_bytes = MAX_GROWTH_BYTES + MAX_GROWTH_BYTES_PER_SPAN * spans

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes more, which are taken then."""
        if size > self.left_bytes:
            return False
        self.left_bytes -= size
        return True


class _Trace:
    """A trace while one batch or row of it is completed."""

    __slots__ = ("additions", "inherited", "is_complete", "left_out", "notes", "room", "state")

    def __init__(self, state: TraceState, room: _Room) -> None:
        self.room = room
        self.left_out: set[bytes] = set()
        self.state = state
        self.notes: list[tuple[Note, Said]] = []
        self.is_complete = True
        self.inherited: dict[bytes, Inherited] = {}
        self.additions: dict[bytes, _Additions] = {}


class Completer:
    """Completes batches as they come and rows as they are sealed. One for the process; memory is that of ``live``."""

    def __init__(self, live: LiveTraces, *, settle_ms: int, llm_only: bool = False, labels: AgentLabels | None = None) -> None:
        self._live = live
        self._labels = AgentLabels(TrackedNames()) if labels is None else labels
        self._settle_ms = settle_ms
        self._llm_only = llm_only
        self._hope = FIRST_HOPE
        self.outcomes: Counter[Outcome] = Counter()
        """Spans, since they were last taken away."""
        self.messages: Counter[MessageOutcome] = Counter()
        """Messages from logs, likewise."""
        self.counted: list[Counted] = []
        """Measures that waited and wait no longer, likewise."""
        self._awaited: deque[tuple[int, bytes]] = deque()
        """Traces whose measures wait, and when that is overdue."""

    def complete(self, notes: Sequence[Note], now_ms: int) -> Completed:
        """Complete the spans of a batch, which has been masked, with what is known of their traces by now."""
        traces: dict[bytes, _Trace] = {}
        room = _Room(len(notes))
        for note in notes:
            trace_id = note.span.trace_id
            trace = traces.get(trace_id)
            if trace is None:
                trace = traces[trace_id] = _Trace(self._live.see(trace_id, now_ms), room)
            self._take_in(trace, note)
        done = Completed()
        for trace_id, trace in traces.items():
            root_seen = trace.state.root_seen
            for note, said in trace.notes:
                self._take_in_calls(trace.state, note)
                if note.kept:
                    self._complete(trace, note.span, said, with_trace=root_seen)
            self._decide(trace_id, trace, now_ms, done)
            self._measure(trace, done, now_ms, waits=trace_id in done.seal_at)
            if trace_id not in done.seal_at:
                for note, _ in trace.notes:
                    if note.lacks_content:
                        self._join(trace.state, note.span)
        self._count_left(now_ms)
        return done

    def take_contents(self, contents: Iterable[LogContent], now_ms: int) -> None:
        """Keep masked messages for their spans, which may have come or not."""
        for content in contents:
            self._hope = HOPE
            state = self._live.see(content.trace_id, now_ms)
            node = state.nodes.get(content.span_id)
            if node is not None and not node.awaits_content:
                self.messages[MessageOutcome.UNUSED] += 1
                continue
            message = Content(content.direction, content.time_unix_nano, content.text, content.many)
            if not self._live.add_content(state, content.span_id, message):
                self.messages[MessageOutcome.NO_ROOM] += 1

    def complete_row(self, trace_id: bytes, spans: Iterable[Span]) -> bool:
        """Complete the spans of a row that is being sealed; whether anything was changed."""
        state = self._live.get(trace_id)
        spans = list(spans)
        if state is None:
            self.outcomes[Outcome.FORGOTTEN] += len(spans)
            return False
        if not state.root_seen:
            self.outcomes[Outcome.WITHOUT_ROOT] += len(spans)
        trace = _Trace(state, _Room(len(spans)))
        self._measure_row(trace, [span.span_id for span in spans])
        changed = [self._complete(trace, span, read_said(span), with_trace=True, with_row=True) | self._join(state, span) for span in spans]
        return any(changed)

    def without_llm(self, trace_id: bytes, *, if_ended: bool = False) -> bool:
        """Whether a row whose time to settle is over is to be left out: no span of its trace did LLM work. With ``if_ended`` only if its root has come."""
        state = self._live.get(trace_id)
        return self._llm_only and state is not None and not state.llm_seen and (state.root_seen or not if_ended)

    def leave_out(self, trace_id: bytes, spans: Iterable[Span]) -> None:
        """Note that these spans are left out, so that a later child finds its nearest kept ancestor."""
        state = self._live.get(trace_id)
        if state is not None:
            spans = list(spans)
            self._measure_row(_Trace(state, _Room(0)), [span.span_id for span in spans])
        for span in spans:
            self.outcomes[Outcome.NO_LLM] += 1
            if state is not None and (node := state.nodes.get(span.span_id)) is not None:
                state.nodes[span.span_id] = node._replace(kept=False)

    def _measure(self, trace: _Trace, done: Completed, now_ms: int, *, waits: bool) -> None:
        """Count what a batch's spans of a trace did, by agent. Where it is not known and a row waits, the measure waits too."""
        label, waiting = self._labels.of, trace.state.measures
        for note, said in trace.notes:
            measure = note.measure
            if measure is None:
                continue
            by = said if said.agent else self._inherited(trace, note.span.parent_span_id)
            if by.agent:
                done.counted.append((label(by.agent), by.budget, measure))
            elif not waits or not self._live.keep_measure(trace.state, note.span.span_id, measure):
                done.counted.append((UNKNOWN, "", measure))
        if trace.state.measures and not waiting:
            self._awaited.append((now_ms + self._settle_ms + OVERDUE_MS, trace.state.trace_id))

    def _measure_row(self, trace: _Trace, span_ids: Iterable[bytes]) -> None:
        """Count what waited at the spans of a row."""
        state = trace.state
        if not state.measures:
            return
        for span_id in span_ids:
            measure = self._live.take_measure(state, span_id)
            if measure is not None:
                by = self._inherited(trace, state.nodes[span_id].parent_id)
                self.counted.append((self._labels.of(by.agent), by.budget, measure))

    def _count_left(self, now_ms: int) -> None:
        """Count what waited at spans that were forgotten, and what waited too long."""
        awaited = self._awaited
        while awaited and (awaited[0][0] <= now_ms or len(awaited) > MAX_AWAITED):
            state = self._live.get(awaited.popleft()[1])
            if state is not None:
                self._measure_row(_Trace(state, _Room(0)), list(state.nodes))
        self.counted += [(UNKNOWN, "", measure) for measure in self._live.take_left()]

    def _take_in(self, trace: _Trace, note: Note) -> None:
        state, span = trace.state, note.span
        parent_id = span.parent_span_id
        said = read_said(span, note.speaks_by, note.speaks_at) if note.speaks_by and note.kept else NOTHING_SAID
        if note.budget and said.agent:
            said = said._replace(budget=note.budget)
        self._live.add_span(
            state, span.span_id, Node(parent_id, None if said is NOTHING_SAID else said, note.kept, note.lacks_content, note.kind in BOUNDARIES)
        )
        if note.kind in LLM_KINDS:
            state.llm_seen = True
        if said is not NOTHING_SAID:
            self._learn(state, said, is_root=not parent_id)
        for tag in note.tags:
            self._live.add_tag(state, tag)
        if not parent_id:
            state.root_seen = True
            if NAME not in said.context and note.kept:
                name = encode_text(keys.TRACE_NAME, span.name.decode(errors="replace")[:MAX_TRACE_NAME])
                self._live.learn(state, NAME, Learned(WEAK_ROOT, name), always=True)
        if not note.kept:
            self.outcomes[Outcome.LEFT_OUT] += 1
            trace.left_out.add(span.span_id)
        trace.notes.append((note, said))

    def _take_in_calls(self, state: TraceState, note: Note) -> None:
        """Remember a call, and of the spans around that one lies below them; not where the root has come, because nothing is above any more."""
        if state.root_seen:
            return
        span_id = note.span.span_id
        below = state.above.get(span_id, 0)
        if note.kind in CALL_KINDS:
            below |= CALL_BELOW
        if note.call is not None:
            self._live.add_call(state, span_id, note.call)
            below |= CALL_BELOW if note.call.tokens is None else CALL_BELOW | COUNTED_BELOW
        if below:
            self._live.mark_above(state, note.span.parent_span_id, CALL_BELOW if note.kind in BOUNDARIES else below)

    def _learn(self, state: TraceState, said: Said, *, is_root: bool) -> None:
        strength = ROOT if is_root else CHILD
        for subject, raw in said.context.items():
            known = state.context.get(subject)
            if known is None or known.raw != raw or known.strength < strength:
                self._live.learn(state, subject, Learned(strength, raw), always=subject in ALWAYS)
        if said.weak_session is not None:
            self._live.learn(state, SESSION, Learned(WEAK_ROOT if is_root else WEAK_CHILD, said.weak_session), always=True)
        for tag in said.tags:
            self._live.add_tag(state, tag)

    def _decide(self, trace_id: bytes, trace: _Trace, now_ms: int, done: Completed) -> None:
        """Whether the trace's rows wait. They do while its context may still grow, and no longer than ``settle_ms`` from its first row."""
        state = trace.state
        seal_at_ms = state.first_seen_ms + self._settle_ms
        may_grow = not state.root_seen and not trace.is_complete
        wanted = state.llm_seen or not self._llm_only
        if self._hope > 0 and self._settle_ms and any(note.lacks_content for note, _ in trace.notes):
            self._hope -= 1
            state.rows_wait = True
            state.content_until_ms = done.seal_at[trace_id] = now_ms + self._settle_ms
        elif seal_at_ms <= now_ms:
            if not wanted:
                done.without_llm.add(trace_id)
                self.leave_out(trace_id, [note.span for note, _ in trace.notes if note.kept])
        elif may_grow or not wanted:
            state.rows_wait = True
            done.seal_at[trace_id] = seal_at_ms
        if state.rows_wait and state.root_seen and wanted and state.content_until_ms <= now_ms:
            state.rows_wait = False
            done.released.add(trace_id)

    def _complete(self, trace: _Trace, span: Span, said: Said, *, with_trace: bool, with_row: bool = False) -> bool:
        """Write on a span what its ancestors and, ``with_trace``, its whole trace say. Its own word stands."""
        state, parent_id = trace.state, span.parent_span_id
        inherited = self._inherited(trace, parent_id)
        if said is NOTHING_SAID:
            additions = trace.additions.get(parent_id)
            if additions is None:
                additions = trace.additions[parent_id] = _additions(state, said, inherited, with_trace=with_trace)
        else:
            additions = _additions(state, said, inherited, with_trace=with_trace)
        changed, has_room = False, True
        if additions.raws:
            changed = has_room = trace.room.take(additions.size_bytes)
            if has_room:
                span.attributes.extend(additions.raws)
        if with_trace and state.tags and (not said.tags or not state.tags.keys() <= set(said.tags)):
            tags = encode_tags(tuple(dict.fromkeys((*said.tags, *state.tags))))
            if trace.room.take(len(tags)):
                _write_tags(span, tags)
                changed = True
            else:
                has_room = False
        if not has_room:
            self.outcomes[Outcome.WITHOUT_CONTEXT] += 1
        if trace.is_complete and not with_trace:
            trace.is_complete = _is_complete(said, inherited)
        node = state.nodes.get(parent_id)
        if node is None or node.kept:
            return changed
        if not with_row and parent_id not in trace.left_out:
            self.outcomes[Outcome.LATE_CHILD] += 1
        self._reparent(state, span, node)
        return True

    def _join(self, state: TraceState, span: Span) -> bool:
        """Write the messages that came for a span on it; it awaits none from now on."""
        node = state.nodes.get(span.span_id)
        if node is None or not node.awaits_content:
            return False
        state.nodes[span.span_id] = node._replace(awaits_content=False)
        messages = self._live.take_content(state, span.span_id)
        for direction, key in _CONTENT_KEYS:
            found = [message for message in messages if message.direction == direction]
            if found:
                span.attributes.append(encode_text(key, assemble(found)))
        self.messages[MessageOutcome.JOINED] += len(messages)
        return bool(messages)

    def _inherited(self, trace: _Trace, parent_id: bytes) -> Inherited:
        """What a span below ``parent_id`` inherits. Remembered for each ancestor on the way, so that a tree costs its spans and not its paths."""
        known, nodes = trace.inherited, trace.state.nodes
        found = known.get(parent_id)
        if found is not None:
            return found
        path: list[tuple[bytes, Said | None]] = []
        span_id = parent_id
        for _ in range(MAX_DEPTH):
            found = known.get(span_id)
            node = nodes.get(span_id)
            if found is not None or node is None:
                break
            path.append((span_id, node.said))
            span_id = node.parent_id
        found = found or NOTHING_INHERITED
        for span_id, said in reversed(path):
            found = known[span_id] = found if said is None else _below(said, found)
        return found

    def _reparent(self, state: TraceState, span: Span, parent: Node) -> None:
        """Hang a span whose parent was left out on the nearest kept ancestor; without one it becomes the root."""
        node: Node | None = parent
        parent_id = b""
        for _ in range(MAX_DEPTH):
            if node is None or node.kept:
                break
            parent_id = node.parent_id
            node = state.nodes.get(parent_id)
        self.outcomes[Outcome.REPARENTED] += 1
        span.parent_span_id = parent_id
        if parent_id and (node is None or not node.kept):
            span.attributes.append(_APP_ROOT)  # its new parent lies in another process, or was never sent


def _below(said: Said, above: Inherited) -> Inherited:
    """What is inherited below a span that says something itself: its own words first, in all ``MAX_CONTEXT_BYTES``."""
    context = above.context
    if said.context:
        nearest = dict(said.context)
        room = MAX_CONTEXT_BYTES - sum(map(len, nearest.values()))
        for subject, raw in above.context.items():
            if subject not in nearest and len(raw) <= room:
                nearest[subject] = raw
                room -= len(raw)
        context = nearest
    by = said if said.agent else above
    return Inherited(by.agent, context, said.weak_session or above.weak_session, by.budget)


def _additions(state: TraceState, said: Said, inherited: Inherited, *, with_trace: bool) -> _Additions:
    """What a span lacks: its ancestors' word, then what was said of the trace on purpose, then what is only implied."""
    own, above = said.context, inherited.context
    additions = [raw for subject, raw in above.items() if subject not in own]
    if with_trace:
        lacks_session = SESSION not in own and SESSION not in above
        for subject, (strength, raw) in state.context.items():
            if not raw or subject in own or subject in above:
                continue
            if subject != SESSION or strength >= CHILD:
                additions.append(raw)
                lacks_session = lacks_session and subject != SESSION
        if lacks_session and said.weak_session is None:
            implied = inherited.weak_session or state.context.get(SESSION, _NOTHING_LEARNED).raw
            if implied:
                additions.append(implied)
    if not said.agent:
        additions += inherited.agent
    size = sum(map(len, additions))
    if size > MAX_CONTEXT_BYTES:
        additions = _shortest(additions)
        size = sum(map(len, additions))
    return _Additions(additions, size)


def _shortest(additions: list[bytes]) -> list[bytes]:
    """What fits into ``MAX_CONTEXT_BYTES``, the shortest first: users, sessions and names are short."""
    kept: list[bytes] = []
    room = MAX_CONTEXT_BYTES
    for raw in sorted(additions, key=len):
        room -= len(raw)
        if room < 0:
            break
        kept.append(raw)
    return kept


def _is_complete(said: Said, inherited: Inherited) -> bool:
    """A span that says all that a root could add."""
    return all(subject in said.context or subject in inherited.context for subject in (USER, SESSION, NAME)) and bool(said.agent or inherited.agent)


def _write_tags(span: Span, raw: bytes) -> None:
    for index, old in enumerate(span.attributes):
        subject = SUBJECTS.get(key_of(old))
        if subject is not None and subject.name == TAGS and subject.rank == 0:
            span.attributes[index] = raw
            return
    span.attributes.append(raw)

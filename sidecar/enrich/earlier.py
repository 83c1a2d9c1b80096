"""Which calls count, given what earlier requests of their trace showed; and agents that alone carry the usage of calls nobody saw. Pure.

Owns what ``dialects.doubles`` can't decide from one request. Children end before their parent, so they come with it or earlier; where
something comes late all the same, what was counted first stays counted, because it has left. Only what is remembered of live traces is
compared: a double in another trace (no context was passed on) in another request is found by its answer's id only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sidecar.enrich.dialects.doubles import Seen, answer_id, models_of
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.notes import BOUNDARIES, CALL_KINDS
from sidecar.enrich.view import SpanView
from sidecar.trace.live import COUNTED_BELOW, MAX_DEPTH, Call, LiveTraces, TraceState

_AGENT = Kind.AGENT


def mark_earlier(seen: Sequence[Seen], live: LiveTraces) -> None:
    """Take ``is_call`` from every span that repeats a call of an earlier request, or is part of one."""
    parents: dict[tuple[bytes, bytes], Seen] | None = None
    for view, facts in seen:
        if not facts.is_call:
            continue
        state = live.get(view.trace_id)
        if state is not None and (state.calls or state.above):
            if parents is None:
                parents = {(other.trace_id, other.span_id): (other, about) for other, about in seen}
            facts.is_call = not (_adds_up(view, state) or _is_within(view, state, parents) or _is_known(view, facts, state))
        answer = answer_id(view) if facts.is_call else None
        if answer is not None:
            facts.is_call = live.is_first(hash(answer), view.span_id, counts=facts.usage is not None)


def count_lone_agents(seen: Sequence[Seen], live: LiveTraces | None) -> None:
    """Give ``is_call`` to every agent that says what was used where no call was seen below it, the innermost first.

    Hosted agents run elsewhere: nobody sees their calls. What an agent said to Langfuse itself is left to it.
    """
    agents = [
        (view, facts) for view, facts in seen if facts.kind is _AGENT and facts.usage is not None and not facts.is_call and not _is_explicit(view)
    ]
    if not agents:
        return
    parents = {(view.trace_id, view.span_id): view.parent_id for view, _ in seen}
    above: set[tuple[bytes, bytes]] = set()
    for view, facts in seen:
        if facts.kind in CALL_KINDS or (live is not None and _calls_below(view, live)):
            above.update(_path(view, parents))
    paths = [(list(_path(view, parents)), view, facts) for view, facts in agents]
    for path, view, facts in sorted(paths, key=lambda found: -len(found[0])):
        if (view.trace_id, view.span_id) not in above and not (live is not None and _calls_below(view, live)):
            facts.is_call = True
            above.update(path)


def call_of(view: SpanView, facts: Facts) -> Call:
    """What is remembered of a call that counts."""
    answer = answer_id(view)
    return Call(
        hash(view.scope_name),
        tuple(map(hash, models_of(facts))),
        facts.usage.total if facts.usage is not None else None,
        view.start_ns,
        view.end_ns,
        hash(answer) if answer is not None else None,
        facts.kind is _AGENT,
    )


def _is_explicit(view: SpanView) -> bool:
    return view.traits is not None and view.traits.is_explicit


def _calls_below(view: SpanView, live: LiveTraces) -> bool:
    state = live.get(view.trace_id)
    return state is not None and view.span_id in state.above


def _path(view: SpanView, parents: dict[tuple[bytes, bytes], bytes]) -> Iterable[tuple[bytes, bytes]]:
    """The spans around a span, as far as the request shows them: the last may be one that is not in it."""
    trace_id, parent_id = view.trace_id, view.parent_id
    for _ in range(MAX_DEPTH):
        if not parent_id:
            return
        yield trace_id, parent_id
        parent_id = parents.get((trace_id, parent_id), b"")


def _adds_up(view: SpanView, state: TraceState) -> bool:
    """Whether a call inside it has counted: this one adds it up, or is its frame."""
    return bool(state.above.get(view.span_id, 0) & COUNTED_BELOW)


def _is_within(view: SpanView, state: TraceState, spans: dict[tuple[bytes, bytes], Seen]) -> bool:
    """Whether a call around it has counted already, or an agent for all that is below."""
    parent_id, crossed = view.parent_id, False
    for _ in range(MAX_DEPTH):
        if not parent_id:
            return False
        call = state.calls.get(parent_id)
        if call is not None and call.tokens is not None and (call.is_agent or not crossed):
            return True
        inside = spans.get((view.trace_id, parent_id))
        if inside is not None:
            crossed = crossed or inside[1].kind in BOUNDARIES
            parent_id = inside[0].parent_id
        elif (node := state.nodes.get(parent_id)) is not None:
            crossed = crossed or node.bounds
            parent_id = node.parent_id
        else:
            return False
    return False


def _is_known(view: SpanView, facts: Facts, state: TraceState) -> bool:
    """Whether another instrumentation has shown the call, with the same model, tokens and time. A span that is sent again is itself."""
    if facts.usage is None or view.span_id in state.calls:
        return False
    tokens = facts.usage.total
    alike = [call for call in state.calls.values() if call.tokens == tokens]
    return bool(alike) and any(_is_same(call_of(view, facts), call) for call in alike)


def _is_same(this: Call, other: Call) -> bool:
    if this.scope == other.scope or (this.answer is not None and other.answer is not None):
        return False  # of two answers with the same id this is not asked
    outer, inner = (this, other) if this.start_ns <= other.start_ns and this.end_ns >= other.end_ns else (other, this)
    return outer.start_ns <= inner.start_ns and inner.end_ns <= outer.end_ns and not set(this.models).isdisjoint(other.models)

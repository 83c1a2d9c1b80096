"""Which spans are the same call of a model, seen twice. Pure.

Owns what can't be decided from one span alone: an instrumentor beneath another, an SDK's own span beside an instrumentor's, a
parent that adds up what its calls used. It sees the spans of one batch: a double whose other half came in an earlier batch stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sidecar.enrich.dialects import anthropic_sdk
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

MAX_DEPTH = 64
"""Parents that are followed; deeper trees, and circles, end there."""
_RESPONSE_IDS = ("gen_ai.response.id", "ai.response.id", "llm.response.id")
_ID = re.compile(r'\{"id": ?"([\w.:-]{8,200})"')
_MIN_ID = 8
"""Characters of a response id that can be taken for unique."""
_BOUNDARIES = frozenset((Kind.AGENT, Kind.TOOL, Kind.RETRIEVER, Kind.EVALUATOR, Kind.GUARDRAIL))
"""A call inside one of these is a call of its own, even if there is another call around."""

Seen = tuple[SpanView, Facts]


def mark_doubles(spans: Sequence[Seen]) -> int:
    """Take ``is_call`` from every span that repeats a call of another, and return how many there were.

    ``spans`` are those of one batch, of any number of traces; linear in their number.
    """
    calls = [seen for seen in spans if seen[1].is_call]
    if len(calls) < 2:
        return 0
    _same_answer(calls)
    _beside(calls)
    _nested(spans, calls)
    return sum(not facts.is_call for _, facts in calls)


def _worth(facts: Facts) -> tuple[bool, bool, bool]:
    """What the surviving span should have: tokens, then content, then a cost."""
    return facts.usage is not None, facts.input is not None or facts.output is not None, facts.cost_usd is not None


def _same_answer(calls: Sequence[Seen]) -> None:
    """An id of a provider's answer names one call, whichever trace it is seen in."""
    best: dict[str, Seen] = {}
    for seen in calls:
        answer = _answer(seen[0])
        if answer is None:
            continue
        other = best.setdefault(answer, seen)
        if other is seen:
            continue
        # Of equals the one that began first is the outer one.
        better = (*_worth(seen[1]), -seen[0].start_ns) > (*_worth(other[1]), -other[0].start_ns)
        best[answer] = seen if better else other
        (other if better else seen)[1].is_call = False


def _answer(view: SpanView) -> str | None:
    """The id that the provider gave its answer: an attribute, or the beginning of the answer itself."""
    answer = view.first(*_RESPONSE_IDS)
    if answer is None:
        for key in ("output.value", "mlflow.spanOutputs"):
            found = _ID.match(view.text(key) or "")
            if found is not None:
                return found[1]
    return answer if answer is not None and len(answer) >= _MIN_ID else None


def _beside(calls: Sequence[Seen]) -> None:
    """A failed call has no answer's id: an SDK's own span is a double when it lies in time within a sibling's of the same model.

    Roots are siblings: an instrumentor that does not pass its context on leaves the SDK's span without a parent.
    """
    own = [(view, facts) for view, facts in calls if facts.is_call and facts.dialect == anthropic_sdk.NAME and facts.usage is None]
    if not own:
        return
    siblings: dict[tuple[bytes, bytes], list[Seen]] = {}
    for view, facts in calls:
        if facts.dialect != anthropic_sdk.NAME:
            siblings.setdefault(_place(view), []).append((view, facts))
    for view, facts in own:
        for other, other_facts in siblings.get(_place(view), ()):
            if other.start_ns <= view.start_ns and view.end_ns <= other.end_ns and facts.model_requested == other_facts.model_requested:
                facts.is_call = False
                break


def _place(view: SpanView) -> tuple[bytes, bytes]:
    return (view.trace_id, view.parent_id) if view.parent_id else (b"", b"")


def _nested(spans: Sequence[Seen], calls: Sequence[Seen]) -> None:
    """Of a call inside a call, one is real: the inner ones if the outer adds them up or says less, else the outer."""
    by_id = {(view.trace_id, view.span_id): (view, facts) for view, facts in spans}
    around: dict[int, Facts] = {}
    inner: dict[int, list[Facts]] = {}
    order: list[tuple[int, Facts]] = []
    for view, facts in calls:
        if not facts.is_call:
            continue
        depth, outer = _around(view, by_id)
        order.append((depth, facts))
        if outer is not None:
            around[id(facts)] = outer
            inner.setdefault(id(outer), []).append(facts)
    # The innermost first, and what is left of them goes one call further out: three calls in each other leave one.
    for _, outer in sorted(order, key=lambda found: -found[0]):
        within = [facts for facts in inner.get(id(outer), ()) if facts.is_call]
        if not within:
            continue
        if not _is_sum(outer, within):
            for facts in within:
                facts.is_call = False
            continue
        outer.is_call = False
        if id(outer) in around:
            inner[id(around[id(outer)])] += within


def _around(view: SpanView, by_id: dict[tuple[bytes, bytes], Seen]) -> tuple[int, Facts | None]:
    """How many known parents a span has, and the nearest call around it."""
    found: Facts | None = None
    crossed = False
    depth = 0
    parent = by_id.get((view.trace_id, view.parent_id)) if view.parent_id else None
    while parent is not None and depth < MAX_DEPTH:
        depth += 1
        parent_view, facts = parent
        if found is None and not crossed:
            if facts.is_call:
                found = facts
            crossed = facts.kind in _BOUNDARIES
        parent = by_id.get((view.trace_id, parent_view.parent_id)) if parent_view.parent_id else None
    return depth, found


def _is_sum(outer: Facts, within: list[Facts]) -> bool:
    """Whether the inner calls are the real ones."""
    if outer.usage is None:
        return any(facts.usage is not None for facts in within)
    used = [facts.usage.total for facts in within if facts.usage is not None]
    if not used:
        return False
    if len(used) > 1 or outer.usage.total != used[0]:
        return True
    return _worth(next(facts for facts in within if facts.usage is not None)) > _worth(outer)

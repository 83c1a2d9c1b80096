"""Which spans are the same call of a model, seen twice. Pure.

Owns what can't be decided from one span alone: an instrumentor beneath another, an SDK's own span beside an instrumentor's, a
parent that adds up what its calls used. It sees the spans of one batch; what
earlier ones showed is for ``enrich.earlier``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from sidecar.enrich.dialects import anthropic_sdk
from sidecar.enrich.facts import Facts
from sidecar.enrich.notes import BOUNDARIES
from sidecar.enrich.view import SpanView

MAX_DEPTH = 64
"""Parents that are followed; deeper trees, and circles, end there."""
_RESPONSE_IDS = ("ai.response.id", "llm.response.id", "gen_ai.thread.run.id")
"""The last is a run of a hosted agent, which is asked again and again until it is done."""
_ID = re.compile(r'\{"id": ?"([\w.:-]{8,200})"')
_INNER_IDS = ('"chatcmpl-', '"resp_', '"msg_')
"""How the ids of providers' answers begin inside what a framework made of them."""
_INNER_ID = re.compile(r'"([\w-]{8,200})"')
MAX_ANSWER = 64 * 1024
"""Characters of an answer that are searched for them."""
_MIN_ID = 8
"""Characters of a response id that can be taken for unique."""

Seen = tuple[SpanView, Facts]


def mark_doubles(spans: Sequence[Seen]) -> int:
    """Take ``is_call`` from every span that repeats a call of another, and return how many there were.

    ``spans`` are those of one batch, of any number of traces; linear in their number.
    """
    calls = [seen for seen in spans if seen[1].is_call]
    if len(calls) < 2:
        return 0
    _nested(spans, calls)
    _same_answer(calls)
    _same_time(calls)
    _beside(calls)
    return sum(not facts.is_call for _, facts in calls)


def _worth(facts: Facts) -> tuple[bool, bool, bool]:
    """What the surviving span should have: tokens, then content, then a cost."""
    return facts.usage is not None, facts.input is not None or facts.output is not None, facts.cost_usd is not None


def _same_answer(calls: Sequence[Seen]) -> None:
    """An id of a provider's answer names one call, whichever trace it is seen in."""
    best: dict[str, Seen] = {}
    for seen in calls:
        answer = answer_id(seen[0]) if seen[1].is_call else None
        if answer is None:
            continue
        other = best.setdefault(answer, seen)
        if other is seen:
            continue
        # Of equals the one that began first is the outer one.
        better = (*_worth(seen[1]), -seen[0].start_ns) > (*_worth(other[1]), -other[0].start_ns)
        best[answer] = seen if better else other
        (other if better else seen)[1].is_call = False


def answer_id(view: SpanView) -> str | None:
    """The id that the provider gave its answer: an attribute, or the beginning of the answer itself."""
    answer = view.text("gen_ai.response.id") or view.first(*_RESPONSE_IDS)
    if answer is None:
        for key in ("output.value", "mlflow.spanOutputs"):
            text = view.text(key) or ""
            found = _ID.match(text) or _inner_id(text)
            if found is not None:
                return found[1]
    return answer if answer is not None and len(answer) >= _MIN_ID else None


def _inner_id(text: str) -> re.Match[str] | None:
    for start in _INNER_IDS:
        at = text.find(start, 0, MAX_ANSWER)
        if at >= 0:
            return _INNER_ID.match(text, at)
    return None


def _same_time(calls: Sequence[Seen]) -> None:
    """Two instrumentations of one call that don't know of each other, such as a framework's callbacks and a client's wrapper.

    They have different scopes, the same model and tokens, and one lies in time within the other; in one trace, or both roots.
    """
    if len({view.scope_name for view, _ in calls}) < 2:
        return
    alike: dict[tuple[bytes, int], list[Seen]] = {}
    for view, facts in calls:
        if facts.is_call and facts.usage is not None:
            alike.setdefault((view.trace_id if view.parent_id else b"", facts.usage.total), []).append((view, facts))
    for group in alike.values():
        if len({view.scope_name for view, _ in group}) < 2:
            continue
        group.sort(key=lambda seen: (seen[0].start_ns, -seen[0].end_ns))
        for (view, facts), (inner, inner_facts) in pairwise(group):
            is_within = inner.end_ns <= view.end_ns and inner.scope_name != view.scope_name
            if is_within and facts.is_call and not models_of(facts).isdisjoint(models_of(inner_facts)) and _may_be_one(view, inner):
                inner_facts.is_call = False


def _may_be_one(view: SpanView, other: SpanView) -> bool:
    """False for two calls that got different answers."""
    answer, other_answer = answer_id(view), answer_id(other)
    return answer is None or other_answer is None or answer == other_answer


def models_of(facts: Facts) -> set[str]:
    return {name for name in (facts.model_requested, facts.model_answered) if name is not None}


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
    parents = {view.parent_id for view, _ in spans}
    if not any(facts.is_call and view.span_id in parents for view, facts in calls):
        return  # no span lies in a call
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
            crossed = facts.kind in BOUNDARIES
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

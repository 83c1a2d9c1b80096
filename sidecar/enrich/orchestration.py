"""How agents work together, as far as one span shows it: decisions, handoffs, conflicts, resolutions, heartbeats. Pure.

Owns the reading of values by the rules of ``orchestration_rules`` and the metadata that Langfuse can filter by. It must not change
the span or know what becomes of a signal. What was said in a conversation is no signal: that a model asks for
``transfer_to_billing`` is a wish, that the tool runs is a handoff.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import NamedTuple

import msgspec

from sidecar.enrich.dialects import labels
from sidecar.enrich.edit import encode_all
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.keys import METADATA
from sidecar.enrich.orchestration_rules import CALLS, Compiled, ConfidenceSource, Rules, SignalKind, Source, find_glob, parse_orchestration
from sidecar.enrich.view import AttributeView, EventView, SpanView
from sidecar.ruletree import texts

__all__ = ["Rules", "Signal", "SignalKind", "parse_orchestration", "read_signals", "signal_attributes"]

MAX_SIGNALS = 16
"""Of one span; of more events the last are kept."""
MAX_TEXT = 128
"""Characters of a name, outcome, target or source."""
MAX_ARGUMENTS = 16 * 1024
"""Characters of a tool's input that are searched for the agent that it hands to: a few words and an agent's name."""
_MAX_LOOK = 1024
"""Characters of a value that are stripped of blanks before it is cut."""

_INFRA, _TOOL = Kind.INFRA, Kind.TOOL
"""By name: a member of an enumeration costs 0.06 us to look up."""
_NOTHING = frozenset(("", "false", "no", "none", "null", "n/a", "0"))


class Signal(NamedTuple):
    """One sign of agents at work; every text has at most 128 characters and is not masked yet."""

    kind: SignalKind
    name: str
    """What was decided, resolved or is alive; never empty."""
    outcome: str | None = None
    confidence: float | None = None
    """0 to 1."""
    target: str | None = None
    """The agent that was handed to, or that resolved."""
    source: str | None = None
    """The agent that it came from."""


def read_signals(view: SpanView, facts: Facts, rules: Rules) -> tuple[Signal, ...]:
    """The signals of a span, its own before its events', at most one of a kind each, at most 16 in all. Raises nothing on mended spans.

    Costs 0.2 us where a model's call has none, 0.4 us elsewhere: keys are compared, the name is remembered, events are looked for.
    """
    kind = facts.kind
    if kind is _INFRA:
        return ()
    call = kind in CALLS
    # Few rules ask for the name of a call, and nobody else may have read it yet: that costs 1 us.
    hits = rules.by_span(view.name) if not call or rules.names_calls else ()
    if not rules.keys.isdisjoint(view.keys):
        hits += rules.by_keys(view.keys)
    if kind is _TOOL and facts.tool_name is not None:
        hits += rules.by_tool(facts.tool_name)
    # A model's call has an event for each chunk of a stream; nobody reports on agents there.
    events = view.find_events(rules.events) if not call and rules.events else []
    if not hits and not events:
        return ()
    own: dict[SignalKind, Signal] = {}
    for rule, captures in sorted(hits, key=_by_order):
        if rule.signal not in own and _fits(rule, view, facts):
            own[rule.signal] = _signal(rule, (view,), view, facts, captures)
    later: list[Signal] = []
    for event in reversed(events):
        if len(later) + len(own) >= MAX_SIGNALS:
            break
        signal = _event_signal(event, view, facts, rules)
        if signal is not None:
            later.append(signal)
    return (*own.values(), *reversed(later))


_by_order = attrgetter("rule.order")


def _fits(rule: Compiled, view: SpanView, facts: Facts) -> bool:
    """What name and keys alone did not tell: kind and scope, the values, and of a rule for tools the span's name."""
    if not rule.fits(facts.kind, view.scope_name) or not _says_so(rule, view):
        return False
    return not (rule.tools and rule.spans) or rule.named(rule.spans, view.name) is not None


def _says_so(rule: Compiled, attributes: AttributeView) -> bool:
    """Whether the first of the rule's attributes that is there says that something happened."""
    for key in rule.keys:
        value = attributes.get(key)
        if value is None:
            continue
        text = _text(value)
        if rule.values:
            return text is not None and find_glob(rule.values, text) is not None
        if text is None:
            return bool(value)
        # That nothing was decided is a decision: "no" and "false" are outcomes.
        return text != "" if rule.signal is SignalKind.DECISION else text.lower() not in _NOTHING
    return not rule.keys


def _event_signal(event: EventView, view: SpanView, facts: Facts, rules: Rules) -> Signal | None:
    for rule in rules.by_event(event.name):
        if rule.fits(facts.kind, view.scope_name) and _says_so(rule, event.attributes):
            return _signal(rule, (event.attributes, view), view, facts, ())
    return None


def _signal(rule: Compiled, holders: tuple[AttributeView, ...], view: SpanView, facts: Facts, captures: tuple[str, ...]) -> Signal:
    asked = rule.rule
    name = asked.name if isinstance(asked.name, str) else _find(asked.name, holders, facts, captures, _label)
    target = labels.agent(_find(asked.target, holders, facts, captures, _label))
    source = labels.agent(_find(asked.source, holders, facts, captures, _label)) or _cut(facts.agent_name)
    return Signal(
        rule.signal,
        name or (_cut(facts.tool_name) if rule.tools else None) or _cut(view.name) or str(rule.signal),
        _find(asked.outcome, holders, facts, captures, _text),
        _confidence(asked.confidence, holders),
        target,
        # A span that stands for the agent that takes over tells nothing of the one before.
        source if source != target else None,
    )


def _find(
    source: Source | None, holders: tuple[AttributeView, ...], facts: Facts, captures: tuple[str, ...], read: Callable[[object], str | None]
) -> str | None:
    """The first text that a source leads to."""
    if source is None:
        return None
    keys = texts(source.attribute)
    for holder in holders:
        for key in keys:
            text = read(holder.get(key))
            if text:
                return text
    if source.argument:
        text = _argument(facts, texts(source.argument))
        if text:
            return text
    if source.capture is not None and source.capture <= len(captures):
        return _cut(captures[source.capture - 1])
    return None


def _argument(facts: Facts, names: tuple[str, ...]) -> str | None:
    """A member of the tool's input: of the object, or of one in it, as it is (``kwargs``) or as text (a message's ``content``)."""
    content = facts.input
    if content is None or len(content.text) > MAX_ARGUMENTS:
        return None
    tree = _json(content.text)
    if isinstance(tree, list) and tree:
        tree = tree[0]
    if not isinstance(tree, dict):
        return None
    for holder in (tree, *tree.values()):
        members = _json(holder) if isinstance(holder, str) and holder.startswith("{") else holder
        if isinstance(members, dict):
            for name in names:
                text = _label(members.get(name))
                if text:
                    return text
    return None


def _json(text: str) -> object:
    """What a JSON text holds; None for anything else: many instrumentations write Python's repr instead."""
    try:
        tree: object = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return None
    return tree


def _confidence(source: ConfidenceSource | None, holders: tuple[AttributeView, ...]) -> float | None:
    """The first number that is a confidence; of percent, what is not above 1 is taken for a fraction."""
    if source is None:
        return None
    for holder in holders:
        for key in texts(source.attribute):
            number = holder.float(key)
            if number is not None and source.unit == "percent" and 1 < number <= 100:
                number /= 100
            if number is not None and 0 <= number <= 1:
                return number
    return None


def _cut(text: str | None) -> str | None:
    """Text without blanks around it, at most 128 characters; None when nothing is left."""
    return None if text is None else text[:_MAX_LOOK].strip()[:MAX_TEXT].rstrip() or None


def _label(value: object) -> str | None:
    """A text, if the value is one."""
    return _cut(value) if isinstance(value, str) else None


def _text(value: object) -> str | None:
    """A text, number or truth as text; empty for a blank text, None for what has parts."""
    if isinstance(value, str):
        return _cut(value) or ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return f"{value:g}" if isinstance(value, float) else None


def signal_attributes(signals: Iterable[Signal]) -> dict[str, bytes]:
    """Metadata to filter by in Langfuse, as an edit takes it: of several signals of a kind the last one's. Empty without signals.

    Keys below ``langfuse.observation.metadata``: decision, decision_outcome, decision_confidence; handoff, handoff_to,
    handoff_from; conflict; resolution (its outcome, or its name), resolution_by; heartbeat, heartbeat_progress.
    """
    last = {signal.kind: signal for signal in signals}
    said: dict[str, str | None] = {}
    for kind, signal in last.items():
        said[kind] = signal.name
        if kind is SignalKind.DECISION:
            said["decision_outcome"] = signal.outcome
            said["decision_confidence"] = None if signal.confidence is None else f"{signal.confidence:.4g}"
        elif kind is SignalKind.HANDOFF:
            said["handoff_to"] = signal.target
            said["handoff_from"] = signal.source
        elif kind is SignalKind.RESOLUTION:
            said[kind] = signal.outcome or signal.name
            said["resolution_by"] = signal.target
        elif kind is SignalKind.HEARTBEAT:
            said["heartbeat_progress"] = signal.outcome
    return encode_all({f"{METADATA}.{key}": text for key, text in said.items() if text})

"""What a span says, whatever wrote it: from any dialect to Facts. Pure.

Owns the order of reading; the tables are in ``keys``, what a family does differently in the family's module. It must not
change the span, price it or know what Langfuse is sent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from sidecar.enrich.dialects import failures, labels
from sidecar.enrich.dialects.keys import EXPLICIT_TYPE, OPERATION
from sidecar.enrich.dialects.plan import Plan, Plans, make_plan
from sidecar.enrich.dialects.sources import CONTENT_EVENTS, read_content
from sidecar.enrich.dialects.tokens import Counts, settle
from sidecar.enrich.facts import Facts, Kind, Usage
from sidecar.enrich.view import SpanView

__all__ = ["Plans", "read_facts"]

MAX_FIRST_TOKEN_S = 86_400.0
"""A longer wait for the first token is a wrong clock."""

_FIRST_TOKENS = frozenset(
    (
        b"First Token Stream Event",
        b"ai.stream.firstChunk",
        b"gen_ai.content.completion.chunk",
        b"llm.content.completion.chunk",
        b"mlflow.chunk.item.0",
    )
)
_EVENTS = CONTENT_EVENTS | {failures.EXCEPTION}
_FAILED_LEVELS = frozenset(("ERROR", "FATAL", "CRITICAL"))
_GENERATION = Kind.GENERATION
"""By name: a member of an enumeration costs 0.06 us to look up."""
_CALLS = frozenset((Kind.GENERATION, Kind.EMBEDDING))


def read_facts(view: SpanView, plans: Plans | None = None) -> Facts:
    """Everything that the span says. ``plans`` remembers what spans with equal keys have in common: several times faster.

    ``is_call`` is what the span alone shows; ``doubles`` knows more when it sees the whole trace.
    """
    plan = plans.plan(view) if plans is not None else make_plan(view.scope_name, tuple(view.keys))
    dialect, fields = plan.dialect, plan.fields
    facts = plans.facts(view, plan, _read_few) if plans is not None else _read_few(view, plan)
    if not plan.decides_kind:
        facts.kind = _kind(view, plan)
    kind = facts.kind
    facts.is_call = kind in _CALLS
    events = view.find_events(_EVENTS)
    _read_names(view, plan, facts)
    if plan.counts or dialect.count is not None:
        facts.usage = _usage(view, plan)
    if "cost" in fields:
        _read_cost(view, plan, facts)
    facts.input, facts.output = read_content(
        view, plan.sources, [event for event in events if event.name.encode() in CONTENT_EVENTS] if events else events
    )
    if kind is _GENERATION and (plan.times_first_token or view.has_events):
        facts.time_to_first_token_s = _first_token(view, plan)
    if events or plan.may_fail or view.status_code == failures.ERROR:
        exceptions = [event for event in events if event.name == "exception"]
        flagged = (view.text("langfuse.observation.level") or "").upper() in _FAILED_LEVELS
        facts.error = failures.read_error(view, fields, exceptions, trust_ok=dialect.trusts_ok, flagged=flagged)
    if dialect.refine is not None:
        dialect.refine(view, facts)
    if facts.agent_id is not None and facts.agent_id == facts.agent_name:
        facts.agent_id = None
    return facts


def _read_few(view: SpanView, plan: Plan) -> Facts:
    """Agent, models, provider and, where declarations and keys alone decide that, what the span is."""
    facts = Facts(plan.dialect.name)
    if plan.decides_kind:
        facts.kind = _kind(view, plan)
    for name, keys, read in plan.few:
        setattr(facts, name, read(view, keys))
    return facts


def _read_names(view: SpanView, plan: Plan, facts: Facts) -> None:
    """Tool, user, session, tags and prompt, and an agent's id."""
    fields = plan.fields
    for name, keys, read in plan.names:
        setattr(facts, name, read(view, keys))
    if "tool_name" in fields and facts.kind is Kind.TOOL:
        facts.tool_name = labels.label(view, fields["tool_name"])
    if "tags" in fields:
        facts.tags = _tags(view, fields["tags"])
    if "prompt_name" in fields:
        _read_prompt(view, plan, facts)


def _kind(view: SpanView, plan: Plan) -> Kind:
    """What the agent said explicitly, what the dialect knows, what the instrumentation declared, what the keys suggest."""
    declarations = plan.declarations
    if plan.dialect.kind is not None:
        explicit = declarations[:1] if declarations and declarations[0][0] == EXPLICIT_TYPE else ()
        kind = _declared(view, explicit) or plan.dialect.kind(view)
        if kind is not None:
            return kind
    kind = _declared(view, declarations)
    if kind is not None:
        return kind
    if plan.fallback is Kind.GENERATION and not plan.counts and OPERATION in view and not (plan.sources.inputs or plan.sources.outputs):
        # An operation that nobody knows, on a model, without tokens or content: the administration of threads, sessions, files.
        return Kind.SPAN
    if plan.fallback is Kind.SPAN and plan.dialect.undeclared is not None:
        return plan.dialect.undeclared(view) or Kind.SPAN
    return plan.fallback


def _declared(view: SpanView, declarations: tuple[tuple[str, Mapping[str, Kind]], ...]) -> Kind | None:
    for key, kinds in declarations:
        said = view.text(key)
        if said is not None:
            kind = kinds.get(said) or kinds.get(labels.unquoted(said).lower())
            if kind is not None:
                return kind
    return None


def _usage(view: SpanView, plan: Plan) -> Usage | None:
    counts, get = Counts(), view.get
    for name, keys in plan.counts:
        for key in keys:
            number = get(key)
            if number.__class__ is not int:
                number = view.int(key)
            if number is not None:
                setattr(counts, name, number)
                break
    if plan.dialect.count is not None:
        plan.dialect.count(view, counts)
    return settle(counts)


def _read_cost(view: SpanView, plan: Plan, facts: Facts) -> None:
    """The total that somebody else computed. Libraries write 0 for a model whose price they don't know, so 0 says nothing."""
    total = _number(view, plan.fields["cost"])
    if total is None or total <= 0:
        return
    facts.cost_usd = total
    parts = {side: _number(view, plan.fields.get(f"cost_{side}", ())) for side in ("input", "output")}
    known = {side: part for side, part in parts.items() if part is not None and part >= 0}
    if len(known) == len(parts) and abs(sum(known.values()) - total) <= 1e-9 + total * 1e-6:
        facts.cost_details = known


def _number(view: SpanView, keys: tuple[str, ...]) -> float | None:
    for key in keys:
        number = view.float(key)
        if number is not None:
            return number
    return None


def _read_prompt(view: SpanView, plan: Plan, facts: Facts) -> None:
    """Name and version belong together: Langfuse links a prompt by both."""
    name = labels.label(view, plan.fields["prompt_name"])
    version = next((number for key in plan.fields.get("prompt_version", ()) if (number := view.int(key)) is not None and number > 0), None)
    if name is not None and version is not None:
        facts.prompt_name, facts.prompt_version = name, version


def _tags(view: SpanView, keys: tuple[str, ...]) -> tuple[str, ...]:
    """A list, a JSON list, or words between commas; as Langfuse reads them."""
    for key in keys:
        given = view.get(key)
        value = labels.list_in(given) if isinstance(given, str) else given
        if isinstance(value, list):
            tags = [tag.strip()[: labels.MAX_NAME] for tag in value if isinstance(tag, str)]
            found = tuple(dict.fromkeys(tag for tag in tags if tag and not tag.startswith(labels.INTERNAL_TAGS)))[: labels.MAX_TAGS]
            if found:
                return found
    return ()


def _first_token(view: SpanView, plan: Plan) -> float | None:
    """Seconds from the span's start to the first token of a streamed answer."""
    fields = plan.fields
    seconds = _number(view, fields["first_token_s"]) if "first_token_s" in fields else None
    if seconds is None and "first_token_ms" in fields:
        milliseconds = _number(view, fields["first_token_ms"])
        seconds = milliseconds / 1000 if milliseconds is not None else None
    if seconds is None and "completion_start" in fields:
        seconds = _since_start(view, view.first(*fields["completion_start"]))
    if seconds is None:
        first_ns = view.first_event_ns(_FIRST_TOKENS)
        seconds = (first_ns - view.start_ns) / 1e9 if first_ns is not None else None
    return seconds if seconds is not None and 0 < seconds <= MAX_FIRST_TOKEN_S else None


def _since_start(view: SpanView, text: str | None) -> float | None:
    try:
        moment = dt.datetime.fromisoformat(labels.unquoted(text or ""))
    except ValueError:
        return None
    return moment.timestamp() - view.start_ns / 1e9 if moment.tzinfo is not None else None

"""Rules that say which spans show how agents work together: decisions, handoffs, conflicts, resolutions, heartbeats. Pure.

Owns the shape of config/enrich.yaml and of the built-in rules, as trees that somebody else has read, and the search for the rules
that a span's name, tool, keys or events can fit. It must not read files or values of spans.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from sidecar.enrich.facts import Kind
from sidecar.errors import ConfigError
from sidecar.ruletree import MAX_COMPARED, structs, texts, top

MAX_RULES = 200
"""Of one file. A name that is met for the first time costs about 0.1 us a glob."""
_MAX_REMEMBERED = 128
"""Characters of a name whose rules are remembered."""

CALLS = frozenset((Kind.GENERATION, Kind.EMBEDDING))
"""Calls of models: their names and events are the library's, not the agents'."""

Glob: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
Key: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Globs: TypeAlias = Glob | Annotated[list[Glob], Meta(min_length=1, max_length=64)]
Keys: TypeAlias = Key | Annotated[list[Key], Meta(min_length=1, max_length=64)]


class SignalKind(StrEnum):
    """What happened between agents."""

    DECISION = "decision"
    HANDOFF = "handoff"
    CONFLICT = "conflict"
    RESOLUTION = "resolution"
    HEARTBEAT = "heartbeat"


class Match(Struct, frozen=True, forbid_unknown_fields=True, rename={"excluded": "except"}):
    """Which spans a rule is for: all that is given must fit. Globs (``*`` and ``?``) are compared without regard to case."""

    span: Globs | None = None
    """The span's name. Calls of models and infrastructure are left out, unless ``kind`` names them."""
    tool: Globs | None = None
    """The name of the tool that the span is a run of."""
    attribute: Keys | None = None
    """Exact keys. The first that the span (or the event) has decides: ``false``, 0, ``none`` and ``no`` say that nothing happened, but for decisions."""
    value: Globs | None = None
    """What that attribute must hold."""
    event: Keys | None = None
    """Exact names of events; each event is a signal of its own. Events of calls of models are not read."""
    excluded: Globs | None = None
    """Names of spans or tools that ``span`` or ``tool`` must not take."""
    scope: Globs | None = None
    """The name of the instrumentation scope."""
    kind: Kind | Annotated[list[Kind], Meta(min_length=1)] | None = None
    """What the span is: agent, tool, chain, generation... Never infra."""


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a text stands; tried in this order."""

    attribute: Keys = []
    """Keys of the span; for an event's signal first of the event."""
    argument: Keys = []
    """Members of the tool's input, a JSON object, or of an object in it."""
    capture: Annotated[int, Meta(ge=1, le=4)] | None = None
    """What the first, second... ``*`` of the glob on the tool or the span stood for."""


class ConfidenceSource(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a confidence stands."""

    attribute: Keys
    unit: Literal["fraction", "percent"] = "fraction"


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``rules``: of each kind of signal, the first rule that fits a span is used."""

    signal: SignalKind
    match: Match
    name: Annotated[str, Meta(min_length=1, max_length=128)] | Source | None = None
    """Words, or where they stand; else the name of the tool or of the span."""
    outcome: Source | None = None
    confidence: ConfidenceSource | None = None
    target: Source | None = None
    """The agent that was handed to, or that resolved."""
    source: Source | None = None
    """The agent that it came from; else the span's agent."""


class Compiled:
    """A rule, ready for use. ``order`` is its rank: user rules come before built-in ones."""

    def __init__(self, order: int, rule: Rule) -> None:
        match = rule.match
        self.order = order
        self.rule = rule
        self.signal = rule.signal
        self.keys = texts(match.attribute)
        self.values = compile_globs(match.value)
        self.spans = compile_globs(match.span)
        self.tools = compile_globs(match.tool)
        self.events = texts(match.event)
        self.excluded = compile_globs(match.excluded)
        self._scopes = compile_globs(match.scope)
        self._kinds = _kinds(match)
        self.names_calls = bool(self.spans and not self._kinds.isdisjoint(CALLS))

    def fits(self, kind: Kind, scope: str) -> bool:
        """Whether a span of this kind and scope can be meant."""
        return kind in self._kinds and (not self._scopes or find_glob(self._scopes, scope) is not None)

    def named(self, patterns: Sequence[re.Pattern[str]], name: str) -> tuple[str, ...] | None:
        """What the stars of the first glob that fits stood for; None when none fits or the name is excluded."""
        captures = find_glob(patterns, name)
        return None if captures is None or find_glob(self.excluded, name) is not None else captures


class Hit(NamedTuple):
    """A rule that may fit, and what the stars of its glob stood for."""

    rule: Compiled
    captures: tuple[str, ...] = ()


class Rules:
    """The rules of a process, by what a span must have for them.

    Remembers the rules of names, in two generations: bound 2 x 512 names x (128 characters + about 600 bytes) = 1.1 MiB.
    """

    def __init__(self, rules: Sequence[Compiled] = ()) -> None:
        by_key: dict[str, list[Hit]] = {}
        by_event: dict[str, list[Compiled]] = {}
        for rule in rules:
            for event in rule.events:
                by_event.setdefault(event, []).append(rule)
            if not (rule.events or rule.spans or rule.tools):
                for key in rule.keys:
                    by_key.setdefault(key, []).append(Hit(rule))
        self._by_key = by_key
        self._by_event = by_event
        self._spans = _Names([(rule, rule.spans) for rule in rules if rule.spans and not rule.tools])
        self._tools = _Names([(rule, rule.tools) for rule in rules if rule.tools])
        self.keys = frozenset(by_key)
        """A span with none of these keys fits no rule by its attributes alone."""
        self.events = frozenset(name.encode() for name in by_event)
        """Names of events that rules ask for, as UTF-8."""
        self.names_calls = any(rule.names_calls for rule in rules)
        """Whether the name of a model's call matters."""
        self.by_span = self._spans.find
        """Rules for a span's name."""
        self.by_tool = self._tools.find
        """Rules for a tool's name."""

    def by_keys(self, keys: AbstractSet[str]) -> tuple[Hit, ...]:
        """Rules that ask for one of these keys only."""
        found = {hit.rule.order: hit for key in self.keys.intersection(keys) for hit in self._by_key[key]}
        return tuple(found.values())

    def by_event(self, name: str) -> Sequence[Compiled]:
        """Rules for an event's name, in order."""
        return self._by_event.get(name, ())


class _Names:
    """The rules for names, remembered."""

    def __init__(self, rules: Sequence[tuple[Compiled, tuple[re.Pattern[str], ...]]], entries: int = 512) -> None:
        self._rules = rules
        patterns = [f"(?:{pattern.pattern})" for _, each in rules for pattern in each]
        self._any = re.compile("|".join(patterns), _FLAGS) if patterns else None
        self._half = max(1, entries // 2)
        self._young: dict[str, tuple[Hit, ...]] = {}
        self._old: dict[str, tuple[Hit, ...]] = {}

    def find(self, name: str) -> tuple[Hit, ...]:
        known = self._young.get(name)
        if known is not None:
            return known
        if len(name) > _MAX_REMEMBERED:
            return self._search(name[:MAX_COMPARED])
        known = self._old.pop(name, None)
        if known is None:
            known = self._search(name)
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[name] = known
        return known

    def _search(self, name: str) -> tuple[Hit, ...]:
        if self._any is None or self._any.fullmatch(name) is None:
            return ()
        found = ((rule, rule.named(patterns, name)) for rule, patterns in self._rules)
        return tuple(Hit(rule, captures) for rule, captures in found if captures is not None)


def parse_orchestration(tree: object, builtin: object = None) -> Rules:
    """The rules in what config/enrich.yaml holds, before those in ``builtin`` (what sidecar/enrich/orchestration.yaml holds).

    Raises ConfigError with every problem of ``tree``, each with its path; a problem of ``builtin`` is raised in the same way.
    """
    problems: list[str] = []
    built_in_problems: list[str] = []
    own, kinds = _parse(tree, problems)
    built_in, _ = _parse(builtin, built_in_problems)
    problems += [f"built-in {each}" for each in built_in_problems]
    if problems:
        raise ConfigError(problems)
    rules = [*own, *(rule for rule in built_in if rule.signal in kinds)]
    return Rules([Compiled(order, rule) for order, rule in enumerate(rules)])


_FLAGS = re.IGNORECASE | re.DOTALL


def compile_globs(globs: str | list[str] | None) -> tuple[re.Pattern[str], ...]:
    """Patterns with a group for each ``*``. Groups before the last are atomic, so a search is linear in the name."""
    return tuple(re.compile(_pattern(glob), _FLAGS) for glob in texts(globs))


def _pattern(glob: str) -> str:
    first, *rest = (re.escape(part).replace(r"\?", ".") for part in glob.split("*"))
    if not rest:
        return first
    return first + "".join(f"(?>(.*?){part})" for part in rest[:-1]) + "(.*)" + rest[-1]


def find_glob(patterns: Iterable[re.Pattern[str]], name: str) -> tuple[str, ...] | None:
    """What the stars of the first pattern that fits stood for; None when none fits."""
    for pattern in patterns:
        found = pattern.fullmatch(name[:MAX_COMPARED])
        if found is not None:
            return found.groups()
    return None


def _kinds(match: Match) -> frozenset[Kind]:
    if match.kind is not None:
        return frozenset([match.kind] if isinstance(match.kind, Kind) else match.kind)
    agents_work = frozenset(Kind) - {Kind.INFRA}
    return agents_work - CALLS if match.span is not None else agents_work


def _parse(tree: object, problems: list[str]) -> tuple[list[Rule], frozenset[SignalKind]]:
    """The rules of one file, and the kinds of signals for which the built-in ones stay."""
    tree = top(tree, "enrich", ("builtin", "rules"), problems)
    kinds = _builtin(tree.get("builtin", True), problems)
    rules = []
    for path, rule in structs(Rule, tree, "rules", MAX_RULES, problems):
        _check(rule, path, problems)
        rules.append(rule)
    return rules, kinds


def _builtin(value: object, problems: list[str]) -> frozenset[SignalKind]:
    if isinstance(value, bool):
        return frozenset(SignalKind) if value else frozenset()
    try:
        return frozenset(msgspec.convert(value, list[SignalKind]))
    except msgspec.ValidationError:
        problems.append(f"builtin: expected true, false, or a list of {', '.join(SignalKind)}")
        return frozenset()


def _check(rule: Rule, path: str, problems: list[str]) -> None:
    match = rule.match
    if match.span is None and match.tool is None and match.attribute is None and match.event is None:
        problems.append(f"{path}.match: needs at least one of span, tool, attribute, event")
    if match.event is not None and (match.span is not None or match.tool is not None):
        problems.append(f"{path}.match: an event goes with attribute, value, scope and kind only")
    if match.value is not None and match.attribute is None:
        problems.append(f"{path}.match.value: needs attribute")
    if match.excluded is not None and match.span is None and match.tool is None:
        problems.append(f"{path}.match.except: needs span or tool")
    if match.kind is not None and Kind.INFRA in _kinds(match):
        problems.append(f"{path}.match.kind: infra spans carry no signals")
    stars = max((glob.count("*") for glob in texts(match.tool) or texts(match.span)), default=0)
    for field in ("name", "outcome", "target", "source"):
        given = getattr(rule, field)
        if not isinstance(given, Source):
            continue
        if given == Source():
            problems.append(f"{path}.{field}: needs at least one of attribute, argument, capture")
        if given.capture is not None and given.capture > stars:
            problems.append(f"{path}.{field}.capture: no glob on a tool or a span has {given.capture} *")

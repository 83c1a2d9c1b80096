"""What is kept whatever the pressure, and how much of everything else: the operator's rules. Pure.

Owns the shape of config/sampling.yaml, as a tree that somebody else has read, and what each span says of its trace's worth.
It must not read files, decide about traces, or know pressure. No rule may look at a trace's id or randomness.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from sidecar.enrich.facts import ErrorKind, Facts, Kind
from sidecar.enrich.notes import UNKNOWN, Finding
from sidecar.enrich.view import SpanView
from sidecar.errors import ConfigError
from sidecar.ruletree import MAX_COMPARED, Globs, GlobSet, part, struct_of, structs, top, value_of
from sidecar.sample.budget import Budget, Capacity, daily, monthly
from sidecar.wire.attributes import Value

ERRORS, LATENCY, COST, TOKENS, EVALUATION, FEEDBACK, FLAGGED, MINIMUM = (
    "errors",
    "latency",
    "cost",
    "tokens",
    "evaluation",
    "feedback",
    "priority",
    "minimum",
)
"""Names of the built-in rules; metric labels, and ``metadata.sampling_rule``."""
BUILT_IN = frozenset({ERRORS, LATENCY, COST, TOKENS, EVALUATION, FEEDBACK, FLAGGED, MINIMUM})
SAMPLING_PRIORITY = "sampling.priority"
"""OpenTracing's attribute: above 0 keeps the trace, 0 drops it."""

MAX_RULES = 100
"""Of own rules: their names are labels. A rule costs about 0.5 us for a span while something is sampled."""
MAX_PROBABILITIES = 1000
MAX_REMEMBERED = 1024
"""Base probabilities by agent and service: 1,024 * 1.2 KB = 1.2 MB at most; all are forgotten when there are more."""

_EVALUATIONS = ("gen_ai.evaluation.name", "gen_ai.evaluation.score.value", "gen_ai.evaluation.score.label")
_EVALUATION_EVENTS = frozenset({b"gen_ai.evaluation.result"})
_FEEDBACK = ("feedback", "user_feedback", "user.feedback", "feedback.score", "feedback.value", "feedback.rating", "gen_ai.feedback")
_FEEDBACK_EVENTS = frozenset({b"feedback", b"user_feedback", b"user.feedback"})

_SPEAKING = frozenset({SAMPLING_PRIORITY, *_EVALUATIONS, *_FEEDBACK})
_ERROR = 2
"""OTLP's StatusCode."""

Seconds = Annotated[float, Meta(gt=0, le=1e6)]
Usd = Annotated[float, Meta(gt=0, le=1e9)]
Count = Annotated[int, Meta(gt=0, le=10**12)]
PerMinute = Annotated[float, Meta(ge=0, le=6000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class Keep(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept, trace by trace."""

    errors: bool = True
    slower_than_s: Seconds | None = 120.0
    """A span that took so long."""
    cost_usd: Usd | None = 1.0
    """What the calls of a trace cost together, as far as they came."""
    tokens: Count | None = 200_000
    """Likewise."""
    evaluations: bool = True
    feedback: bool = True
    sampling_priority: bool = True
    """Heed ``sampling.priority``: above 0 keeps, 0 drops even while everything else is kept."""


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """All that is given must fit one span; what it does not say fits nothing."""

    agent: Globs | None = None
    service: Globs | None = None
    span: Globs | None = None
    attribute: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """An exact key; without ``value`` it only has to be there."""
    value: Globs | None = None
    error: ErrorKind | None = None
    slower_than_s: Seconds | None = None
    cost_usd: Usd | None = None
    """Of one call."""
    tokens: Count | None = None
    """Of one call."""


class RuleEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``rules``."""

    name: Name
    match: Match


class Whose(Struct, frozen=True, forbid_unknown_fields=True):
    """Which traces a base probability is for."""

    agent: Globs | None = None
    service: Globs | None = None


class ProbabilityEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``probabilities``: the first that fits is used."""

    match: Whose
    probability: Share


class CapacityEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """What all keep rules may take together."""

    spans_per_s: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    """None: ``share`` of what the destination was seen to take."""
    share: Annotated[float, Meta(gt=0, le=1)] = 0.8
    burst_s: Annotated[float, Meta(ge=1, le=600)] = 10.0


class BudgetEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """None: no limit."""

    units_per_month: Count | None = None
    """Traces, observations and scores, as Langfuse bills them."""
    mib_per_day: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    """Compressed, as sent."""


class Degrade(Struct, frozen=True, forbid_unknown_fields=True):
    """Cut long values harder while it presses, before traces have to be left out."""

    max_value_kib: Annotated[float, Meta(ge=0.125, le=1e6)]
    above_pressure: Annotated[float, Meta(gt=0, le=100)] = 0.8

    @property
    def max_value_bytes(self) -> int:
        return int(self.max_value_kib * 1024)


class _Rule:
    def __init__(self, entry: RuleEntry) -> None:
        self.name = entry.name
        self._match = entry.match
        match = entry.match
        self._agent, self._service, self._span, self._value = map(_compiled, (match.agent, match.service, match.span, match.value))

    def fits(self, view: SpanView, facts: Facts, agent: str | None, service: str | None, cost_usd: float, tokens: int) -> bool:
        match = self._match
        return (
            (match.cost_usd is None or cost_usd >= match.cost_usd)
            and (match.tokens is None or tokens >= match.tokens)
            and (match.error is None or (facts.error is not None and facts.error.kind is match.error))
            and (match.slower_than_s is None or view.duration_s >= match.slower_than_s)
            and _may(self._agent, agent)
            and _may(self._service, service)
            and _may(self._span, view.name)
            and (match.attribute is None or self._attribute_fits(view.get(match.attribute)))
        )

    def _attribute_fits(self, value: Value | None) -> bool:
        return value is not None and _may(self._value, _text(value))


class KeepRules:
    """What config/sampling.yaml says, ready for use."""

    def __init__(
        self,
        keep: Keep = Keep(),  # noqa: B008  (frozen)
        rules: Sequence[RuleEntry] = (),
        probabilities: Sequence[ProbabilityEntry] = (),
        minimum_per_minute: float = 1.0,
        capacity: Capacity = Capacity(),  # noqa: B008  (frozen)
        budgets: Mapping[str, Budget] | None = None,
        default_probability: float = 1.0,
        degrade: Degrade | None = None,
    ) -> None:
        self.keep = keep
        self.minimum_per_minute = minimum_per_minute
        self.capacity = capacity
        self.budgets = dict(budgets or {})
        """By what they count: ``units``, ``bytes``."""
        self.degrade = degrade
        self.names = tuple(each.name for each in rules)
        self._default = default_probability
        self._rules = tuple(map(_Rule, rules))
        self._probabilities = tuple((_compiled(each.match.agent), _compiled(each.match.service), each.probability) for each in probabilities)
        self._known: dict[tuple[str | None, str | None], float] = {}

    @property
    def always_decides(self) -> bool:
        """Whether traces may be dropped while there is no pressure, by base probabilities."""
        return self._default < 1 or any(probability < 1 for _, _, probability in self._probabilities)

    def find(self, view: SpanView, facts: Facts, agent: str | None, service: str | None, cost_usd: float = 0.0, label: str = UNKNOWN) -> Finding:
        """What a span says, by its attributes as they came. ``cost_usd`` is what the price table says of a call whose provider says nothing."""
        cost, tokens = 0.0, 0
        if facts.is_call:
            cost = cost_usd if facts.cost_usd is None else facts.cost_usd
            tokens = 0 if facts.usage is None else facts.usage.total
        # Nearly every span says nothing of its worth: one look at its keys tells.
        speaks = view.has_events or not view.keys.isdisjoint(_SPEAKING)
        priority = view.float(SAMPLING_PRIORITY) if speaks and self.keep.sampling_priority else None
        rule = self._built_in(view, facts, priority, speaks=speaks)
        if rule is None and self._rules:
            rule = next((each.name for each in self._rules if each.fits(view, facts, agent, service, cost, tokens)), None)
        base = self.probability(agent, service) if self._probabilities else self._default
        return Finding(rule, agent, base, cost, tokens, priority, label)

    def probability(self, agent: str | None, service: str | None) -> float:
        """The base probability: of the first entry that fits, else the default."""
        if not self._probabilities:
            return self._default
        key = (agent and agent[:MAX_COMPARED], service and service[:MAX_COMPARED])
        found = self._known.get(key)
        if found is None:
            found = next((p for whose, at, p in self._probabilities if _may(whose, agent) and _may(at, service)), self._default)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = found
        return found

    def _built_in(self, view: SpanView, facts: Facts, priority: float | None, *, speaks: bool) -> str | None:
        keep = self.keep
        if keep.errors and (facts.error is not None or (not facts.dialect and view.status_code == _ERROR)):
            return ERRORS
        if priority is not None and priority > 0:
            return FLAGGED
        if keep.slower_than_s is not None and view.duration_s >= keep.slower_than_s:
            return LATENCY
        if keep.evaluations and (facts.kind is Kind.EVALUATOR or (speaks and _says(view, _EVALUATIONS, _EVALUATION_EVENTS))):
            return EVALUATION
        if keep.feedback and speaks and _says(view, _FEEDBACK, _FEEDBACK_EVENTS):
            return FEEDBACK
        return None


def parse_sampling(tree: object, default_probability: float = 1.0) -> KeepRules:
    """The rules in what config/sampling.yaml holds; raises ConfigError with every problem, each with its path.

    ``default_probability`` (``sampling.probability``) is for traces that no entry of ``probabilities`` fits.
    """
    problems: list[str] = []
    tree = top(tree, "sampling", _KEYS, problems)
    keep = part(Keep, tree, "keep", problems)
    capacity = part(CapacityEntry, tree, "capacity", problems)
    budget = part(BudgetEntry, tree, "budget", problems)
    minimum = value_of(PerMinute, tree.get("minimum_per_minute", 1.0), "minimum_per_minute", problems)
    rules = []
    for path, rule in structs(RuleEntry, tree, "rules", MAX_RULES, problems):
        _check(rule, path, problems)
        rules.append(rule)
    counts = Counter(each.name for each in rules)
    problems += [f"rules: the name {name} is given twice" for name in sorted(counts) if counts[name] > 1]
    probabilities = []
    for path, entry in structs(ProbabilityEntry, tree, "probabilities", MAX_PROBABILITIES, problems):
        if entry.match == Whose():
            problems.append(f"{path}.match: needs at least one of agent, service")
        probabilities.append(entry)
    given = tree.get("degrade")
    degrade = None if given is None else struct_of(Degrade, given, "degrade", problems)
    if problems or not isinstance(minimum, float):
        raise ConfigError(problems)
    taken = Capacity(capacity.spans_per_s, capacity.share, burst_s=capacity.burst_s)
    return KeepRules(keep, rules, probabilities, minimum, taken, _budgets(budget), default_probability, degrade)


_KEYS = ("keep", "minimum_per_minute", "rules", "probabilities", "capacity", "budget", "degrade")


def _budgets(entry: BudgetEntry) -> dict[str, Budget]:
    budgets = {}
    if entry.units_per_month is not None:
        budgets["units"] = monthly(entry.units_per_month)
    if entry.mib_per_day is not None:
        budgets["bytes"] = daily(entry.mib_per_day * (1 << 20))
    return budgets


def _check(rule: RuleEntry, path: str, problems: list[str]) -> None:
    if rule.match == Match():
        problems.append(f"{path}.match: needs at least one of {', '.join(Match.__struct_fields__)}")
    if rule.match.value is not None and rule.match.attribute is None:
        problems.append(f"{path}.match.value: needs an attribute")
    if rule.name in BUILT_IN:
        problems.append(f"{path}.name: {rule.name} is a built-in rule")


def _compiled(globs: str | list[str] | None) -> GlobSet | None:
    return None if globs is None else GlobSet(globs)


def _may(globs: GlobSet | None, text: str | None) -> bool:
    """Whether nothing is asked for, or it is said and fits."""
    return globs is None or (bool(text) and globs.fits(text or ""))


def _text(value: Value) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _says(view: SpanView, keys: tuple[str, ...], events: frozenset[bytes]) -> bool:
    for key in keys:
        if key in view:
            return True
    return view.first_event_ns(events) is not None

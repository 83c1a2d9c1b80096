"""Who an agent is: the operator's rules for names, services and scopes, and what they add to a span. Pure.

Owns the shape of config/agents.yaml, as a tree that somebody else has read, the choice of the rule for an agent, and the
attributes ``langfuse.observation.metadata.agent_*``, by which Langfuse can filter. It must not read files, know spans or count money.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from sidecar.enrich.agent_names import MAX_READ, OTHER, TrackedNames, looks_generated, normal_name, tidy
from sidecar.enrich.edit import encode_all
from sidecar.enrich.keys import METADATA
from sidecar.enrich.names import normalise
from sidecar.errors import ConfigError
from sidecar.ruletree import Globs, GlobSet, entries, flag, struct_of, structs, texts, top

MAX_RULES = 1000
MAX_GLOBS = 2000
"""In the matches of all rules. A glob or rule costs about 1 us for an agent that is met for the first time: 3 ms in all."""
MAX_KEY = 256
"""Characters of a string that is kept as part of a cache's key."""
MAX_VERSION = 64
GENERATION = 512
"""Entries; the older of two generations is dropped when the younger is full."""

NAME = f"{METADATA}.agent_name"
EXPECTED = f"{METADATA}.agent_model_expected"
DRIFT = f"{METADATA}.agent_model_drift"
"""Present only where a model answered that was not expected; its value is that model."""

Label = Annotated[str, Meta(min_length=1, max_length=128)]
Usd = Annotated[float, Meta(gt=0, le=1e9)]
Tokens = Annotated[int, Meta(gt=0, le=10**15)]


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """Which agents a rule is for: every key that is given must fit. What a span does not say fits nothing, not even ``*``."""

    agent: Globs | None = None
    """The agent's name, as the span has it or normalised; where the span has only an id that reads as a name, that."""
    id: Globs | None = None
    service: Globs | None = None
    """``service.name`` of the resource."""
    scope: Globs | None = None
    """The instrumentation scope's name."""


class Budget(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of what may be spent in an hour, a day and a month; None: no limit."""

    usd_per_hour: Usd | None = None
    usd_per_day: Usd | None = None
    usd_per_month: Usd | None = None
    tokens_per_hour: Tokens | None = None
    tokens_per_day: Tokens | None = None
    tokens_per_month: Tokens | None = None


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``agents``: the first whose match fits is used."""

    match: Match
    """In the file also a glob or a list of globs, short for ``{agent: ...}``."""
    name: Label | None = None
    """Show this name instead of the span's own. A rule without it is not for spans that name no agent."""
    type: Label | None = None
    version: Annotated[str, Meta(min_length=1, max_length=MAX_VERSION)] | None = None
    """Used where the span gives none."""
    team: Label | None = None
    owner: Label | None = None
    tags: Annotated[list[Label], Meta(max_length=50)] | None = None
    model: Globs | None = None
    """The models that the agent is expected to use."""
    budget: Budget | None = None


class ModelBudgetEntry(Budget, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of ``budgets``, as the file gives it."""

    model: Globs


class ModelBudget(Struct, frozen=True):
    """One entry of ``budgets``: the limits for the calls of all models that one of the globs fits."""

    models: tuple[str, ...]
    budget: Budget

    @property
    def name(self) -> str:
        """For metrics: the globs."""
        return _shown(self.models)


@dataclass(frozen=True, slots=True)
class Agent:
    """What is known of an agent; None where nobody says."""

    name: str
    """Fit to group by: 1 to 128 printable characters."""
    type: str | None = None
    version: str | None = None
    team: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    expected: GlobSet | None = None
    budget: Budget | None = None
    label: str = OTHER
    """For metrics, from agents.yaml alone: what a span says is not masked yet."""
    is_raw: bool = False
    """The name among the attributes is the span's own, with its ids and counters: it is tidied after masking, because half of a secret no longer looks like one."""
    attributes: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    """Serialized KeyValues by key, of what is known. Spans share the mapping: it is not to be changed."""


class Rule:
    """An entry, ready for use."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        match = entry.match
        self.label = entry.name or _shown(texts(match.agent or match.id or match.service or match.scope or OTHER))
        """For metrics, from the file alone."""
        self.tags = tuple(entry.tags or ())
        self.expected = None if entry.model is None else GlobSet(entry.model)
        self.needs_id = entry.match.id is not None
        self._agent, self._id, self._service, self._scope = (
            None if each is None else GlobSet(each) for each in (entry.match.agent, entry.match.id, entry.match.service, entry.match.scope)
        )
        self._attributes = encode_all(
            _known(
                type=entry.type,
                team=entry.team,
                owner=entry.owner,
                model_expected=_shown(self.expected.texts) if self.expected else None,
                tags=msgspec.json.encode(self.tags).decode() if self.tags else None,
            )
        )

    def fits(self, names: tuple[str, ...], agent_id: str, service: str, scope: str) -> bool:
        """Whether the rule is for such an agent. ``names`` are its spellings; ``""`` where the span does not say."""
        if self.entry.name is None and not names:
            return False
        for globs, said in ((self._service, service), (self._scope, scope), (self._id, agent_id)):
            if globs is not None and not (said and globs.fits(said)):
                return False
        return self._agent is None or any(map(self._agent.fits, names))

    def agent(self, name: str, said: str, version: str | None) -> Agent:
        """The agent, under the rule's name or else ``name``, which was ``said`` so; ``version`` is the span's own."""
        entry = self.entry
        shown, version = entry.name or said, version or entry.version
        name = entry.name or name
        attributes = {**encode_all(_known(name=shown, version=version)), **self._attributes}
        raw = name != shown
        return Agent(name, entry.type, version, entry.team, entry.owner, self.tags, self.expected, entry.budget, self.label, raw, attributes)


@dataclass(frozen=True, slots=True)
class AgentRules:
    """What config/agents.yaml holds."""

    rules: tuple[Rule, ...] = ()
    normalise: bool = True
    """Take ids and counters off names (``agent_names.normal_name``)."""
    budgets: tuple[ModelBudget, ...] = ()


def parse_agents(tree: object) -> AgentRules:
    """The rules in what config/agents.yaml holds; raises ConfigError with every problem, each with its path."""
    problems: list[str] = []
    tree = top(tree, "agents", ("agents", "budgets", "normalise"), problems)
    normalised = flag(tree, "normalise", True, problems)
    found = [_entry(each, path, problems) for path, each in entries(tree, "agents", MAX_RULES, problems)]
    budgets = tuple(_model_budget(each, path, problems) for path, each in structs(ModelBudgetEntry, tree, "budgets", MAX_RULES, problems))
    globs = sum(len(texts(each)) for entry in found if entry for each in msgspec.structs.astuple(entry.match))
    if globs > MAX_GLOBS:
        problems.append(f"agents: {globs} globs in matches are more than the limit of {MAX_GLOBS}")
    if problems:
        raise ConfigError(problems)
    return AgentRules(tuple(Rule(each) for each in found if each is not None), normalised, budgets)


_Key: TypeAlias = "tuple[str | None, str | None, str | None, str | None, str]"
_DriftKey: TypeAlias = "tuple[GlobSet, tuple[str | None, ...]]"


class AgentBook:
    """Agents by what spans say of them, remembered.

    Memory, at most: two generations of 512 agents, each a key of five strings of 256 characters and an agent's own name,
    version and their attributes: 1,024 * 8 KB = 8 MB with four bytes a character, 1.5 MB at a hundred plain characters a key;
    two generations of 512 answers about models, 1,024 * 2.2 KB = 2.2 MB; and the names tracked.
    """

    def __init__(self, rules: AgentRules | None = None, names: TrackedNames | None = None) -> None:
        """``names`` of the book before, when rules are read again, so that labels stay what they are."""
        self._rules = rules or AgentRules()
        self._needs_id = any(each.needs_id for each in self._rules.rules)
        self._young: dict[_Key, Agent | None] = {}
        self._old: dict[_Key, Agent | None] = {}
        self._drifts: dict[_DriftKey, bool] = {}
        self._old_drifts: dict[_DriftKey, bool] = {}
        self.names = names if names is not None else TrackedNames()

    def resolve(self, name: str | None, agent_id: str | None, version: str | None, service: str | None, scope: str) -> Agent | None:
        """The agent of a span that says this; None when it names none and no rule gives one by service or scope.

        The first rule that fits decides; without one an agent is just its name. An id is the name where there is none, unless
        a machine made it. Only the first 256 characters of each are compared.
        """
        if name and not self._needs_id:
            agent_id = None  # ids are new with every run, and then nothing depends on them
        try:
            return self._young[name, agent_id, version, service, scope]
        except KeyError:
            return self._look_up((name, agent_id, version, service, scope))

    @property
    def model_budgets(self) -> tuple[ModelBudget, ...]:
        """The limits for models."""
        return self._rules.budgets

    def tracked(self, name: str) -> str:
        """The name as a label of metrics: one of the first 256, else ``other``."""
        return self.names.tracked(name)

    @property
    def overflow(self) -> int:
        """How many different names came after the first 256; counted up to 4,096."""
        return self.names.overflow

    def drifts(self, agent: Agent, model_names: tuple[str | None, ...]) -> bool:
        """As the function ``drifts``, remembered."""
        if agent.expected is None:
            return False
        key = (agent.expected, model_names)
        found = self._drifts.get(key)
        if found is None:
            found = self._old_drifts.get(key)
            if found is None:
                found = drifts(agent, model_names)
            if _is_short(model_names):
                if len(self._drifts) >= GENERATION:
                    self._old_drifts, self._drifts = self._drifts, {}
                self._drifts[key] = found
        return found

    def __len__(self) -> int:
        """Agents remembered."""
        return len(self._young) + len(self._old)

    def _look_up(self, key: _Key) -> Agent | None:
        agent = self._old[key] if key in self._old else self._build(*key)
        if _is_short(key):
            if len(self._young) >= GENERATION:
                self._old, self._young = self._young, {}
            self._young[key] = agent
        return agent

    def _build(self, name: str | None, agent_id: str | None, version: str | None, service: str | None, scope: str) -> Agent | None:
        said, identity = tidy(name or "", MAX_READ), tidy(agent_id or "", MAX_READ)
        if not name and identity and not looks_generated(identity):
            said = identity
        shown = "" if not said else normal_name(said) if self._rules.normalise else tidy(said)
        own_version = tidy(version or "", MAX_VERSION) or None
        spellings = tuple(dict.fromkeys(each for each in (said, shown) if each))
        where = tidy(service or "", MAX_READ), tidy(scope, MAX_READ)
        for rule in self._rules.rules:
            if rule.fits(spellings, identity, *where):
                return rule.agent(shown, said, own_version)
        if not shown:
            return None
        return Agent(shown, version=own_version, is_raw=said != shown, attributes=encode_all(_known(name=said, version=own_version)))


def tidied(name: str) -> str:
    """A masked name, fit to group by. One that holds a label of masking stays: its digits tell one pseudonym from another."""
    return name if "[" in name else normal_name(name)


def drifts(agent: Agent, model_names: tuple[str | None, ...]) -> bool:
    """Whether none of the models that answered or were asked for is one that the agent is expected to use.

    Each is compared as it is and without decoration: ``openrouter/openai/gpt-4o-2024-08-06`` fits ``gpt-4o*``. False when
    nothing is expected, or when no model is named.
    """
    if agent.expected is None:
        return False
    names = [each for each in model_names if each]
    return bool(names) and not any(agent.expected.fits(each) for name in names for each in spellings_of(name))


def drift_attributes(expected: GlobSet, got: str) -> dict[str, bytes]:
    """What marks a call of a model that was not expected: the model that answered, and what was expected instead."""
    return encode_all({DRIFT: got[:MAX_READ], EXPECTED: _shown(expected.texts)})


def spellings_of(model: str) -> Iterable[str]:
    """What a model's globs are compared with: the name as it is, and ever plainer."""
    yield model[:MAX_READ].strip()
    name = normalise(model)
    if name is not None:
        yield name.model
        yield from name.spellings


def _is_short(key: tuple[str | None, ...]) -> bool:
    return all(each is None or len(each) <= MAX_KEY for each in key)


def _known(**values: str | None) -> dict[str, str]:
    return {f"{METADATA}.agent_{key}": value for key, value in values.items() if value}


def _shown(globs: tuple[str, ...]) -> str:
    return ", ".join(globs)[:MAX_READ]


def _entry(value: object, path: str, problems: list[str]) -> Entry | None:
    if isinstance(value, Mapping) and isinstance(value.get("match"), str | list):
        value = {**value, "match": {"agent": value["match"]}}
    entry = struct_of(Entry, value, path, problems)
    if entry is None:
        return None
    if entry.match == Match():
        problems.append(f"{path}.match: needs at least one of agent, id, service, scope")
    labels = [(key, getattr(entry, key)) for key in ("name", "type", "version", "team", "owner")]
    labels += [(f"tags[{position}]", each) for position, each in enumerate(entry.tags or ())]
    problems += [f"{path}.{key}: must be printable, on one line, without spaces around it" for key, each in labels if each and each != tidy(each)]
    if entry.budget == Budget():
        problems.append(f"{path}.budget: {_NO_LIMIT}")
    if entry == Entry(match=entry.match):
        problems.append(f"{path}: does nothing; give at least one of name, type, version, team, owner, tags, model, budget")
    return entry


_LIMITS = Budget.__struct_fields__
_NO_LIMIT = f"needs at least one of {', '.join(_LIMITS)}"


def _model_budget(entry: ModelBudgetEntry, path: str, problems: list[str]) -> ModelBudget:
    budget = Budget(*(getattr(entry, key) for key in _LIMITS))
    if budget == Budget():
        problems.append(f"{path}: {_NO_LIMIT}")
    return ModelBudget(texts(entry.model), budget)

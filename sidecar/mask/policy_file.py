"""The shape of config/masking.yaml. Pure.

Owns the format, what holds without a file, and operators' own patterns as detectors. It must not know how a file is read, nor how rules are chosen for a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct, field

from sidecar.mask.actions import LABEL, Action
from sidecar.mask.detector import Detector, Pack
from sidecar.mask.keys import MACHINE_KEYS, MACHINE_LOOKALIKES, Glob
from sidecar.mask.own_pattern import read_pattern
from sidecar.ruletree import texts

ENTRIES_MAX = 500
"""Of each list. A rule costs about 1 us for a key or an agent that is met for the first time."""
GLOB_CHARS_MAX = 256
BROAD_CHARS = 3
"""A glob with a shorter literal piece names no place."""
EVERYTHING, VALUE = "*", "value"

Globs: TypeAlias = (
    Annotated[str, Meta(min_length=1, max_length=GLOB_CHARS_MAX)]
    | Annotated[list[Annotated[str, Meta(min_length=1, max_length=GLOB_CHARS_MAX)]], Meta(min_length=1, max_length=ENTRIES_MAX)]
)
Texts = Annotated[list[Annotated[str, Meta(min_length=1, max_length=GLOB_CHARS_MAX)]], Meta(max_length=ENTRIES_MAX)]
Label = Annotated[str, Meta(pattern=f"^{LABEL.pattern}$")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=64)]

PACK_ACTIONS: Mapping[str, Action] = {
    Pack.SECRETS: Action.LABEL,
    Pack.PII: Action.LABEL,
    Pack.FINANCIAL: Action.PARTIAL,
    Pack.NATIONAL_IDS: Action.LABEL,
}
NEVER_PARTIAL = frozenset({"crypto-private-key", "seed-phrase", "card-code", "card-expiry"})
"""Detectors of a pack that is partial whose last four characters would say too much, or nothing: they become labels unless named themselves."""


class KeyEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``keys``: the first whose match fits a name is used; the built-in ones come last."""

    match: Globs
    unless: Globs | None = None
    action: Action = Action.LABEL
    """``keep``: the name hides nothing, detectors still look at the value."""
    label: Label = "SECRET"
    always: bool = False
    """Beats allow-lists, and rules that keep."""


class PatternEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``patterns``: a format of one's own."""

    name: Name
    pattern: Annotated[str, Meta(min_length=1, max_length=1000)]
    label: Label
    action: Action = Action.LABEL
    words: Texts = []
    ignore_case: bool = False


class Where(Struct, frozen=True, forbid_unknown_fields=True):
    """All that are given must fit; what a span does not say fits nothing, but an agent that is not known yet could be any."""

    agent: Globs | None = None
    service: Globs | None = None
    key: Globs | None = None
    """Of an attribute; for ``what: value`` also of a member inside JSON."""
    path: Globs | None = None
    """Inside JSON: ``$.messages[*].content``."""


class RuleEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``rules``: the first that fits decides, detector by detector."""

    where: Where
    what: Globs
    """Packs, detectors, own patterns, globs over their names; ``value`` is the whole value."""
    action: Action
    label: Label = "SECRET"
    """Of ``what: value``."""
    i_know: bool = False
    """Asked for where secrets are kept without naming a key or path."""


class Allow(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left alone."""

    values: Texts = []
    """Values that detectors find; `*` stands for anything, case does not count, nor do spaces and dashes in numbers."""
    patterns: Texts = []
    """Expressions that fit the whole value."""
    keys: Texts = []
    """Names whose values are never looked at."""


class Identity(Struct, frozen=True, forbid_unknown_fields=True):
    """Keys that name a person or a conversation: where a detector fires, the whole value is replaced."""

    keys: Texts = []
    action: Action = Action.HMAC


class LimitsEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Work that one value may ask for; more hides it whole."""

    max_value_kib: Annotated[int, Meta(ge=1, le=16 * 1024)] = 1024
    max_hits: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    max_depth: Annotated[int, Meta(ge=1, le=16)] = 5


class PolicyFile(Struct, frozen=True):
    """What config/masking.yaml holds, checked."""

    packs: dict[str, Action] = field(default_factory=lambda: dict(PACK_ACTIONS))
    detectors: dict[str, Action] = field(default_factory=dict)
    keys: tuple[KeyEntry, ...] = ()
    patterns: tuple[PatternEntry, ...] = ()
    rules: tuple[RuleEntry, ...] = ()
    allow: Allow = Allow()
    identity: Identity = Identity()
    built_in_names: bool = True
    """The key rules, identity keys and machine keys of ``sidecar.mask.keys``, after one's own."""
    dry_run: bool = False
    limits: LimitsEntry = LimitsEntry()
    known: tuple[Detector, ...] = ()
    """The table that names were checked against."""


def own_detector(entry: PatternEntry) -> Detector:
    """An own pattern as a detector. BadPattern when it is none."""
    read = read_pattern(entry.pattern)
    return Detector(
        entry.name,
        entry.label,
        Pack.PII,  # a detector has a pack; what a rule says of packs is said of the table that ships
        read.pattern,
        read.trigger or read.pattern,
        read.max_bytes,
        ignore_case=entry.ignore_case,
        words=tuple(word.lower() for word in entry.words),
    )


def what_table(known: Sequence[Detector], patterns: Sequence[PatternEntry]) -> Mapping[str, frozenset[str]]:
    """Names of detectors by what may stand in a rule: a pack, a detector, an own pattern, everything."""
    table = {pack.value: frozenset(each.name for each in known if each.pack is pack) for pack in Pack}
    single = {name: frozenset({name}) for name in (*(each.name for each in known), *(each.name for each in patterns))}
    return {**single, **table, EVERYTHING: frozenset(single)}


def named(what: str, table: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The detectors that an entry of ``what`` names; empty when there are none."""
    if what in table:
        return table[what]
    glob = Glob(what)
    return frozenset(name for entry, names in table.items() if len(names) == 1 and entry in names for name in names if glob.fits(name))


class Rule:
    """An entry of ``rules``, ready for use. ``number`` is its place, and that of its keys in the policy's table of names."""

    def __init__(self, number: int, entry: RuleEntry, detectors: frozenset[int]) -> None:
        where = entry.where
        self.number = number
        self.action, self.label = entry.action, entry.label
        self.detectors = detectors
        self.of_value = VALUE in texts(entry.what)
        self.has_key = where.key is not None
        self.has_agent = where.agent is not None
        self.keys = texts(where.key)
        self.paths = tuple(Glob(each) for each in texts(where.path))
        self._agents = tuple(Glob(each.lower()) for each in texts(where.agent))
        self._services = tuple(Glob(each.lower()) for each in texts(where.service))

    @property
    def by_span(self) -> bool:
        """Whether it depends on who sent a span."""
        return bool(self._agents or self._services)

    def certain(self, agent: str | None, service: str | None) -> bool | None:
        """Whether it is for such a span: True, False for perhaps, None for no."""
        if self._services and not (service and any(glob.fits(service) for glob in self._services)):
            return None
        if not self._agents:
            return True
        if agent is None:
            return False
        return True if any(glob.fits(agent) for glob in self._agents) else None


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """Work that one value may ask for; more hides it whole."""

    max_value_bytes: int = 1 << 20
    max_hits: int = 10_000
    max_depth: int = 5


def default_action(file: PolicyFile, detector: Detector) -> Action:
    """What a detector does where no rule is for it."""
    if detector.name in file.detectors:
        return file.detectors[detector.name]
    action = file.packs[detector.pack]
    return Action.LABEL if action is Action.PARTIAL and detector.name in NEVER_PARTIAL else action


def machine_rules(file: PolicyFile) -> tuple[RuleEntry, ...]:
    return (RuleEntry(Where(key=list(MACHINE_KEYS)), list(MACHINE_LOOKALIKES), Action.KEEP),) if file.built_in_names else ()

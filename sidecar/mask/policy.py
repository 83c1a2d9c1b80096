"""Policies: which values are hidden, how, and where. Pure.

Owns reading the tree of config/masking.yaml with every mistake in it, and the choice for a value: key rules first, then rules by agent, service, key and path,
then what a detector does by itself. It must not know texts beyond one value, nor messages.

What a name says goes before what detectors find; what says `always` goes before allow-lists; where it is not known whether a rule applies (the agent, or the
path), all that could apply are united and the strictest wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from sidecar.errors import ConfigError
from sidecar.mask.actions import Action, own_labels, replacement
from sidecar.mask.detector import Detector, Pack
from sidecar.mask.hmac_keys import HmacKeys
from sidecar.mask.json_text import Path
from sidecar.mask.keys import BUILT_IN_NAMES, IDENTITY_KEYS, Generations, Glob, KeyGlobs, KeyVerdict, words_of
from sidecar.mask.own_pattern import PATTERN_BYTES_MAX, PATTERN_BYTES_MIN, BadPattern, OwnPattern, read_pattern
from sidecar.mask.policy_file import (
    BROAD_CHARS,
    ENTRIES_MAX,
    PACK_ACTIONS,
    VALUE,
    Allow,
    Identity,
    KeyEntry,
    LimitsEntry,
    PatternEntry,
    PolicyFile,
    Rule,
    RuleEntry,
    WorkLimits,
    default_action,
    machine_rules,
    named,
    own_detector,
    what_table,
)
from sidecar.ruletree import flag, part, structs, texts, top, value_of

NAME_CHARS_MAX = 128
"""Of a name that is remembered."""
GENERATION = 2048
"""Names, and pairs of agent and service, remembered; the older of two generations goes when the younger is full. 700 bytes each at most: 6 MB in all."""
SCOPES_MAX = 64
"""Different sets of rules that are remembered, in each of two generations: 3 KB each."""
AGENT_CHARS_MAX, PATH_CHARS_MAX, ALLOWED_BYTES_MAX = 256, 1024, 1024
"""What is compared with globs; a longer value is not allowed by any."""
WORD_CHARS_MIN = 2
"""Of a context word: single letters stand before almost anything."""
ID = "ID"


def parse_policy(tree: object, known: Sequence[Detector]) -> PolicyFile:
    """The policy in what config/masking.yaml holds; ConfigError names every problem with its path. ``known`` are the detectors that ship."""
    problems: list[str] = []
    tree = top(tree, "masking", _KNOWN_KEYS, problems)
    patterns = tuple(structs(PatternEntry, tree, "patterns", ENTRIES_MAX, problems))
    _check_patterns(patterns, known, problems)
    names = {each.name for each in known}
    packs = {**PACK_ACTIONS, **_actions(tree, "packs", {each.value for each in Pack}, "pack", problems)}
    detectors = _actions(tree, "detectors", names, "detector", problems)
    keys = []
    for path, entry in structs(KeyEntry, tree, "keys", ENTRIES_MAX, problems):
        _check_key_rule(entry, path, problems)
        keys.append(entry)
    own = tuple(entry for _, entry in patterns)
    table = what_table(known, own)
    rules = []
    for path, rule in structs(RuleEntry, tree, "rules", ENTRIES_MAX, problems):
        _check_rule(rule, path, table, problems)
        rules.append(rule)
    allow = part(Allow, tree, "allow", problems)
    _check_allow(allow, problems)
    identity = part(Identity, tree, "identity", problems)
    for position, glob in enumerate(identity.keys):
        if not any(word.strip("*") for word in words_of(glob)):
            problems.append(f"identity.keys[{position}]: would make every value an identity")
    if identity.action is Action.KEEP:
        problems.append("identity.action: can't be keep; name what to keep in rules")
    limits = part(LimitsEntry, tree, "limits", problems)
    flags = {key: flag(tree, key, default, problems) for key, default in (("built_in_names", True), ("dry_run", False))}
    if problems:
        raise ConfigError(problems)
    return PolicyFile(
        packs, detectors, tuple(keys), own, tuple(rules), allow, identity, flags["built_in_names"], flags["dry_run"], limits, tuple(known)
    )


_KNOWN_KEYS = ("packs", "detectors", "keys", "patterns", "rules", "allow", "identity", "built_in_names", "dry_run", "limits")


def _check_patterns(patterns: Sequence[tuple[str, PatternEntry]], known: Sequence[Detector], problems: list[str]) -> None:
    taken = {each.name for each in known} | {each.value for each in Pack} | {VALUE}
    for path, entry in patterns:
        if entry.name in taken:
            problems.append(f"{path}.name: {entry.name} is taken")
        taken.add(entry.name)
        read = _pattern(entry.pattern, f"{path}.pattern", problems)
        if read is not None and read.min_bytes < PATTERN_BYTES_MIN:
            problems.append(f"{path}.pattern: can match fewer than {PATTERN_BYTES_MIN} bytes")
        elif read is not None and read.trigger is None:
            problems.append(f"{path}.pattern: needs a few fixed characters outside of alternatives, or at most {PATTERN_BYTES_MAX // 4} bytes in all")
        if any(len(word.strip()) < WORD_CHARS_MIN for word in entry.words):
            problems.append(f"{path}.words: a word needs {WORD_CHARS_MIN} characters at least")
        if entry.action is Action.KEEP:
            problems.append(f"{path}.action: can't be keep; leave the pattern out, or keep it in rules")


def _pattern(text: str, path: str, problems: list[str]) -> OwnPattern | None:
    try:
        return read_pattern(text)
    except BadPattern as problem:
        problems.append(f"{path}: {problem}")
        return None


def _check_key_rule(entry: KeyEntry, path: str, problems: list[str]) -> None:
    for glob in texts(entry.match):
        if not any(word.strip("*") for word in words_of(glob)):
            problems.append(f"{path}.match: {glob!r} fits every name")
    for glob in texts(entry.unless):
        if not any(word.strip("*") for word in words_of(glob)):
            problems.append(f"{path}.unless: {glob!r} fits every name, so that the rule does nothing")
    if entry.always and entry.action is Action.KEEP:
        problems.append(f"{path}: always is for rules that hide; one that keeps is no exception from anything")


def _check_rule(rule: RuleEntry, path: str, table: Mapping[str, frozenset[str]], problems: list[str]) -> None:
    where = rule.where
    for what in texts(rule.what):
        if what != VALUE and not named(what, table):
            problems.append(f"{path}.what: there is no pack, detector or pattern {what!r}; value is the whole value")
    if VALUE in texts(rule.what) and where.key is None and where.path is None:
        problems.append(f"{path}.what: value needs where.key or where.path")
    for globs in (where.key, where.path, where.agent, where.service):
        if any(not glob.strip("*") for glob in texts(globs)) and len(texts(globs)) > 1:
            problems.append(f"{path}.where: a glob that fits everything leaves the others without effect")
    for glob in texts(where.path):
        if not glob.startswith(("$", "*")):
            problems.append(f"{path}.where.path: {glob!r} fits no path; paths begin with $")
    kept = frozenset().union(*(named(what, table) for what in texts(rule.what)))
    if rule.action is Action.KEEP and kept & table[Pack.SECRETS] and not rule.i_know and _broad(where.key) and _broad(where.path):
        problems.append(f"{path}: keeps secrets almost everywhere; name a key or path, or say i_know: true")


def _broad(globs: str | list[str] | None) -> bool:
    return globs is None or any(len(Glob(glob).literal) < BROAD_CHARS for glob in texts(globs))


def _check_allow(allow: Allow, problems: list[str]) -> None:
    for position, glob in enumerate(allow.values):
        if len(Glob(glob).literal) < BROAD_CHARS:
            problems.append(f"allow.values[{position}]: {glob!r} would allow almost everything; it needs {BROAD_CHARS} characters in a row")
    for position, glob in enumerate(allow.keys):
        if len(Glob("".join(words_of(glob))).literal) < BROAD_CHARS - 1:
            problems.append(f"allow.keys[{position}]: {glob!r} would leave almost every name unmasked")
    for position, text in enumerate(allow.patterns):
        _pattern(text, f"allow.patterns[{position}]", problems)


def _actions(tree: Mapping[object, object], key: str, names: set[str], kind: str, problems: list[str]) -> dict[str, Action]:
    """A map of names to actions; ``off``, which YAML reads as false, is ``keep``."""
    given = tree.get(key)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        problems.append(f"{key}: expected a map of names to actions")
        return {}
    actions: dict[str, Action] = {}
    for name, said in given.items():
        if name not in names:
            near = f"; there are: {', '.join(sorted(names))}" if len(names) < 10 else ""
            problems.append(f"{key}.{name}: there is no such {kind}{near}")
        elif said is False or said == "off":
            actions[str(name)] = Action.KEEP
        elif isinstance(action := value_of(Action, said, f"{key}.{name}", problems), Action):
            actions[str(name)] = action
    return actions


_Chosen = tuple[tuple[Rule, bool], ...]


class _Facts(NamedTuple):
    """What is remembered of a name in one scope."""

    verdict: KeyVerdict
    lists: frozenset[int]


class Policy:
    """A policy file with the keys of its pseudonyms. Not safe to share between threads: it remembers."""

    def __init__(self, file: PolicyFile, keys: HmacKeys) -> None:
        self.file, self.hmac_keys = file, keys
        self.dry_run = file.dry_run
        self.limits = WorkLimits(file.limits.max_value_kib * 1024, file.limits.max_hits, file.limits.max_depth)
        self._choose_detectors(file)
        self._build_names(file)
        self.labels = frozenset({ID, *(each.label for each in file.known), *(each.label for each in (*file.patterns, *file.rules, *self._names))})
        """Names of all labels that this policy writes."""
        self.masked = own_labels(self.labels)
        self._allow_values(file.allow)
        self._agents_count = any(rule.by_span for rule in self._rules)
        self._facts: Generations[tuple[int, str], _Facts] = Generations(GENERATION)
        self._scopes: Generations[tuple[str | None, str | None], Scope] = Generations(GENERATION)
        self._by_rules: Generations[tuple[tuple[int, bool], ...], Scope] = Generations(SCOPES_MAX)
        self._made = 0
        self._everywhere = self._scope(None, None)

    def _choose_detectors(self, file: PolicyFile) -> None:
        table = what_table(file.known, file.patterns)
        own = {each.name: each.action for each in file.patterns}
        every = (*file.known, *(own_detector(each) for each in file.patterns))
        defaults = {each.name: own[each.name] if each.name in own else default_action(file, each) for each in every}
        entries = [(rule, frozenset().union(*(named(what, table) for what in texts(rule.what)))) for rule in (*file.rules, *machine_rules(file))]
        hidden = {name for rule, names in entries if rule.action is not Action.KEEP for name in names}
        self.detectors: tuple[Detector, ...] = tuple(each for each in every if defaults[each.name] is not Action.KEEP or each.name in hidden)
        """What an engine is built of; the others could hide nothing anywhere."""
        self.defaults = tuple(defaults[each.name] for each in self.detectors)
        places = {each.name: place for place, each in enumerate(self.detectors)}
        self._rules = [
            Rule(number, rule, frozenset(places[name] for name in names if name in places)) for number, (rule, names) in enumerate(entries)
        ]

    def _build_names(self, file: PolicyFile) -> None:
        built_in = [KeyEntry(list(each.match), list(each.unless) or None, Action.LABEL, each.label, each.always) for each in BUILT_IN_NAMES]
        self._names = (*file.keys, *(built_in if file.built_in_names else ()))
        identities = (*file.identity.keys, *(IDENTITY_KEYS if file.built_in_names else ()))
        self._first_name = len(self._rules)
        self._allowed = self._first_name + len(self._names)
        self._globs = KeyGlobs([*(rule.keys for rule in self._rules), *(texts(each.match) for each in self._names), file.allow.keys, identities])
        self._unless = KeyGlobs([texts(each.unless) for each in self._names])
        self._identity = KeyVerdict("scan", file.identity.action, ID, whole=True)

    def _allow_values(self, allow: Allow) -> None:
        lowered = [each.lower() for each in allow.values]
        self._values = frozenset(_plain(each.replace("\\*", "*")) for each in lowered if "*" not in each.replace("\\*", ""))
        self._value_globs = tuple(Glob(each) for each in lowered if "*" in each.replace("\\*", ""))
        self._value_patterns = tuple(re.compile(read_pattern(each).pattern.encode()) for each in allow.patterns)
        self.allows_any = bool(lowered or allow.patterns)
        """Whether an allow-list names any value."""

    @property
    def digest(self) -> str:
        """8 hex digits: the same for the same rules and detectors, whatever the keys."""
        fields = {name: getattr(self.file, name) for name in PolicyFile.__struct_fields__ if name != "known"}
        detectors = [(each.name, each.label, each.pattern) for each in self.detectors]
        return blake2b(msgspec.json.encode([fields, detectors], order="deterministic"), digest_size=4).hexdigest()

    def scope(self, agent: str | None, service: str | None) -> Scope:
        """The policy for the spans of an agent; None: it is not known which, so the strictest of what could apply. Service None: it has none."""
        if not self._agents_count:
            return self._everywhere
        found = self._scopes.get((agent, service))
        return found if found is not None else self._scope(agent, service)

    def _scope(self, agent: str | None, service: str | None) -> Scope:
        who = None if agent is None else agent[:AGENT_CHARS_MAX].lower()
        where = (service or "")[:AGENT_CHARS_MAX].lower()
        chosen = tuple((rule, certain) for rule in self._rules if (certain := rule.certain(who, where)) is not None)
        identity = tuple((rule.number, certain) for rule, certain in chosen)
        scope = self._by_rules.get(identity)
        if scope is None:
            scope = Scope(self, self._made, chosen)
            self._made += 1
            self._by_rules.put(identity, scope)
        if len(agent or "") <= NAME_CHARS_MAX and len(service or "") <= NAME_CHARS_MAX:
            self._scopes.put((agent, service), scope)
        return scope

    def facts(self, scope: Scope, name: str) -> _Facts:
        """What an attribute's name, or a member's of which the path does not matter, says in a scope. Remembered."""
        found = self._facts.get((scope.number, name))
        if found is None:
            lists = self._globs.find(name)
            found = _Facts(self.verdict(scope, name, lists, ""), lists)
            if len(name) <= NAME_CHARS_MAX:
                self._facts.put((scope.number, name), found)
        return found

    def verdict(self, scope: Scope, name: str, lists: frozenset[int], path: Path | str | None) -> KeyVerdict:
        """What the name says. ``path`` is empty where the value has none, None where it could be any."""
        options, sure = scope.options(scope.of_values, lists, path)
        allowed = self._allowed in lists
        entry = self._entry(name, lists)
        hidden = entry if entry is not None and entry.action is not Action.KEEP and (entry.always or not allowed) else None
        placed = any(action is not Action.KEEP for action, _ in options)
        if hidden is not None and (not sure or hidden.always):
            options.append((hidden.action, hidden.label))
        action, label = max(options, key=_strictness, default=(Action.KEEP, ""))
        if action is not Action.KEEP:
            return KeyVerdict("mask", action, label, placed=placed)
        if allowed:
            return _KEEP
        return self._identity if self._allowed + 1 in lists else _SCAN

    def _entry(self, name: str, lists: frozenset[int]) -> KeyEntry | None:
        numbers = sorted(number - self._first_name for number in lists if self._first_name <= number < self._allowed)
        unless: Iterable[int] = self._unless.find(name) if numbers else ()
        return next((self._names[number] for number in numbers if number not in unless), None)

    def allows(self, value: bytes) -> bool:
        """Whether an allow-list names the value."""
        if not self.allows_any or len(value) > ALLOWED_BYTES_MAX:
            return False
        text = value.decode("utf-8", "replace").lower()
        if _plain(text) in self._values or any(glob.fits(text) for glob in self._value_globs):
            return True
        return len(value) <= PATTERN_BYTES_MAX and any(pattern.fullmatch(value) for pattern in self._value_patterns)


class Scope:
    """A policy, as it is for spans of one kind."""

    def __init__(self, policy: Policy, number: int, rules: _Chosen) -> None:
        self._policy = policy
        self.number = number
        self._rules = rules
        self.of_values = tuple(each for each in rules if each[0].of_value)
        self.has_path_rules = any(rule.paths for rule, _ in rules)
        """Without any, a member's path need not be built."""
        self._relevant: dict[int, _Chosen] = {}

    def key(self, key: str) -> KeyVerdict:
        """What an attribute's key says about its value."""
        return self._policy.facts(self, key).verdict

    def member(self, path: Path | str | None, name: str) -> KeyVerdict:
        """The same for a member inside JSON, whose path includes its name. Without a path: whether it could be hidden at any."""
        facts = self._policy.facts(self, name)
        return self._policy.verdict(self, name, facts.lists, path) if self.has_path_rules else facts.verdict

    def action(self, detector_index: int, key: str, path: Path | str | None = "$") -> Action:
        """What happens to values of a detector under an attribute's key, at a path of its JSON; None: at the strictest of all paths."""
        relevant = self._relevant_to(detector_index)
        default = self._policy.defaults[detector_index]
        if not relevant:
            return default
        lists = self._policy.facts(self, key).lists if any(rule.has_key for rule, _ in relevant) else _NONE
        options, sure = self.options(relevant, lists, path)
        if not sure:
            options.append((default, ""))
        return max(options, key=_strictness)[0]

    def everywhere(self, detector_index: int, key: str) -> Action | None:
        """What happens to values of a detector under an attribute's key, when that is the same at every path; else None."""
        if self.has_path_rules and any(rule.paths for rule, _ in self._relevant_to(detector_index)):
            return None
        return self.action(detector_index, key)

    def _relevant_to(self, detector_index: int) -> _Chosen:
        relevant = self._relevant.get(detector_index)
        if relevant is None:
            relevant = tuple(each for each in self._rules if detector_index in each[0].detectors)
            self._relevant[detector_index] = relevant
        return relevant

    def judge(self, detector_index: int, value: bytes, key: str, path: Path | str | None = "$") -> Action:
        """The same for one value: `keep` for what an allow-list names."""
        action = self.action(detector_index, key, path)
        return Action.KEEP if action is not Action.KEEP and self._policy.allows(value) else action

    def hit(self, detector_index: int, value: bytes, key: str, path: Path | str | None = "$") -> bytes | None:
        """What replaces a detected value, empty when it is removed; None: leave it."""
        return self.replaced(detector_index, value, self.judge(detector_index, value, key, path))

    def replaced(self, detector_index: int, value: bytes, action: Action) -> bytes | None:
        """What replaces a detected value by this action, empty when it is removed; None: leave it."""
        if action is Action.KEEP or (value[:1] == b"[" and self._policy.masked.fullmatch(value)):
            return None
        return replacement(action, self._policy.detectors[detector_index].label, value, self._policy.hmac_keys) or b""

    def whole(self, verdict: KeyVerdict, value: bytes) -> bytes | None:
        """What a value becomes because of its key; None: the attribute goes. What holds nothing stays, so do own labels."""
        if value in _NOTHING or self._policy.masked.fullmatch(value):
            return value
        return replacement(verdict.action, verdict.label, value, self._policy.hmac_keys)

    def options(self, rules: _Chosen, lists: frozenset[int], path: Path | str | None) -> tuple[list[tuple[Action, str]], bool]:
        """What the first rule that fits says, and all before it that might; and whether one fits for certain."""
        options: list[tuple[Action, str]] = []
        spelt: str | None = None
        for rule, certain in rules:
            if rule.has_key and rule.number not in lists:
                continue
            sure = certain
            if rule.paths:
                if path is None:
                    sure = False
                else:
                    spelt = str(path) if spelt is None else spelt
                    if len(spelt) > PATH_CHARS_MAX:
                        spelt = spelt[: PATH_CHARS_MAX // 2] + spelt[-PATH_CHARS_MAX // 2 :]
                    if not spelt or not any(glob.fits(spelt) for glob in rule.paths):
                        continue
            options.append((rule.action, rule.label))
            if sure:
                return options, True
        return options, False


_SCAN, _KEEP = KeyVerdict("scan"), KeyVerdict("keep")
_NONE: frozenset[int] = frozenset()
_NOTHING = frozenset({b"", b"true", b"false", b"null"})


def _strictness(option: tuple[Action, str]) -> int:
    return option[0].strictness


def _plain(value: str) -> str:
    """A value without what is only layout in numbers."""
    return value.replace(" ", "").replace("-", "")

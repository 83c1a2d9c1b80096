"""Budgets: the limits of agents.yaml for agents and models, and what was spent of them in the running hour, day and month (UTC). Pure.

Owns which budgets a model's call is on, and the sums by period. It must not know spans, read clocks or write files.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.enrich.agents import MAX_KEY, AgentRules, Budget, ModelBudget, spellings_of
from sidecar.enrich.measured import Spent
from sidecar.ruletree import GlobSet

AGENT, MODEL = "agent", "model"
PERIODS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
"""Each with how its start is written: so that later ones sort behind earlier ones."""
MAX_REMEMBERED = 512
"""Models whose budgets are remembered: keys of two names of at most 256 characters, 1.2 MB at worst, 0.1 MB at a hundred plain characters."""

Account: TypeAlias = "tuple[str, str]"
"""Scope (agent, model) and name."""


class Line(NamedTuple):
    """One limit, and what was spent of it."""

    scope: str
    name: str
    period: str
    unit: str
    """``usd`` or ``tokens``."""
    spent: float
    limit: float


class Entry(msgspec.Struct, array_like=True):
    """What was spent in one period."""

    start: str = ""
    """As the period's format writes it."""
    usd: float = 0.0
    tokens: int = 0


Books: TypeAlias = dict[str, dict[str, dict[str, Entry]]]
"""By scope, name and period."""


class ModelBudgets:
    """The budgets for models, by the names that calls give."""

    def __init__(self, budgets: tuple[ModelBudget, ...] = ()) -> None:
        self._budgets = [(each.name, GlobSet(each.models)) for each in budgets]
        self._known: dict[tuple[str | None, str | None], tuple[str, ...]] = {}

    def of(self, answered: str | None, requested: str | None) -> tuple[str, ...]:
        """The names of all budgets that a call of this model is on."""
        if not self._budgets:
            return ()
        found = self._known.get((answered, requested))
        if found is None:
            texts = [text for name in (answered, requested) if name for text in spellings_of(name)]
            found = tuple(name for name, globs in self._budgets if any(globs.fits(text) for text in texts))
            if len(answered or "") <= MAX_KEY and len(requested or "") <= MAX_KEY:
                if len(self._known) >= MAX_REMEMBERED:
                    self._known.clear()
                self._known[answered, requested] = found
        return found


def limits_of(rules: AgentRules) -> dict[Account, Budget]:
    """Every limit of agents.yaml. Rules of one name share one account, and of two limits the lower one holds."""
    limits: dict[Account, Budget] = {}
    named = [((AGENT, rule.label), rule.entry.budget) for rule in rules.rules] + [((MODEL, each.name), each.budget) for each in rules.budgets]
    for account, budget in named:
        if budget is not None:
            known = limits.get(account)
            limits[account] = budget if known is None else _lower(known, budget)
    return limits


def _lower(one: Budget, other: Budget) -> Budget:
    pairs = zip(Budget.__struct_fields__, msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Budget(**{name: min((each for each in values if each is not None), default=None) for name, *values in pairs})


class Accounts:
    """What was spent. Memory: at most 2,000 budgets (1,000 rules for agents, 1,000 for models), three entries of about 200 bytes each: 1.2 MB."""

    def __init__(self, limits: Mapping[Account, Budget]) -> None:
        self._limits = dict(limits)
        self._entries: dict[Account, dict[str, Entry]] = {}

    def use(self, limits: Mapping[Account, Budget]) -> None:
        """Follow these limits from now on; what was spent on budgets that are still there stays."""
        self._limits = dict(limits)
        self._entries = {account: entries for account, entries in self._entries.items() if account in limits}

    def spend(self, account: Account, spent: Spent, now_ms: int) -> None:
        """Take from a budget. One that is no longer there is ignored."""
        if account in self._limits:
            entries = self._entries.setdefault(account, {})
            for period, start in _starts(now_ms).items():
                self._add(entries, period, Entry(start, spent.usd, spent.tokens))

    def lines(self, now_ms: int) -> Iterator[Line]:
        """Every limit and what was spent of it in the period of this moment."""
        starts = _starts(now_ms)
        for account, budget in self._limits.items():
            entries = self._entries.get(account, {})
            for period, start in starts.items():
                entry = entries.get(period)
                current = entry if entry is not None and entry.start >= start else Entry()
                for unit, spent in (("usd", current.usd), ("tokens", current.tokens)):
                    limit: float | None = getattr(budget, f"{unit}_per_{period}")
                    if limit is not None:
                        yield Line(*account, period, unit, spent, limit)

    def books(self) -> Books:
        """Everything spent, to be written down."""
        books: Books = {}
        for (scope, name), entries in self._entries.items():
            books.setdefault(scope, {})[name] = dict(entries)
        return books

    def add_books(self, books: Books) -> None:
        """Add what was written down before, as far as it is of budgets that are still there."""
        for scope, names in books.items():
            for name, entries in names.items():
                if (scope, name) in self._limits:
                    mine = self._entries.setdefault((scope, name), {})
                    for period, entry in entries.items():
                        if period in PERIODS and (period not in mine or mine[period].start <= entry.start):
                            self._add(mine, period, entry)

    def _add(self, entries: dict[str, Entry], period: str, entry: Entry) -> None:
        """A later period replaces an earlier one. When the clock was set back, the later one stays and goes on."""
        known = entries.get(period)
        if known is None or known.start < entry.start:
            entries[period] = entry
        else:
            known.usd += entry.usd
            known.tokens += entry.tokens


def _starts(now_ms: int) -> dict[str, str]:
    moment = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC)
    return {period: moment.strftime(form) for period, form in PERIODS.items()}

"""The price table as data: its types, and which of its models a spelling means. Pure.

Owns the shape of prices.json, which scripts/generate_prices.py writes, and the matching inside one provider.
It must not know how real-world names are spelt (names.py) or what a call costs (prices.py).

Memory: prices.json is 0.5 MB. A provider's models are decoded when a span first names that provider, so that
reading the table costs little and a process that talks to three providers holds three.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

Clause: TypeAlias = "str | list[str]"
"""``=equals``, ``^starts``, ``$ends``, ``~contains`` or ``/regular expression``; in a list all must hold."""


Rate = Annotated[float, Meta(ge=0, le=1_000_000)]


class Rates(Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens; None: the source names no price of its own for this bucket."""

    input: Rate | None = None
    output: Rate | None = None
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    input_audio: Rate | None = None
    output_audio: Rate | None = None
    reasoning: Rate | None = None
    request: Rate | None = None
    """USD per thousand requests, on top of the tokens."""


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """Rates and when they hold."""

    rates: Rates
    above: list[tuple[int, Rates]] = []
    """Rates of all tokens of a request whose input is larger than so many tokens; rising."""
    since: dt.date | None = None
    """First day (UTC)."""
    minutes: tuple[int, int] | None = None
    """Minutes of the day (UTC) from and until which it holds; may pass midnight."""
    service_tier: str = ""
    """``batch``, ``flex``, ``priority`` or ``fast``; such rates replace the standard ones bucket by bucket."""

    def holds(self, day: int, minute: int) -> bool:
        """Whether it applies on a day (ordinal of ``datetime.date``) at a minute of that day."""
        if self.since is not None and day < self.since.toordinal():
            return False
        if self.minutes is None:
            return True
        start, end = self.minutes
        return start <= minute < end if start <= end else minute >= start or minute < end

    def at(self, input_tokens: int) -> tuple[Rates, int]:
        """The rates for a request with so much input, and the context length that made them apply (0: none did)."""
        for start, rates in reversed(self.above):
            if input_tokens > start:
                return rates, start
        return self.rates, 0


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One model of a provider."""

    id: str
    match: list[Clause]
    name: str = ""
    context_window: int | None = None
    """Tokens."""
    prices: list[Price] = []
    """Standard prices in the source's order, the last that holds wins; then those of service tiers, the first that holds wins."""
    free: bool = False


class Models:
    """The models of one provider, and which of them a spelling means."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """``entries`` in the source's order: the first that matches wins."""
        self.entries = tuple(entries)
        self._exact: dict[str, int] = {}
        self._others: list[tuple[int, Callable[[str], object]]] = []
        for position, entry in enumerate(self.entries):
            for clause in entry.match:
                if isinstance(clause, str) and clause[0] == "=":
                    self._exact.setdefault(clause[1:], position)
                else:
                    self._others.append((position, matcher(clause)))

    def exact(self, spelling: str) -> Entry | None:
        """The model with exactly this name."""
        position = self._exact.get(spelling)
        return None if position is None else self.entries[position]

    def find(self, spelling: str) -> Entry | None:
        """The model that this spelling means, by name or by pattern."""
        best = self._exact.get(spelling, len(self.entries))
        for position, matches in self._others:
            if position >= best:
                break
            if matches(spelling):
                best = position
        return self.entries[best] if best < len(self.entries) else None


def matcher(clause: Clause) -> Callable[[str], object]:
    """A predicate on lower-case spellings."""
    if not isinstance(clause, str):
        parts = [matcher(each) for each in clause]
        return lambda spelling: all(part(spelling) for part in parts)
    kind, text = clause[0], clause[1:]
    if kind == "/":
        return re.compile(text).search
    return {
        "=": text.__eq__,
        "^": lambda spelling: spelling.startswith(text),
        "$": lambda spelling: spelling.endswith(text),
        "~": lambda spelling: text in spelling,
    }[kind]


class _Provider(Struct, forbid_unknown_fields=True):
    name: str
    models: msgspec.Raw
    owns: list[Clause] = []
    resells: list[str] = []


class _File(Struct, forbid_unknown_fields=True):
    source: str
    version: str
    date: dt.date
    licence: str
    unit: str
    providers: dict[str, _Provider]


class PriceTable:
    """The table of one day."""

    def __init__(self, content: bytes) -> None:
        """``content`` is prices.json; raises msgspec.ValidationError or msgspec.DecodeError when it is something else."""
        file = msgspec.json.decode(content, type=_File)
        self.date = file.date.isoformat()
        self.version = f"{file.source} {file.version}"
        self._files = file.providers
        self._models: dict[str, Models] = {}
        self._owners = [(name, [matcher(clause) for clause in each.owns]) for name, each in file.providers.items() if each.owns]
        self.resells: Mapping[str, list[str]] = {name: each.resells for name, each in file.providers.items()}
        """Providers whose list prices hold for what a provider sells without a price of its own."""

    @property
    def providers(self) -> Iterable[str]:
        """Ids, in the source's order."""
        return self._files

    def models(self, provider: str) -> Models:
        """The models of a provider of the table; decoded on first use. Raises KeyError for others."""
        found = self._models.get(provider)
        if found is None:
            found = self._models[provider] = Models(msgspec.json.decode(self._files[provider].models, type=list[Entry]))
        return found

    def owner(self, spelling: str) -> str | None:
        """The provider that makes the models with such names, where the name alone tells."""
        for provider, clauses in self._owners:
            if any(clause(spelling) for clause in clauses):
                return provider
        return None

"""What a call cost: the rate sheet of a model, and the arithmetic of one call. Pure.

Owns the choice of a price (overrides first, then the provider's list, then the maker's) and the buckets of Langfuse's
``cost_details``. It must not touch spans, and it reads no file: its caller gives it the bytes of the table.

Memory: the table at most 4 MB when every provider is in use (price_table.py). Names come from outside, so both caches in
front of it are bounded: two generations of 256 names, at most 3.5 KB each (a name and seven spellings of 256 characters,
their tuple, a sheet): 2 * 2 * 256 * 3.5 KB = 3.5 MB at worst, 0.1 MB with the fifty names of a busy deployment.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec.structs import astuple

from sidecar.enrich.facts import Usage
from sidecar.enrich.models import ModelRules, Override, family_of
from sidecar.enrich.names import KNOWN_PROVIDERS, MAKERS, MAX_NAME, MAX_PROVIDER, PROVIDERS, SELF_HOSTED, ModelName, normalise
from sidecar.enrich.price_table import Entry, Price, PriceTable, Rates
from sidecar.enrich.recent import Recent

USAGE_KEYS = {
    "input": "input",
    "output": "output",
    "cache_read": "input_cached_tokens",
    "cache_write": "input_cache_creation",
    "cache_write_1h": "input_cache_creation_1h",
    "reasoning": "output_reasoning_tokens",
    "input_audio": "input_audio_tokens",
    "output_audio": "output_audio_tokens",
}
"""Fields of ``Usage``, in its order, and Langfuse's names for them, in ``usage_details`` and ``cost_details`` alike."""


class Reason(StrEnum):
    """Why a call has no price. A metric label."""

    NO_MODEL = "no_model"
    """The span names no model, or none that could be one."""
    UNKNOWN_MODEL = "unknown_model"
    AMBIGUOUS_MODEL = "ambiguous_model"
    """Several providers sell it at different prices, and the span does not say which one it was."""
    SELF_HOSTED = "self_hosted"
    """Ollama, vLLM and the like: nobody bills the tokens."""
    NOT_BY_TOKEN = "not_by_token"  # noqa: S105  (a metric label)
    """Known, but billed by image, second, seat or page."""
    NO_USAGE = "no_usage"
    """The span says no tokens."""
    NO_RATE = "no_rate"
    """The model has a price, but none for one of the buckets used (output of an embedding)."""


class Priced(msgspec.Struct, frozen=True, gc=False):
    """A call's cost."""

    cost_usd: float
    details: dict[str, float]
    """USD by Langfuse's usage key, for the buckets with tokens; ``request`` where requests are billed too. Their sum is ``cost_usd``."""
    rule: str
    """What was applied, for people: ``openai/o3 since=2025-06-10 tier=flex``, ``models[0]``."""
    table_date: str
    """ISO date of the price table."""


class Unpriced(NamedTuple):
    """A call without a cost."""

    reason: Reason


class ModelInfo(NamedTuple):
    """What is known of a model but its price."""

    provider: str | None
    """Who served it; where the span names nobody, or a client library's maker, the model's own maker."""
    model: str
    family: str | None
    context_window: int | None
    """Tokens."""
    display_name: str | None
    rule: str | None
    """Where the price comes from; None: there is none."""
    label: str | None = None
    """The model's plain name by the table or a rule of the operator, fit for metrics; None where only the span names it."""
    host: str | None = None
    """The provider, likewise."""


_FEMTO = 10**15
"""Femtodollars to the dollar: rates are whole femtodollars a token, so that sums are exact and their decimals short."""
_Effective: TypeAlias = "tuple[int | None, ...]"
"""Femtodollars per token of each bucket in the order of USAGE_KEYS, wider buckets filled in; then per request."""


class _Offer(NamedTuple):
    """A standard price, ready for use."""

    price: Price
    since: int
    """Ordinal of the first day; 0: ever."""
    base: _Effective
    above: tuple[tuple[int, _Effective], ...]
    """The longest context first."""
    rule: str


class _Sheet(NamedTuple):
    """Everything about one name."""

    info: ModelInfo
    unpriced: Unpriced | None
    offers: tuple[_Offer, ...] = ()
    """Standard prices; the first that holds wins, and the last always does."""
    special: tuple[Price, ...] = ()
    """Of service tiers; the first that holds wins."""


NAMES = 512
"""Names that are remembered, and sheets."""

_NS_PER_DAY, _NS_PER_MINUTE = 86_400 * 10**9, 60 * 10**9
_EPOCH = dt.date(1970, 1, 1).toordinal()
_TIERS = {each: each for each in ("batch", "flex", "priority", "fast")}
_LIST_PRICE_ANYWHERE = frozenset({"openai", "anthropic", "google", "x-ai"})
"""Makers whose closed models cost about the list price wherever they are sold."""
_OPEN_WEIGHTS = ("gpt-oss", "gemma")
"""Names that look like a closed model's, of models that everybody serves at his own price."""
_PLATFORMS = frozenset(PROVIDERS.values()) - MAKERS
_CATALOGUE = "openrouter"


class PriceBook:
    """Prices and metadata of models by name: the operator's rules, then the table."""

    def __init__(self, table: PriceTable, rules: ModelRules | None = None) -> None:
        self._table = table
        self._rules = rules or ModelRules()
        self._names: Recent[tuple[str | None, str | None], ModelName] = Recent(NAMES)
        self._sheets: Recent[ModelName, _Sheet] = Recent(NAMES)
        self.date = table.date
        self.version = table.version

    @classmethod
    def load(cls, content: bytes, rules: ModelRules | None = None) -> PriceBook:
        """A book of the bytes of prices.json. Takes below 10 ms. Raises msgspec.DecodeError or msgspec.ValidationError when they are something else."""
        return cls(PriceTable(content), rules)

    def name(self, model: str | None, provider: str | None = None) -> ModelName | None:
        """``names.normalise``, remembered."""
        if not model or len(model) > MAX_NAME or (provider is not None and len(provider) > MAX_PROVIDER):
            return normalise(model, None if provider is None else provider[: MAX_PROVIDER + 1])
        found = self._names.get((model, provider))
        if found is None:
            found = normalise(model, provider)
            if found is not None:
                self._names.put((model, provider), found)
        return found

    def info(self, name: ModelName) -> ModelInfo:
        """Provider, family, context window and where the price comes from."""
        return self._sheet(name).info

    def price(self, name: ModelName | None, usage: Usage | None, at_ns: int, service_tier: str | None = None) -> Priced | Unpriced:
        """What ``usage`` cost at a moment (Unix time). ``service_tier`` as the provider answered it: ``batch``, ``flex``, ``priority``, ``default``...

        The context length that chooses a tier is all input, cached or not, and the tier's rates hold for all tokens (Anthropic's,
        Google's and OpenAI's published rule). A bucket without a rate of its own costs what the wider one costs: reasoning as output,
        cached input as input. A service tier that the source has no rates for costs the standard ones, and the rule says so.
        """
        if name is None:
            return Unpriced(Reason.NO_MODEL)
        sheet = self._sheet(name)
        if sheet.unpriced is not None:
            return sheet.unpriced
        if usage is None:
            return Unpriced(Reason.NO_USAGE)
        rates, rule = _choose(sheet, usage, at_ns, service_tier)
        counts = astuple(usage)
        if not any(counts[2:]):  # nearly always
            counts = counts[:2]
        details: dict[str, float] = {}
        total = 0
        for key, count, rate in zip(_KEYS, counts, rates, strict=False):
            if count > 0:
                if rate is None:
                    return Unpriced(Reason.NO_RATE)
                cost = count * rate
                details[key] = cost / _FEMTO
                total += cost
        if not details:
            return Unpriced(Reason.NO_USAGE)
        per_request = rates[-1]
        if per_request is not None:
            details["request"] = per_request / _FEMTO
            total += per_request
        return Priced(total / _FEMTO, details, rule, self.date)

    def _sheet(self, name: ModelName) -> _Sheet:
        found = self._sheets.get(name)
        if found is None:
            found = self._build(name)
            self._sheets.put(name, found)
        return found

    def _build(self, name: ModelName) -> _Sheet:
        override = self._rules.find(name)
        rule = override.rule if override else None
        wanted = name
        if override is not None and override.target is not None:
            target = override.target
            wanted = target._replace(provider=target.provider or name.provider)
        info = ModelInfo(wanted.provider, wanted.model, family_of(wanted.model), None, None, None)
        prices: list[Price] = []
        missing: Reason | None = None
        found = self._find(wanted)
        if isinstance(found, Reason):
            missing = found
        else:
            seller, entry = found
            prices = entry.prices if any(not each.service_tier for each in entry.prices) else [_FREE] if entry.free else []
            missing = None if prices else Reason.NOT_BY_TOKEN
            provider = seller if self._is_client(wanted.provider, seller) else wanted.provider
            info = info._replace(
                provider=provider,
                context_window=entry.context_window,
                display_name=entry.name or None,
                rule=f"{seller}/{entry.id}" if prices else None,
                label=_plain(entry.id) if entry.match else None,  # without, the entry was made of what the span says
            )
        if override is not None and override.price is not None:
            prices, missing = [override.price], None
        if override is not None and rule is not None:
            info = _overridden(info, override, name)
        if info.provider in KNOWN_PROVIDERS:
            info = info._replace(host=info.provider)
        if missing is not None:
            return _Sheet(info, Unpriced(missing))
        return _sheet_of(info, prices)

    def _is_client(self, provider: str | None, seller: str) -> bool:
        """Whether a provider's name in a span is only the client library's: a maker's that does not sell the model of the maker found."""
        if seller not in MAKERS:
            return False
        return provider is None or (provider in MAKERS and seller not in self._table.resells.get(provider, ()))

    def _find(self, name: ModelName) -> tuple[str, Entry] | Reason:
        """Who sells the model at what price: its provider, those whose list the provider follows, its maker, a catalogue."""
        provider = name.provider
        if provider in SELF_HOSTED:
            return Reason.SELF_HOSTED
        listed = provider is not None and provider in self._table.resells
        if provider is not None and listed:
            for seller in (provider, *self._table.resells[provider]):
                found = self._listed(seller, name)
                if found is not None:
                    return seller, found
        owner = self._table.owner(name.model)
        is_platform = provider in _PLATFORMS or (listed and provider not in MAKERS)
        has_list_price = not name.model.startswith(_OPEN_WEIGHTS) and (owner in _LIST_PRICE_ANYWHERE or not is_platform)
        if owner is not None and owner != provider and has_list_price:
            found = self._listed(owner, name)
            if found is not None:
                return owner, found
        if name.model.endswith(":free") or name.spellings[0].endswith(":free"):
            return _CATALOGUE, Entry(id=name.spellings[0], match=[], free=True)
        return Reason.UNKNOWN_MODEL if is_platform else self._anywhere(name, any_seller=not listed)

    def _listed(self, seller: str, name: ModelName) -> Entry | None:
        models = self._table.models(seller)
        for spelling in name.spellings:
            found = models.find(spelling)
            if found is not None:
                return found
        return None

    def _anywhere(self, name: ModelName, any_seller: bool) -> tuple[str, Entry] | Reason:
        """The price where no provider is known: what the largest catalogue says of ``maker/model``, else the one that all sellers agree on."""
        for spelling in name.spellings:
            if "/" in spelling and (found := self._table.models(_CATALOGUE).exact(spelling)) is not None:
                return _CATALOGUE, found
        if not any_seller:
            return Reason.UNKNOWN_MODEL
        for spelling in name.spellings:
            sellers = list(self._sellers(spelling))
            if sellers:
                standard = {(each.prices[0].rates.input, each.prices[0].rates.output) if each.prices else None for _, each in sellers}
                maker = next((each for each in sellers if each[0] in MAKERS), sellers[0])
                return maker if len(standard) == 1 else Reason.AMBIGUOUS_MODEL
        return Reason.UNKNOWN_MODEL

    def _sellers(self, spelling: str) -> Iterator[tuple[str, Entry]]:
        for provider in self._table.providers:
            found = self._table.models(provider).exact(spelling)
            if found is not None:
                yield provider, found


_KEYS = tuple(USAGE_KEYS.values())
_FREE = Price(rates=Rates(input=0.0, output=0.0))


def _overridden(info: ModelInfo, override: Override, name: ModelName) -> ModelInfo:
    """The metadata with what the operator's rule says."""
    rule = override.rule
    source = override.path if override.price is not None or info.rule is None else f"{override.path} as {info.rule}"
    return info._replace(
        provider=rule.provider or name.provider or info.provider,
        family=rule.family or info.family,
        context_window=rule.context_window or info.context_window,
        rule=source if override.price is not None or info.rule is not None else None,
        label=info.label or override.label,
        host=rule.provider,
    )


def _plain(entry_id: str) -> str:
    """One name for a model, however its sellers spell it."""
    name = normalise(entry_id.removeprefix("regional."))
    return name.model if name is not None else entry_id


def _sheet_of(info: ModelInfo, prices: list[Price]) -> _Sheet:
    standard = [_offer(each, info.rule or "") for each in reversed(prices) if not each.service_tier]
    # The source's rule: where no condition holds, its first price does.
    offers = (*standard, standard[-1]._replace(since=0, price=Price(rates=standard[-1].price.rates, above=standard[-1].price.above)))
    return _Sheet(info, None, offers, tuple(each for each in prices if each.service_tier))


def _offer(price: Price, rule: str) -> _Offer:
    since = 0
    if price.since is not None:
        since = price.since.toordinal()
        rule += f" since={price.since}"
    if price.minutes is not None:
        rule += " at={:02}:{:02}-{:02}:{:02}Z".format(*divmod(price.minutes[0], 60), *divmod(price.minutes[1], 60))
    return _Offer(price, since, _effective(price.rates), tuple((start, _effective(rates)) for start, rates in reversed(price.above)), rule)


def _effective(rates: Rates) -> _Effective:
    """Every bucket's rate, the narrower ones without their own filled from the wider."""

    def first(*choices: float | None) -> int | None:
        return next((round(each * 10**9) for each in choices if each is not None), None)

    return (
        first(rates.input),
        first(rates.output),
        first(rates.cache_read, rates.input),
        first(rates.cache_write, rates.input),
        first(rates.cache_write_1h, rates.cache_write, rates.input),
        first(rates.reasoning, rates.output),
        first(rates.input_audio, rates.input),
        first(rates.output_audio, rates.output),
        None if rates.request is None else round(rates.request * _FEMTO) // 1000,
    )


def _choose(sheet: _Sheet, usage: Usage, at_ns: int, service_tier: str | None) -> tuple[_Effective, str]:
    """The rates of one call, and the rule in words."""
    offers = sheet.offers
    offer = offers[0]
    if offer.since or offer.price.minutes is not None:
        day, minute = at_ns // _NS_PER_DAY + _EPOCH, at_ns % _NS_PER_DAY // _NS_PER_MINUTE
        for each in offers:
            if day >= each.since and (each.price.minutes is None or each.price.holds(day, minute)):
                offer = each
                break
    rates, start, rule = offer.base, 0, offer.rule
    if offer.above:
        length = _length(usage)
        for above, long_rates in offer.above:
            if length > above:
                rates, start = long_rates, above
                break
    tier = _TIERS.get(service_tier.lower(), "") if service_tier else ""
    if tier:
        special = _special(sheet, offer, usage, at_ns, tier)
        if special is not None:
            rates, start = special
        rule += f" tier={tier}" if special is not None else f" tier={tier}:standard"
    return rates, f"{rule} above={start}" if start else rule


def _special(sheet: _Sheet, offer: _Offer, usage: Usage, at_ns: int, tier: str) -> tuple[_Effective, int] | None:
    """The rates of a service tier and the context length that made them apply; buckets it does not name keep the standard rate."""
    day, minute, length = at_ns // _NS_PER_DAY + _EPOCH, at_ns % _NS_PER_DAY // _NS_PER_MINUTE, _length(usage)
    for each in sheet.special:
        if each.service_tier == tier and each.holds(day, minute):
            (standard, start), (changed, special_start) = offer.price.at(length), each.at(length)
            named = {key: value for key, value in msgspec.structs.asdict(changed).items() if value is not None}
            return _effective(msgspec.structs.replace(standard, **named)), max(start, special_start)
    return None


def _length(usage: Usage) -> int:
    """The input of a request, cached or not, as providers measure it against a context length."""
    return usage.input + usage.cache_read + usage.cache_write + usage.cache_write_1h + usage.input_audio

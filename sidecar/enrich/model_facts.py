"""What is known of the model of a call: provider, family, context window, as attributes that Langfuse can filter by, and labels for metrics. Pure.

Owns the choice between the model that was asked for and the one that answered, the names of the attributes, and that no label is
text of a span. It must not know how names are read or who sells a model (prices.py does).

Memory: two generations of 256 models, at most 4 KB each (three strings of 256 characters, four bytes a character at
worst, and three attributes): 2 * 256 * 4 KB = 2 MB at worst, 50 KB with the fifty models of a busy deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from sidecar.enrich.agent_names import OTHER
from sidecar.enrich.edit import encode_all
from sidecar.enrich.facts import Facts
from sidecar.enrich.keys import METADATA
from sidecar.enrich.names import KNOWN_PROVIDERS, MAX_NAME, MAX_PROVIDER, provider_id
from sidecar.enrich.notes import UNKNOWN
from sidecar.enrich.prices import ModelInfo, PriceBook
from sidecar.wire.attributes import INT64_MAX, encode_int

PROVIDER = f"{METADATA}.model_provider"
FAMILY = f"{METADATA}.model_family"
CONTEXT_WINDOW = f"{METADATA}.model_context_window"
"""Tokens, an integer."""

GENERATION = 256
"""Models; the older of two generations is dropped when the younger is full."""


class Known(NamedTuple):
    """What is known of a call's model."""

    attributes: Mapping[str, bytes]
    """Serialized KeyValues by key; empty when nothing is known, or when the span names no model. Spans share the mapping: it is not to be changed."""
    label: str
    """For metrics: the plain name of a model of the price table or of a rule of the operator, else the family, else ``other``; ``unknown`` without a name."""
    provider: str
    """For metrics: a provider of a fixed list or of a rule of the operator, else ``other``; ``unknown`` without a name."""


_Key: TypeAlias = "tuple[str | None, str | None, str | None]"


class ModelFacts:
    """What is known by model and provider, encoded once."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._young: dict[_Key, Known] = {}
        self._old: dict[_Key, Known] = {}

    def known(self, facts: Facts) -> Known:
        """What is known of the model that a span names.

        The model that answered counts, unless only the one that was asked for is known: endpoints answer with ids of their
        own.
        """
        key = (facts.model_answered, facts.model_requested, facts.provider)
        found = self._young.get(key)
        return found if found is not None else self._look_up(key)

    def __len__(self) -> int:
        """Models remembered."""
        return len(self._young) + len(self._old)

    def _look_up(self, key: _Key) -> Known:
        answered, requested, provider = key
        found = self._old.get(key)
        if found is None:
            found = self._build(answered, requested, provider)
            if any(each is not None and len(each) > MAX_NAME for each in key):
                return found
        if len(self._young) >= GENERATION:
            self._old, self._young = self._young, {}
        self._young[key] = found
        return found

    def _build(self, answered: str | None, requested: str | None, provider: str | None) -> Known:
        seller = provider if provider is None or len(provider) <= MAX_PROVIDER else None
        named = answered or requested
        names = [self._book.name(each, seller) for each in (answered, requested) if each]
        infos = [self._book.info(each) for each in names if each is not None]
        if not infos:
            host = provider_id(seller)
            label = OTHER if host is not None else UNKNOWN
            attributes = _encoded(host, None, None) if named else _NOTHING
            return Known(attributes, OTHER if named else UNKNOWN, host if host in KNOWN_PROVIDERS else label)
        chosen = next((each for each in infos if _is_known(each)), infos[0])
        attributes = _encoded(chosen.provider, chosen.family, chosen.context_window)
        return Known(attributes, chosen.label or chosen.family or OTHER, chosen.host or (OTHER if chosen.provider else UNKNOWN))


_NOTHING: Mapping[str, bytes] = MappingProxyType({})


def _is_known(info: ModelInfo) -> bool:
    return info.family is not None or info.context_window is not None or info.rule is not None


def _encoded(provider: str | None, family: str | None, context_window: int | None) -> Mapping[str, bytes]:
    known = {PROVIDER: provider, FAMILY: family}
    encoded = encode_all({key: text for key, text in known.items() if text})
    # An operator's rule may say any number.
    if context_window is not None and context_window <= INT64_MAX:
        encoded[CONTEXT_WINDOW] = encode_int(CONTEXT_WINDOW, context_window)
    return MappingProxyType(encoded)

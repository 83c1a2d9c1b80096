"""The operator's own models: aliases of deployments, prices, context windows, families. And the families of known names. Pure.

Owns the shape of config/models.yaml, as a tree that somebody else has read, and the choice of the rule for a name.
It must not read files or know the price table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from sidecar.enrich.names import MAX_NAME, ModelName, normalise
from sidecar.enrich.price_table import Price, Rates
from sidecar.errors import ConfigError
from sidecar.ruletree import Glob, Globs, GlobSet, structs, texts, top

MAX_RULES = 1000
"""A rule costs about 0.2 us for a name that is met for the first time: 0.2 ms in all."""


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """Which names a rule is for; every glob is compared without regard to case."""

    model: Globs = "*"
    """The name as the span has it, or without decoration (``gpt-4o`` of ``azure/gpt-4o-2024-08-06``)."""
    provider: Globs = "*"
    """The provider's id (``azure``, ``aws``, ``openai``, ``ollama``, ...); ``""`` in the span only matches ``*``."""


class Tier(Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of all tokens of a request whose input is long; a bucket that is not named keeps its price."""

    above_tokens: Annotated[int, Meta(ge=1)]
    prices: Rates


class Rule(Struct, frozen=True, forbid_unknown_fields=True, rename={"alias": "as"}):
    """One entry of ``models``: the first whose match fits is used."""

    match: Globs | Match
    """A glob on the model's name, several, or ``{model, provider}``."""
    alias: Glob | None = None
    """Use the price, context window and family of this model: ``gpt-4o``, ``anthropic/claude-sonnet-4-5``."""
    provider: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] | None = None
    """Show this provider."""
    family: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """Show this family."""
    context_window: Annotated[int, Meta(ge=1)] | None = None
    """Tokens."""
    prices: Rates | None = None
    """Used instead of the table's. A bucket without a price costs what the wider one costs: cached and audio input as input, reasoning and audio output as output."""
    tiers: list[Tier] = []
    """Long-context prices; only with ``prices``."""


class Override:
    """A rule, ready for use. ``path`` names it in reports: ``models[3]``."""

    def __init__(self, path: str, rule: Rule) -> None:
        match = rule.match if isinstance(rule.match, Match) else Match(model=rule.match)
        self.path = path
        self.rule = rule
        self.target = normalise(rule.alias) if rule.alias else None
        self.price = _price(rule.prices, rule.tiers) if rule.prices is not None else None
        globs = texts(match.model)
        self.label = self.target.model if self.target else ", ".join(globs)[:MAX_NAME] if set(globs) != {"*"} else None
        """The model's name for metrics, from the file alone; None when the rule is for all models."""
        self._model = GlobSet(match.model)
        self._provider = GlobSet(match.provider)

    def fits(self, name: ModelName) -> bool:
        """Whether the rule is for this name."""
        return self._provider.fits(name.provider or "") and any(map(self._model.fits, (name.model, *name.spellings)))


class ModelRules:
    """The rules of config/models.yaml, in order."""

    def __init__(self, rules: Sequence[Override] = ()) -> None:
        self._rules = tuple(rules)

    def find(self, name: ModelName) -> Override | None:
        """The first rule for this name."""
        for each in self._rules:
            if each.fits(name):
                return each
        return None


def parse_models(tree: object) -> ModelRules:
    """The rules in what config/models.yaml holds; raises ConfigError with every problem, each with its path."""
    problems: list[str] = []
    rules = []
    for path, rule in structs(Rule, top(tree, "models", ("models",), problems), "models", MAX_RULES, problems):
        _check(rule, path, problems)
        rules.append((path, rule))
    if problems:
        raise ConfigError(problems)
    return ModelRules([Override(path, rule) for path, rule in rules])


def _check(rule: Rule, path: str, problems: list[str]) -> None:
    if rule.alias is not None and normalise(rule.alias) is None:
        problems.append(f"{path}.as: is not a model's name")
    if rule.tiers and rule.prices is None:
        problems.append(f"{path}.tiers: needs prices, which hold below the first tier")
    starts = [tier.above_tokens for tier in rule.tiers]
    if starts != sorted(set(starts)):
        problems.append(f"{path}.tiers: above_tokens must rise from tier to tier")
    if rule == Rule(match=rule.match):
        problems.append(f"{path}: does nothing; give at least one of as, provider, family, context_window, prices")


def _price(rates: Rates, tiers: Sequence[Tier]) -> Price:
    above: list[tuple[int, Rates]] = []
    for tier in tiers:
        changed = {key: value for key, value in msgspec.structs.asdict(tier.prices).items() if value is not None}
        above.append((tier.above_tokens, msgspec.structs.replace(above[-1][1] if above else rates, **changed)))
    return Price(rates=rates, above=above)


_FAMILIES = {
    "o-series": r"o[1-9]\d?(?:$|-)|codex-mini|computer-use",
    "gpt": r"(?:chat)?gpt-",
    "claude": r"claude",
    "gemini": r"gemini-",
    "gemma": r"(?:code|pali|shield)?gemma",
    "llama": r"(?:meta-|code)?llama",
    "mistral": r"(?:open-)?(?:mi|mini|code|dev|magi)stral|(?:open-)?mixtral|pixtral|voxtral",
    "deepseek": r"deepseek",
    "grok": r"grok",
    "command": r"command|c4ai-",
    "nova": r"nova-",
    "titan": r"titan-",
    "qwen": r"qwen|qwq|qvq",
    "kimi": r"kimi|moonshot",
    "glm": r"(?:chat)?glm",
    "phi": r"phi-?\d",
    "sonar": r"sonar",
    "minimax": r"minimax|abab",
    "granite": r"granite",
    "jamba": r"jamba",
    "nemotron": r"nemotron",
    "palmyra": r"palmyra",
    "embedding": r"text-embedding|voyage|embed|rerank|bge-|e5-|nomic-embed|mxbai|codestral-embed|mistral-embed|gemini-embedding|titan-embed",
    "whisper": r"whisper|distil-whisper",
    "tts": r"tts-",
    "image": r"dall-e|imagen|stable-diffusion|flux",
}
_FAMILY = re.compile("|".join(f"(?P<f{position}>{pattern})" for position, pattern in enumerate(_FAMILIES.values())))
_EMBEDDING = re.compile(_FAMILIES["embedding"])


def family_of(model: str) -> str | None:
    """The family of a plain name (``ModelName.model``), of a fixed set; None for names that none of them claims."""
    if _EMBEDDING.match(model):
        return "embedding"
    found = _FAMILY.match(model)
    return None if found is None or found.lastgroup is None else list(_FAMILIES)[int(found.lastgroup[1:])]

"""The parts of enrichment, built from the settings and their rule files, and exchanged when a file changes.

Owns which file feeds which part. It must not know what a rule means.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from importlib import resources

import yaml

from sidecar.config import Enrichment as Settings
from sidecar.enrich.agent_labels import AgentLabels
from sidecar.enrich.agents import AgentBook, AgentRules, parse_agents
from sidecar.enrich.completer import Completer
from sidecar.enrich.enricher import Enricher
from sidecar.enrich.limits import Limits
from sidecar.enrich.models import ModelRules, parse_models
from sidecar.enrich.orchestration import Rules, parse_orchestration
from sidecar.enrich.place import Place
from sidecar.enrich.prices import PriceBook
from sidecar.observe.metrics import Metrics
from sidecar.receive.agent_metrics import AgentMetrics
from sidecar.receive.pipeline import Enrichment
from sidecar.rulefiles import RuleFile
from sidecar.trace.live import LiveTraces

KIB, MIB = 1024, 1024 * 1024
LIVE_TRACES_BYTES = 16 * MIB
"""About 50,000 spans of live traces at 300 bytes each: six seconds at 8,000 spans a second."""


class EnrichmentRules:
    """The rule files of enrichment. They must be loaded before anything is built of them."""

    def __init__(self, settings: Settings, env: Mapping[str, str]) -> None:
        builtin = yaml.safe_load(_packaged("orchestration.yaml"))
        self.agents: RuleFile[AgentRules] = RuleFile("enrichment.agents", settings.agents, parse_agents, env)
        self.models: RuleFile[ModelRules] = RuleFile("enrichment.models", settings.models, parse_models, env)
        self.signals: RuleFile[Rules] = RuleFile("enrichment.rules", settings.rules, partial(parse_orchestration, builtin=builtin), env)

    @property
    def files(self) -> tuple[RuleFile[object], ...]:
        return (self.agents, self.models, self.signals)

    def price_book(self) -> PriceBook:
        """The built-in table under the operator's own prices."""
        return PriceBook.load(_packaged("prices.json"), self.models.value)

    def renew(self, enrichment: Enrichment, changed: RuleFile[object]) -> None:
        """Let enrichment use what a changed file says now."""
        enricher = enrichment.enricher
        if changed is self.agents:
            enricher.use_agents(AgentBook(self.agents.value, enricher.agents.names))
            enrichment.agents.use_budgets(self.agents.value)
        elif changed is self.models:
            enricher.use_prices(self.price_book())
        elif changed is self.signals:
            enricher.use_rules(self.signals.value)


def new_enrichment(
    settings: Settings, rules: EnrichmentRules, metrics: Metrics, log: logging.Logger, agents: AgentMetrics | None = None
) -> Enrichment:
    """Every part of enrichment; ``rules`` have been loaded."""
    llm_only = settings.spans == "llm"
    place = Place(settings.resource, settings.environment, settings.release)
    live = LiveTraces(LIVE_TRACES_BYTES)
    book = AgentBook(rules.agents.value)
    return Enrichment(
        Enricher(rules.price_book(), book, rules.signals.value, place, live=live, llm_only=llm_only),
        Completer(live, settle_ms=round(settings.settle_s * 1000), llm_only=llm_only, labels=AgentLabels(book.names)),
        Limits(int(settings.max_value_kib * KIB), int(settings.max_span_kib * KIB)),
        AgentMetrics() if agents is None else agents,
        metrics,
        log,
    )


def _packaged(name: str) -> bytes:
    return resources.files("sidecar.enrich").joinpath(name).read_bytes()

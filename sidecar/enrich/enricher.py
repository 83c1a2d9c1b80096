"""The enrichment of a batch: every span read, priced and shaped for Langfuse. Pure.

Owns the order of the steps over a request: facts of every span, then what only neighbours show (the same call seen
twice), then what others know of it (price, agent, model, signals), then the shape. It must not know dialects or prices themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Protocol

from sidecar.enrich.agent_names import OTHER
from sidecar.enrich.agents import NAME, Agent, AgentBook, drift_attributes, tidied
from sidecar.enrich.budgets import ModelBudgets
from sidecar.enrich.dialects import Plans, read_facts
from sidecar.enrich.dialects.doubles import Seen, mark_doubles
from sidecar.enrich.dialects.openllmetry import name_runs
from sidecar.enrich.earlier import call_of, count_lone_agents, mark_earlier
from sidecar.enrich.edit import encode_all, encode_text
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.keys import SPEAKING
from sidecar.enrich.measures import measure_of
from sidecar.enrich.model_facts import Known, ModelFacts
from sidecar.enrich.notes import UNKNOWN, Finding, Note
from sidecar.enrich.orchestration import Rules, Signal, parse_orchestration, read_signals, signal_attributes
from sidecar.enrich.place import Place
from sidecar.enrich.prices import PriceBook, Priced, Reason, Unpriced
from sidecar.enrich.said import AGENT_PREFIX, BEGINNINGS, agent_places
from sidecar.enrich.sdk_metadata import resource_attributes
from sidecar.enrich.shape import Extra, shape
from sidecar.enrich.view import SpanView
from sidecar.trace.live import LiveTraces
from sidecar.wire.attributes import KEY, AttributeMemo, decode, delimited, find
from sidecar.wire.batch import SpanBatch
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest, ResourceSpans, Span

_AGENT_NAME = delimited(KEY, NAME.encode())
MAX_FAILURES = 8
"""Errors kept until they are taken away; more are counted only."""
NOWHERE = Place({}, "", "")
_SERVER, _CONSUMER = 2, 5
_IS_REMOTE = 0x200
"""Bit of a span's flags: its parent lies in another process (OTLP, SpanFlags)."""
_INFRA = Kind.INFRA
_CALLS = frozenset({Kind.GENERATION, Kind.EMBEDDING})
_NO_MODEL = Unpriced(Reason.NO_MODEL)


class Find(Protocol):
    """Whoever judges spans, by what they say before masking."""

    def __call__(self, view: SpanView, facts: Facts, agent: str | None, service: str | None, cost_usd: float, label: str, /) -> Finding:
        """``cost_usd`` is what the price table says of a call whose provider says nothing; ``label`` is the agent as a label of metrics."""


class _Around:
    """What the spans of one resource share."""

    __slots__ = ("attributes", "service")

    def __init__(self, resource_spans: ResourceSpans) -> None:
        service = find(resource_spans.resource.attributes, b"service.name")
        self.service = service if isinstance(service, str) else None
        self.attributes = encode_all(resource_attributes(resource_spans.resource))


class Enricher:
    """A stage. It keeps what makes the next span cheaper (values seen, shapes of spans seen, prices, agents) and nothing of a trace.

    ``live`` is asked what earlier requests showed of a trace's calls, and learns which answers counted; the rest is written by whoever
    completes the notes.

    Memory, at most: the memo 4,096 short attributes and 1,024 keys, about 3 MB; plans, prices, agents and signals as their modules say.
    """

    def __init__(
        self,
        book: PriceBook,
        agents: AgentBook | None = None,
        rules: Rules | None = None,
        place: Place = NOWHERE,
        *,
        live: LiveTraces | None = None,
        llm_only: bool = False,
    ) -> None:
        self._memo = AttributeMemo()
        self._plans = Plans()
        self._place = place
        self.live = live
        self._llm_only = llm_only
        self.unpriced: Counter[Reason] = Counter()
        """Calls without a price, by reason, since they were last taken away."""
        self.drifts: Counter[str] = Counter()
        """Calls of another model than the agent is expected to use, by agent (a bounded label), likewise."""
        self.media = 0
        """Binary data that became descriptors, likewise."""
        self.failures = 0
        """Spans that could not be enriched, since the start."""
        self._failures: list[Exception] = []
        self.use_prices(book)
        self.use_agents(AgentBook() if agents is None else agents)  # a new book is empty, and so false
        self.use_rules(parse_orchestration({}) if rules is None else rules)
        self.use_find(None)

    def use_prices(self, book: PriceBook) -> None:
        """Price and describe models by ``book`` from now on."""
        self._book = book
        self._models = ModelFacts(book)

    def use_agents(self, agents: AgentBook) -> None:
        """Tell agents by ``agents`` from now on."""
        self.agents = agents
        self._model_budgets = ModelBudgets(agents.model_budgets)

    def use_rules(self, rules: Rules) -> None:
        """Find signals by ``rules`` from now on."""
        self._rules = rules

    def use_find(self, find: Find | None) -> None:
        """Let spans be judged by ``find`` from now on; None: nobody chooses."""
        self._find = find

    def take_failures(self) -> list[Exception]:
        """The errors since the last call, at most ``MAX_FAILURES``. They may quote payloads."""
        failures, self._failures = self._failures, []
        return failures

    def __call__(self, batch: SpanBatch) -> list[Note]:
        """Change the batch's spans in place; with ``llm_only`` infrastructure spans are taken out and counted in the batch.

        One note a span, those taken out included. A span that can't be enriched passes as it is.
        """
        request = batch.request
        seen = self.read(request)
        relate(seen, self.live)
        rooted = {view.trace_id for view, _ in seen if view.is_root}
        following = iter(seen)
        notes: list[Note] = []
        for resource_spans in request.resource_spans:
            around = _Around(resource_spans)
            count = sum(len(scope_spans.spans) for scope_spans in resource_spans.scope_spans)
            notes += [self._enrich(view.span, around, view, facts, rooted) for view, facts in islice(following, count)]
        if self._llm_only:
            _take_out(batch, notes)
        return notes

    def read(self, request: ExportTraceServiceRequest) -> list[Seen]:
        """What every span says, taken alone, in the request's order; the resources are completed by the enricher's place."""
        seen: list[Seen] = []
        for resource_spans in request.resource_spans:
            self._place.write(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    view = SpanView(span, scope_spans.scope, resource_spans.resource, self._memo)
                    seen.append((view, self._facts(view)))
        return seen

    def price(self, view: SpanView, facts: Facts) -> Priced | Unpriced | None:
        """What a call costs by the table, or why nobody knows; None for what is no call or has its provider's own cost."""
        if not facts.is_call or facts.cost_usd is not None:
            return None
        found: Priced | Unpriced = _NO_MODEL
        for model in (facts.model_answered, facts.model_requested):
            if model is not None:
                found = self._book.price(self._book.name(model, facts.provider), facts.usage, view.start_ns, facts.service_tier)
                if not isinstance(found, Unpriced):
                    break
        return found

    def _facts(self, view: SpanView) -> Facts:
        try:
            return read_facts(view, self._plans)
        except Exception as error:  # noqa: BLE001  (a span that no rule foresaw must not cost its neighbours, nor itself)
            self._failed(error)
            return Facts("")

    def _enrich(self, span: Span, around: _Around, view: SpanView, facts: Facts, rooted: AbstractSet[bytes]) -> Note:
        kind = facts.kind
        if self._llm_only and kind is _INFRA:
            return Note(span, kind, kept=False)
        try:
            agent = self._agent(span, around, view, facts)
            call = call_of(view, facts) if facts.is_call and self.live is not None and view.trace_id not in rooted else None
            model, signals = self._models.known(facts), read_signals(view, facts, self._rules)
            cost = self.price(view, facts)
            if isinstance(cost, Unpriced):
                self.unpriced[cost.reason] += 1
                cost = None
            finding = self._finding(around.service, view, facts, agent, cost)
            edit = shape(span, view, facts, Extra(cost, self._known(around, facts, agent, model, signals)))
            budgets = self._model_budgets.of(facts.model_answered, facts.model_requested)
            measure = measure_of(span, facts, model, None if cost is None else cost.cost_usd, signals, budgets)
        except Exception as error:  # noqa: BLE001  (as above; what was written until then is right)
            self._failed(error)
            return Note(span, kind, BEGINNINGS)
        self.media += edit.media
        lacks_content = kind in _CALLS and facts.input is None and facts.output is None
        speaks_by, speaks_at = edit.traits.speaks_by, edit.traits.speaks_at
        if agent is not None:
            speaks_by, speaks_at = (*speaks_by, AGENT_PREFIX), speaks_at + agent_places(len(agent.attributes))
        if edit.adds_any(SPEAKING):
            speaks_by, speaks_at = (*speaks_by, *(key.encode() for key in edit.added if key in SPEAKING)), ()
        if agent is None:
            return Note(span, kind, speaks_by, speaks_at, (), lacks_content, measure=measure, finding=finding, call=call)
        budget = agent.label if agent.budget is not None else ""
        return Note(span, kind, speaks_by, speaks_at, agent.tags, lacks_content, agent.is_raw, measure, budget, finding=finding, call=call)

    def _finding(self, service: str | None, view: SpanView, facts: Facts, agent: Agent | None, priced: Priced | None) -> Finding | None:
        if self._find is None:
            return None
        cost_usd = 0.0 if priced is None else priced.cost_usd
        if agent is None:
            return self._find(view, facts, None, service, cost_usd, UNKNOWN)
        label = UNKNOWN if agent.label == OTHER else self.agents.tracked(agent.label)
        return self._find(view, facts, agent.name, service, cost_usd, label)

    def _agent(self, span: Span, around: _Around, view: SpanView, facts: Facts) -> Agent | None:
        """The agent that a span names. A rule by service or scope alone counts where a process's part of a trace begins: what is below inherits."""
        name, agent_id = facts.agent_name, facts.agent_id
        if name is None and agent_id is None:
            begins = not span.parent_span_id or span.kind in (_SERVER, _CONSUMER) or span.flags & _IS_REMOTE
            if not begins:
                return None
        return self.agents.resolve(name, agent_id, facts.agent_version, around.service, view.scope_name)

    def _known(
        self, around: _Around, facts: Facts, agent: Agent | None, model: Known, signals: tuple[Signal, ...]
    ) -> tuple[Mapping[str, bytes], ...]:
        """Attributes for a span, from all who know something of it."""
        known = [model.attributes]
        expected = agent.expected if agent is not None else None
        if agent is not None and expected is not None and facts.is_call and self.agents.drifts(agent, (facts.model_answered, facts.model_requested)):
            self.drifts[self.agents.tracked(agent.label)] += 1
            known.append(drift_attributes(expected, facts.model_answered or facts.model_requested or ""))
        if signals:
            known.append(signal_attributes(signals))
        if around.attributes:
            known.append(around.attributes)
        if agent is not None:
            known.append(agent.attributes)  # the last, where the completer looks for them
        return tuple(known)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if len(self._failures) < MAX_FAILURES:
            self._failures.append(error)


def relate(seen: Sequence[Seen], live: LiveTraces | None = None) -> None:
    """Add to the facts of one request's spans what only their neighbours show, those of earlier requests included."""
    mark_doubles(seen)
    if live is not None:
        mark_earlier(seen, live)
    count_lone_agents(seen, live)
    name_runs(seen)


def tidy_names(notes: Iterable[Note]) -> None:
    """After masking: take ids and counters off the names of agents."""
    for note in notes:
        if not note.is_raw:
            continue
        attributes = note.span.attributes
        for index, raw in enumerate(attributes):
            if raw.startswith(_AGENT_NAME):
                name = decode(raw)[1]
                if isinstance(name, str):
                    attributes[index] = encode_text(NAME, tidied(name))


def _take_out(batch: SpanBatch, notes: list[Note]) -> None:
    """Remove the spans that are not kept; ``notes`` are in the batch's order."""
    left_out = [note.kept for note in notes].count(False)
    if not left_out:
        return
    position = 0
    for resource_spans in batch.request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            count = len(scope_spans.spans)
            for index in range(count - 1, -1, -1):
                if not notes[position + index].kept:
                    del scope_spans.spans[index]
            position += count
    batch.filtered += left_out

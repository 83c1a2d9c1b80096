"""The enrichment of a batch: every span read, priced and shaped for Langfuse. Pure.

Owns the order of the steps over a request: facts of every span, then what only neighbours show (the same call seen
twice), then prices, then the shape. It must not know dialects or prices themselves.
"""

from __future__ import annotations

from collections import Counter

from sidecar.enrich.dialects import Plans, read_facts
from sidecar.enrich.dialects.doubles import mark_doubles
from sidecar.enrich.facts import Facts
from sidecar.enrich.prices import PriceBook, Priced, Reason, Unpriced
from sidecar.enrich.shape import Extra, shape
from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import AttributeMemo
from sidecar.wire.batch import SpanBatch
from sidecar.wire.shallow_pb2 import Span

Seen = tuple[SpanView, Facts]


class Enricher:
    """A stage. It keeps what makes the next span cheaper (values seen, shapes of spans seen, prices) and nothing of a trace.

    Memory, at most: the memo 2 x 4,096 short attributes, about 3 MB; plans and price caches as their modules say.
    """

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._memo = AttributeMemo()
        self._plans = Plans()
        self.unpriced: Counter[Reason] = Counter()
        """Calls without a price, by reason, since the start."""

    def __call__(self, batch: SpanBatch) -> SpanBatch:
        """Change the batch's spans in place; none is added or left out."""
        spans: list[Span] = []
        seen: list[Seen] = []
        for resource_spans in batch.request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    view = SpanView(span, scope_spans.scope, resource_spans.resource, self._memo)
                    spans.append(span)
                    seen.append((view, read_facts(view, self._plans)))
        mark_doubles(seen)
        for span, (view, facts) in zip(spans, seen, strict=True):
            shape(span, view, facts, Extra(self._price(view, facts)))
        return batch

    def _price(self, view: SpanView, facts: Facts) -> Priced | None:
        """What a call cost by the table; None for what is no call, has its provider's own cost, or has no price."""
        if not facts.is_call or facts.cost_usd is not None:
            return None
        reason = Reason.NO_MODEL
        for model in (facts.model_answered, facts.model_requested):
            if model is None:
                continue
            found = self._book.price(self._book.name(model, facts.provider), facts.usage, view.start_ns, facts.service_tier)
            if not isinstance(found, Unpriced):
                return found
            reason = found.reason
        self.unpriced[reason] += 1
        return None

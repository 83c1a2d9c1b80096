"""What happens to spans between decoding and rows, and again when a row is sealed.

    media -> enrich -> mask -> complete -> cut

Owns that order: masking comes after everything that adds text of a span's own, before anything is copied to other spans,
and before cutting, because half a secret no longer looks like one. It must not know transports or SQLite.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from sidecar.buffer.records import Omit
from sidecar.enrich.completer import Completed, Completer, Counted
from sidecar.enrich.enricher import Enricher, tidy_names
from sidecar.enrich.limits import Limits, cut_span
from sidecar.enrich.log_content import LogContent, content_carriers, from_carriers, log_content, may_hold_content
from sidecar.enrich.media import describe_media, may_hold
from sidecar.enrich.notes import Note
from sidecar.observe.logs import error_text, stack
from sidecar.observe.metrics import Metrics
from sidecar.receive.agent_metrics import AgentMetrics
from sidecar.sample.decision import IS_DEGRADED, mark_raised
from sidecar.wire.batch import SpanBatch
from sidecar.wire.encoding import Encoding
from sidecar.wire.logs import decode_logs
from sidecar.wire.rows import NewRow
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest, Span
from sidecar.wire.split import compress, decompress

Mask = Callable[[SpanBatch], Iterable[None]]
"""Masks a batch in place, or raises. It yields whenever others may have their turn, and is run to its end."""

LOGS_INLINE_BYTES = 256 * 1024
"""Larger log requests are decoded on a thread: 8 ms a MiB would hold up the loop."""


class Processed(NamedTuple):
    """What is known of a batch's spans and traces after the last step."""

    completed: Completed
    notes: Sequence[Note] = ()
    """In the batch's order; those of spans that were taken out included. Empty without enrichment."""


class Enrichment:
    """The parts of enrichment, wired together: what happens before masking, after it, and when a row is sealed."""

    def __init__(self, enricher: Enricher, completer: Completer, limits: Limits, agents: AgentMetrics, metrics: Metrics, log: logging.Logger) -> None:
        self.enricher = enricher
        self.completer = completer
        self.limits = limits
        self.agents = agents
        self._metrics = metrics
        self._log = log
        self._harder: Limits | None = None
        self._reported: set[str] = set()

    def cut_harder(self, max_value_bytes: int | None) -> None:
        """Cut longer values than this until told otherwise, and say so on their spans; None: only what is over the settings' limits."""
        if max_value_bytes is None or max_value_bytes >= self.limits.max_value_bytes:
            self._harder = None
        else:
            self._harder = replace(self.limits, max_value_bytes=max_value_bytes)

    def begin(self, batch: SpanBatch, body: bytes) -> list[Note]:
        """Before masking: write what each span of the batch, decoded from ``body``, says itself."""
        if may_hold(body):
            for span in spans_of(batch.request):
                media = describe_media(span)
                if media.items:
                    self._metrics.enrich_media.inc(media.items)
        return self.enricher(batch)

    def finish(self, notes: Sequence[Note], now_ms: int) -> Completed:
        """After masking: write what the spans' traces say, cut, and tell what their rows must know."""
        tidy_names(notes)
        done = self.completer.complete(notes, now_ms)
        self._cut([note.span for note in notes if note.kept])
        self._publish()
        return done

    def take_contents(self, contents: Iterable[LogContent], now_ms: int) -> None:
        """Keep masked messages for their spans."""
        self.completer.take_contents(contents, now_ms)
        self._publish()

    def seal(self, row: NewRow) -> NewRow | Omit | None:
        """The row, whose time is over, with what its trace brought since it came; None when that is nothing."""
        return self._seal(row, leave_out=self.completer.without_llm(row.trace_id))

    def seal_early(self, row: NewRow) -> NewRow | Omit | None:
        """As ``seal``, before the row's time is over: it is left out only if its trace has ended, because LLM work may still come, after a restart."""
        return self._seal(row, leave_out=self.completer.without_llm(row.trace_id, if_ended=True))

    def _seal(self, row: NewRow, *, leave_out: bool) -> NewRow | Omit | None:
        request = ExportTraceServiceRequest.FromString(decompress(row.body))
        spans = list(spans_of(request))
        if leave_out:
            self.completer.leave_out(row.trace_id, spans)
            self._publish()
            return Omit.OMIT
        changed = self.completer.complete_row(row.trace_id, spans)
        self._publish()
        if row.threshold:
            changed |= mark_raised(spans, row.threshold)
        if not changed:
            return None
        self._cut(spans)
        payload = request.SerializeToString()
        return replace(row, body=compress(payload), raw_bytes=len(payload), seal_at_ms=None)

    def _cut(self, spans: Sequence[Span]) -> None:
        limits = self._harder or self.limits
        for span in spans:
            cut = cut_span(span, limits)
            if cut.values or cut.dropped:
                if self._harder is not None:
                    span.attributes.append(IS_DEGRADED)
                    self._metrics.sampling_degraded_spans.inc()
                self._metrics.enrich_cut_values.inc(cut.values + cut.dropped)
                self._metrics.enrich_cut_bytes.inc(cut.bytes)

    def _publish(self) -> None:
        """Move what the pure parts counted to the metrics, and say a new kind of failure once."""
        enricher, outcomes = self.enricher, self.completer.outcomes
        if enricher.unpriced:
            for reason, calls in enricher.unpriced.items():
                self._metrics.enrich_unpriced.labels(reason.value).inc(calls)
            enricher.unpriced.clear()
        if enricher.media:
            self._metrics.enrich_media.inc(enricher.media)
            enricher.media = 0
        if enricher.drifts:
            for agent, calls in enricher.drifts.items():
                self._metrics.enrich_model_drift.labels(agent).inc(calls)
            enricher.drifts.clear()
        if outcomes:
            for outcome, spans in outcomes.items():
                self._metrics.enrich_spans.labels(outcome.value).inc(spans)
            outcomes.clear()
        messages = self.completer.messages
        if messages:
            for fate, count in messages.items():
                self._metrics.enrich_log_messages.labels(fate.value).inc(count)
            messages.clear()
        if self.completer.counted:
            self.agents.count(self.completer.counted)
            self.completer.counted.clear()
        for error in enricher.take_failures():
            self._metrics.enrich_failures.inc()
            if (kind := error_text(error)) not in self._reported and len(self._reported) < 64:
                self._reported.add(kind)
                self._log.error("a span could not be enriched and passes as it is", extra={"error": kind, "stack": stack(error)})


class Pipeline:
    """The order of the steps. Without ``enrichment`` spans are masked and nothing else."""

    def __init__(self, mask: Mask, enrichment: Enrichment | None) -> None:
        self._mask = mask
        self._enrichment = enrichment

    async def process(self, batch: SpanBatch, body: bytes, now_ms: int) -> Processed:
        """Change the batch, decoded from ``body``, in place; what its rows must know comes back. Raises what masking raises."""
        if self._enrichment is None:
            await self._masked(batch)
            return Processed(Completed())
        notes = self._enrichment.begin(batch, body)
        await self._masked(batch)
        return Processed(self._enrichment.finish(notes, now_ms), notes)

    def count(self, counted: Iterable[Counted]) -> None:
        """Count for the agents' metrics what processing gave: its spans are committed."""
        if self._enrichment is not None:
            self._enrichment.agents.count(counted)

    async def take_logs(self, body: bytes, encoding: Encoding, now_ms: int) -> None:
        """Keep the message content of a log request, masked, for its spans. Raises MalformedPayload, and what masking raises."""
        if self._enrichment is None or not may_hold_content(body):
            return
        if len(body) > LOGS_INLINE_BYTES:
            contents = await asyncio.to_thread(_contents, body, encoding)
        else:
            contents = _contents(body, encoding)
        if contents:
            carriers = content_carriers(contents)
            await self._masked(carriers)
            self._enrichment.take_contents(from_carriers(carriers), now_ms)

    async def _masked(self, batch: SpanBatch) -> None:
        for _ in self._mask(batch):
            await asyncio.sleep(0)


def _contents(body: bytes, encoding: Encoding) -> list[LogContent]:
    return log_content(decode_logs(body, encoding))


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """Every span of a request, in order."""
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            yield from scope_spans.spans

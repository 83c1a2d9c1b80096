"""The one receive path for every protocol: from the bytes of a body to the commit that acknowledges them.

    decode -> mend -> [discard] -> process (enrich, mask, complete: see pipeline.py) -> sample -> rows -> commit -> answer

Owns the order of these steps, the repeats and the accounting of a request. It must not know HTTP or gRPC, and
nothing that it logs or raises holds payload values.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from sidecar.buffer.leases import Append
from sidecar.clock import Clock
from sidecar.enrich.completer import Counted
from sidecar.errors import IntakeError, MalformedPayload, Overloaded, Unexpected
from sidecar.observe.logs import error_text, stack
from sidecar.observe.metrics import Metrics
from sidecar.receive.meter import Meter, Signal, Transport
from sidecar.receive.pieces import PIECE_BYTES, split_request
from sidecar.receive.pipeline import Processed
from sidecar.receive.repeats import Repeats, fingerprint
from sidecar.receive.sampling import Draft, Sampler
from sidecar.wire.batch import MAX_PROBLEMS, SpanBatch, decode_protobuf
from sidecar.wire.encoding import Encoding
from sidecar.wire.mend import mend
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.rows import NewRow
from sidecar.wire.shallow_pb2 import ResourceSpans
from sidecar.wire.split import row_of, slices

DUPLICATE = "duplicate"
"""Reason of the spans of a repeated body: they are kept already."""
JSON_INLINE_BYTES = 256 * 1024
"""Larger JSON is decoded on a thread: 25 ms a MiB would hold up the loop."""
REPORT_EVERY_S = 60.0
"""The same unexpected error is logged once in this time, and counted always."""
BUFFER_RETRY_S = 5.0
"""What a client is told to wait when the buffer itself failed."""


class Process(Protocol):
    """What happens to a batch between mending and rows."""

    async def process(self, batch: SpanBatch, body: bytes, now_ms: int) -> Processed:
        """Change the batch, decoded from ``body``, in place. A span that it takes out is counted in ``SpanBatch``; one that vanishes otherwise is an error."""

    def count(self, counted: Iterable[Counted]) -> None:
        """Count for the agents' metrics what processing gave, once its spans are committed."""

    async def take_logs(self, body: bytes, encoding: Encoding, now_ms: int) -> None:
        """Keep what a log request holds of spans' content."""


class Appender(Protocol):
    """The buffer, as the intake sees it."""

    async def append(self, append: Append) -> None:
        """Return after the commit; raises BufferFull."""

    def hasten(self, trace_ids: Collection[bytes]) -> None:
        """Seal the settling rows of these traces soon."""


class Route(Protocol):
    """Where spans go."""

    def destination_of(self, public_key: str | None) -> str | Callable[[ResourceSpans], str]:
        """The destination of each resource of a request that names this public key."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One request of spans: its body after decompression."""

    body: bytes
    encoding: Encoding
    transport: Transport
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the client is told: spans rejected one by one, and why (``partial_success``)."""

    rejected: int = 0
    message: str = ""


@dataclass(slots=True)
class Tally:
    """The account of one request while it is processed."""

    received: int = 0
    filtered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    mends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    rows: list[NewRow] = field(default_factory=list)

    def add(self, batch: SpanBatch) -> None:
        """Count what mending and the stages did to a batch."""
        self.received += batch.span_count
        if batch.rejected:
            self.rejected.update(batch.rejected)
            self.problems = [*self.problems, *batch.problems][:MAX_PROBLEMS]
        if batch.mends:
            self.mends.update(batch.mends)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered of a committed request: its spans and its answer."""

    spans: int
    accepted: Accepted


NOTHING_REJECTED = Accepted()


class Intake:
    """Takes the bodies of all transports."""

    def __init__(
        self,
        buffer: Appender,
        route: Route,
        process: Process,
        clock: Clock,
        metrics: Metrics,
        log: logging.Logger,
        *,
        sampler: Sampler | None = None,
        discard: bool = False,
    ) -> None:
        self._buffer = buffer
        self._route = route
        self._pipeline = process
        self._clock = clock
        self._log = log
        self._sampler = sampler
        self._discard = discard
        self._repeats: Repeats[Kept] = Repeats(clock)
        self._meters: Mapping[str, Meter] = {"http": Meter(metrics, "http"), "grpc": Meter(metrics, "grpc")}
        self._reported: dict[type[Exception], float] = {}

    def meter(self, transport: Transport) -> Meter:
        """The counters of a transport."""
        return self._meters[transport]

    def discard(self, signal: Signal, transport: Transport, body_bytes: int) -> None:
        """Take a request of metrics, or of logs that can't be read: it is counted and nothing of it is kept or passed on."""
        self._meters[transport].discarded(signal, body_bytes)

    async def submit_logs(self, payload: Payload) -> None:
        """Take a request of logs: message content in it joins its spans, the rest is counted and dropped. Never an error: agents turn all signals on."""
        self._meters[payload.transport].discarded(Signal.LOGS, len(payload.body))
        if self._discard:
            return
        try:
            await self._pipeline.take_logs(payload.body, payload.encoding, self._clock.wall_ms())
        except MalformedPayload:
            self._log.debug("a request of logs could not be read and was dropped")
        except Exception as error:  # noqa: BLE001  (as for spans; logs are optional)
            self._report(error)

    async def submit(self, payload: Payload) -> Accepted:
        """Keep the spans of a body; returns after the commit.

        A repeated body is answered as the first time and counted as duplicate. Raises MalformedPayload,
        Overloaded (with BufferFull) and Unexpected; nothing was kept then. When it is cancelled during the commit, the
        spans may have been kept.
        """
        if not payload.body:
            return NOTHING_REJECTED
        began_s = self._clock.monotonic()
        try:
            return await self._submit(payload)
        finally:
            if self._sampler is not None:
                self._sampler.answered(began_s)

    async def _submit(self, payload: Payload) -> Accepted:
        if len(payload.body) > PIECE_BYTES:
            await asyncio.sleep(0)  # putting the body together took its milliseconds, and so does its hash
        try:
            key = fingerprint(payload.body, payload.encoding is Encoding.JSON, payload.public_key)
            kept, is_repeat = await self._repeats.once(key, partial(self._keep, payload))
            if is_repeat and kept.spans:
                rejected = {DUPLICATE: kept.spans}
                await self._append(Append(rows=(), received=kept.spans, rejected=rejected))
                self._meters[payload.transport].committed(len(payload.body), 0, rejected, {})
        except IntakeError:
            raise
        except Exception as error:  # noqa: BLE001  (a stage may fail with anything; the type is logged and nothing else may leak)
            raise self.unexpected(error) from None
        return kept.accepted

    async def _keep(self, payload: Payload) -> Kept:
        tally = Tally()
        if self._sampler is None:
            return await self._commit(payload, tally, None)
        draft = self._sampler.begin()
        try:
            kept = await self._commit(payload, tally, draft)
        except BaseException:
            draft.undo()
            raise
        draft.commit()
        return kept

    async def _commit(self, payload: Payload, tally: Tally, draft: Draft | None) -> Kept:
        now_ms = self._clock.wall_ms()
        destination_of = self._route.destination_of(payload.public_key)
        released: set[bytes] = set()
        counted: list[Counted] = []
        async for batch, body in _batches(payload, tally):
            mend(batch)
            if self._discard:
                tally.add(batch)
                tally.filtered += batch.span_count - batch.rejected.total()
                continue
            completed, notes = await self._pipeline.process(batch, body, now_ms)
            if draft is not None:
                draft.decide(notes, completed.without_llm)
            released |= completed.released
            counted += completed.counted
            tally.add(batch)
            tally.filtered += batch.filtered
            for part in slices(batch, destination_of):
                if part.trace_id in completed.without_llm:
                    tally.filtered += part.spans
                    continue
                row = row_of(part, now_ms, completed.seal_at.get(part.trace_id))
                kept = row if draft is None else draft.take(row, has_root=part.has_root)
                if kept is not None:
                    tally.rows.append(kept)
        stored = sum(row.spans for row in tally.rows)
        append = _balanced(tally, stored, draft)
        if tally.received:
            await self._append(append)
        self._pipeline.count(counted)
        if released:
            self._buffer.hasten(released)  # after the commit: the rows of earlier requests are settling by now
        self._meters[payload.transport].committed(len(payload.body), stored, tally.rejected, tally.mends)
        rejected = tally.rejected.total()
        return Kept(tally.received, Accepted(rejected, " ".join(tally.problems)) if rejected else NOTHING_REJECTED)

    async def _append(self, append: Append) -> None:
        try:
            await self._buffer.append(append)
        except IntakeError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever the buffer failed with)
            # The payload is not to blame, so the client may send it again.
            self._report(error)
            raise Overloaded("the buffer failed and nothing was kept; the sidecar's log says why. Send this again later", BUFFER_RETRY_S) from None

    def unexpected(self, error: Exception) -> Unexpected:
        """Log our own failure, without values, and give the error that the client is answered with."""
        self._report(error)
        return Unexpected("the sidecar failed on this request and kept nothing of it; its log names the error")

    def _report(self, error: Exception) -> None:
        now = self._clock.monotonic()
        if now >= self._reported.get(type(error), now):
            self._reported[type(error)] = now + REPORT_EVERY_S
            self._log.error("a request failed inside the sidecar", extra={"error": error_text(error), "stack": stack(error)})


def _balanced(tally: Tally, stored: int, draft: Draft | None) -> Append:
    """What is to be committed of a request of which ``stored`` spans are kept."""
    sampled: Counter[str] = draft.sampled if draft is not None else Counter()
    if tally.received != stored + tally.filtered + tally.rejected.total() + sampled.total():
        raise AssertionError("a stage lost or made spans without saying so")
    rescued = draft.rescued if draft is not None else []
    rows = (*rescued, *tally.rows) if rescued else tuple(tally.rows)
    return Append(rows, tally.received, dict(tally.rejected), tally.filtered, dict(sampled), sum(row.spans for row in rescued))


async def _batches(payload: Payload, tally: Tally) -> AsyncIterator[tuple[SpanBatch, bytes]]:
    """The body as batches, each with the bytes that it was decoded from, of at most about a MiB, with a breath of the loop between them."""
    body = payload.body
    if payload.encoding is Encoding.JSON:
        if len(body) <= JSON_INLINE_BYTES:
            yield decode_json(body), body
            return
        body = await asyncio.to_thread(_json_to_protobuf, body, tally)
    if len(body) <= PIECE_BYTES:
        yield decode_protobuf(body), body
        return
    for piece in await asyncio.to_thread(split_request, body):
        yield decode_protobuf(piece), piece
        await asyncio.sleep(0)


def _json_to_protobuf(body: bytes, tally: Tally) -> bytes:
    """Large JSON is decoded beside the loop; spans that JSON itself spoiled are counted here."""
    batch = decode_json(body)
    tally.received += batch.rejected.total()
    tally.rejected.update(batch.rejected)
    tally.mends.update(batch.mends)
    tally.problems = list(batch.problems)
    return batch.request.SerializeToString()

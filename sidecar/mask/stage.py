"""The masking stage of the receive path: what leaves the process memory passes here before it is written anywhere. Pure.

Owns every place of a request where text can stand, the policy that holds for each span, and giving way to others. It must not know
detectors, nor how a text is masked. Unknown fields are dropped: nobody can say what is in them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from google.protobuf.internal.containers import RepeatedScalarFieldContainer

from sidecar.mask.audit import Counts, Tally, write_audit
from sidecar.mask.coverage import KNOWN_COST, Entries
from sidecar.mask.engine import Engine
from sidecar.mask.masker import FAILED, Masker, Place
from sidecar.mask.memo import ENTRY_BYTES_MAX
from sidecar.mask.policy import Policy, Scope
from sidecar.wire.attributes import KEY, decode, delimited
from sidecar.wire.batch import SpanBatch
from sidecar.wire.shallow_pb2 import Event, InstrumentationScope, Link, ResourceSpans, ScopeSpans, Span, Status

TURN_COST = 64 * 1024
"""Bytes of clean text between turns of others: half a millisecond; of text that is made to be slow, a hundred times that."""
_MESSAGE_COST = 128
_AGENT_KEYS = tuple(delimited(KEY, key) for key in (b"langfuse.observation.metadata.agent_name", b"gen_ai.agent.name"))
"""The first one that a span has names its agent."""
_SERVICE_KEY = delimited(KEY, b"service.name")
_SAMPLING = re.compile(rb"\s*ot=(?:(?:th|rv):[0-9a-f]{1,14}(?:;|\s*$))+")
"""OpenTelemetry's own member of a trace state; its digits are drawn by chance and may look like anything."""
_Named = ResourceSpans | ScopeSpans | InstrumentationScope | Span | Status | Event


class MaskingStage:
    """Masks batches in place. One for the process; batches may take turns."""

    def __init__(self, policy: Policy, engine: Engine) -> None:
        self.counts: Counts = Counter()
        """Values hidden by (detector, action), until the reader clears it."""
        self.failures: Counter[str] = Counter()
        """Values hidden because masking them failed, by reason; until the reader clears it."""
        self.use(policy, engine)

    def use(self, policy: Policy, engine: Engine) -> None:
        """From now on new batches are masked by this policy; those under way end with the old one. ``engine`` was made of ``policy.detectors``."""
        self._entries = Entries(Masker(policy, engine))

    def __call__(self, batch: SpanBatch) -> Iterator[None]:
        """Mask the batch, and yield whenever others may have their turn. Raises nothing: what fails is hidden."""
        return _Run(self._entries, Tally(self.counts, self.failures)).batch(batch)


class _Run:
    """The masking of one batch by one policy."""

    __slots__ = ("_dry", "_entries", "_masker", "_places", "_policy", "_tally")

    def __init__(self, entries: Entries, tally: Tally) -> None:
        self._entries = entries
        self._masker = entries.masker
        self._policy = entries.masker.policy
        self._dry = self._policy.dry_run
        self._places: dict[tuple[Scope, str], Place] = {}
        self._tally = tally

    def batch(self, batch: SpanBatch) -> Iterator[None]:
        """Every resource, scope and span, in order."""
        if not self._dry:
            batch.request.DiscardUnknownFields()
        for resource_spans in batch.request.resource_spans:
            self._tally.labels.clear()
            service = _said(resource_spans.resource.attributes, (_SERVICE_KEY,))
            common = self._policy.scope(None, service)
            yield from self._guarded(resource_spans, self._resource(resource_spans, common))
            for scope_spans in resource_spans.scope_spans:
                yield from self._guarded(scope_spans, self._scope(scope_spans, common))
                for span in scope_spans.spans:
                    yield from self._guarded(span, self._span(span, service))

    def _guarded(self, message: ResourceSpans | ScopeSpans | Span, walk: Iterator[None]) -> Iterator[None]:
        """The walk; when it fails, the message is emptied of all text."""
        try:
            yield from walk
        except Exception:  # noqa: BLE001 - whatever it is, nothing unmasked may pass; and its text may quote a value
            self._tally.failed("error")
            _blank(message)

    def _resource(self, resource_spans: ResourceSpans, scope: Scope) -> Iterator[None]:
        self._text(resource_spans, "schema_url", "schema_url", scope)
        if resource_spans.HasField("resource"):
            yield from self._attributes(resource_spans.resource.attributes, list(resource_spans.resource.attributes), scope)

    def _scope(self, scope_spans: ScopeSpans, scope: Scope) -> Iterator[None]:
        self._text(scope_spans, "schema_url", "schema_url", scope)
        if scope_spans.HasField("scope"):
            named = scope_spans.scope
            self._text(named, "name", "scope.name", scope)
            self._text(named, "version", "scope.version", scope)
            yield from self._attributes(named.attributes, list(named.attributes), scope)

    def _span(self, span: Span, service: str | None) -> Iterator[None]:
        tally = self._tally
        raws = list(span.attributes)
        scope = self._policy.scope(_said(raws, _AGENT_KEYS), service)
        tally.cost += _MESSAGE_COST
        self._text(span, "name", "span.name", scope)
        if span.HasField("status"):
            self._text(span.status, "message", "span.status.message", scope)
        self._trace_state(span, "span.trace_state", scope)
        yield from self._attributes(span.attributes, raws, scope)
        for event in span.events:
            tally.cost += _MESSAGE_COST
            self._text(event, "name", "event.name", scope)
            yield from self._attributes(event.attributes, list(event.attributes), scope)
        for link in span.links:
            tally.cost += _MESSAGE_COST
            self._trace_state(link, "link.trace_state", scope)
            yield from self._attributes(link.attributes, list(link.attributes), scope)
        if tally.labels:
            write_audit(span.attributes, tally.labels, self._masker.digest)
            tally.labels.clear()

    def _attributes(self, attributes: RepeatedScalarFieldContainer[bytes], raws: list[bytes], scope: Scope) -> Iterator[None]:
        """Mask a list, given twice: in its message and as it stands there."""
        tally, known = self._tally, self._entries.memo.of(scope)
        clean = known.clean
        suspects = [index for index, raw in enumerate(raws) if len(raw) > ENTRY_BYTES_MAX or raw not in clean]
        tally.cost += KNOWN_COST * len(raws)
        changes: dict[int, bytes | None] = {}
        for index in suspects:
            raw = raws[index]
            masked = self._entries.one(raw, scope, tally) if len(raw) <= TURN_COST else (yield from self._entries.in_turns(raw, scope, tally))
            if masked is not raw:
                changes[index] = masked
            if tally.cost >= TURN_COST:
                tally.cost = 0
                yield
        if tally.cost >= TURN_COST:
            tally.cost = 0
            yield
        if changes and not self._dry:
            kept = [changes.get(index, raw) for index, raw in enumerate(raws)]
            attributes[:] = [raw for raw in kept if raw is not None]

    def _text(self, message: _Named, field: str, name: str, scope: Scope) -> None:
        """Mask a field that holds text. ``name`` is what policies call the place."""
        text: bytes = getattr(message, field)
        if not text:
            return
        memo, entry = self._entries.memo, (name, text)
        if entry in memo.of(scope).clean or memo.is_clean(scope, entry):
            return
        masked = self._masker.text(text, self._place(scope, name), self._tally)
        if masked is not text:
            if not self._dry:
                setattr(message, field, masked or b"")
        elif len(text) <= ENTRY_BYTES_MAX:
            memo.add_clean(scope, entry)

    def _trace_state(self, message: Span | Link, name: str, scope: Scope) -> None:
        """Take the members out of a trace state in which something is found: a label would be no valid value in all of them."""
        state = message.trace_state
        if not state:
            return
        place = self._place(scope, name)
        members = state.split(b",")
        own = {member for member in members if _SAMPLING.fullmatch(member)}
        others = b",".join(member for member in members if member not in own)
        if self._masker.text(others, place, self._tally) is others or self._dry:
            return
        unheard = Tally(Counter(), Counter())
        kept = [member for member in members if member in own or self._masker.text(member, place, unheard) is member]
        others = b",".join(member for member in kept if member not in own)
        message.trace_state = b",".join(kept if self._masker.text(others, place, unheard) is others else [member for member in kept if member in own])

    def _place(self, scope: Scope, name: str) -> Place:
        place = self._places.get((scope, name))
        if place is None:
            place = self._places[scope, name] = Place(scope, name, scope.key(name), b"")
        return place


def _said(attributes: Iterable[bytes], prefixes: tuple[bytes, ...]) -> str | None:
    """The string under the first of these keys that is there; None when there is none, or it is something else."""
    found = [raw for raw in attributes if raw.startswith(prefixes)]
    for prefix in prefixes if found else ():
        for raw in found:
            if raw.startswith(prefix):
                try:
                    value = decode(raw)[1]
                except ValueError:
                    return None
                return value if isinstance(value, str) else None
    return None


def _blank(message: ResourceSpans | ScopeSpans | Span) -> None:
    """Take everything out of a message itself that could be text."""
    if isinstance(message, Span):
        for field in ("attributes", "trace_state", "events", "links"):
            message.ClearField(field)
        message.name = FAILED
        if message.status.message:
            message.status.message = FAILED
        return
    message.ClearField("schema_url")
    message.ClearField("scope" if isinstance(message, ScopeSpans) else "resource")

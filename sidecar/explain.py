"""`sidecar explain`: what the pipeline does with the spans of a file, span by span, and why.

Owns the comparison of spans before and after the daemon's own pipeline, and the report. What a span is, costs or inherits is
decided by the functions that decide it in the daemon; this module calls them again and never judges by itself. It must not
read files nor know how a value is masked.

No unmasked value is shown: texts are read from the spans as they leave the pipeline, or from a copy of what came that went
through the same mask. Values of attributes are shown only when they are asked for.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry

from sidecar.buffer.records import Omit
from sidecar.config import Config
from sidecar.enrich import facts as read
from sidecar.enrich import keys
from sidecar.enrich.agents import DRIFT, EXPECTED
from sidecar.enrich.completer import MAX_DEPTH
from sidecar.enrich.enricher import Enricher, relate
from sidecar.enrich.media import describe_media, may_hold
from sidecar.enrich.model_facts import CONTEXT_WINDOW, FAMILY, PROVIDER
from sidecar.enrich.orchestration import SignalKind
from sidecar.enrich.place import Place
from sidecar.enrich.plain import to_json
from sidecar.enrich.prices import Unpriced
from sidecar.enrich.said import key_of
from sidecar.errors import MalformedPayload, TooLarge
from sidecar.mask.audit import MASKED_KEY, POLICY_KEY
from sidecar.observe.metrics import Metrics
from sidecar.receive.enrichment import EnrichmentRules, new_enrichment
from sidecar.receive.inflate import inflate
from sidecar.receive.intake import JSON_INLINE_BYTES, Tally
from sidecar.receive.pieces import PIECE_BYTES, split_request
from sidecar.receive.pipeline import Mask, Pipeline, spans_of
from sidecar.receive.sampling import keep_rules_file
from sidecar.rulefiles import RuleFiles
from sidecar.wire.attributes import decode
from sidecar.wire.batch import SpanBatch, decode_protobuf
from sidecar.wire.mend import mend
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.rows import NewRow
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest, Span
from sidecar.wire.split import decompress, row_of, slices

MAX_BYTES = 64 * 1024 * 1024
"""Of the file, and of what it holds when decompressed. Memory: about ten times as much at worst."""
MAX_TEXT = 120
"""Characters of a label or a value."""
_WANTED = "expected: OTLP traces, plain or in gzip, as protobuf or as JSON with the key resourceSpans, one request or one a line"
_MEDIA = re.compile(rb"\[media type=\S{1,80} bytes=\d{1,20} sha256=[0-9a-f]{64}\]")
_TRACE_ID_HEAD = b"\x0a\x10"
_SUBJECTS = {
    "user": ("langfuse.user.id", keys.USER_ID),
    "session": ("langfuse.session.id", keys.SESSION_ID, "gen_ai.conversation.id"),
    "trace name": (keys.TRACE_NAME,),
    "agent": (f"{keys.METADATA}.agent_name",),
}
"""What spans inherit, and where the server reads it first."""
_MODEL = {"provider": PROVIDER, "family": FAMILY, "context window": CONTEXT_WINDOW}
_AGENT = {name: f"{keys.METADATA}.agent_{name}" for name in ("name", "type", "version", "team", "owner", "tags")}
_DETAILS = ("decision_outcome", "decision_confidence", "handoff_to", "handoff_from", "resolution_by", "heartbeat_progress")
_SIGNALS = {name: f"{keys.METADATA}.{name}" for name in (*SignalKind, *_DETAILS)}
_AUDIT = (MASKED_KEY, POLICY_KEY)
_CALLS = frozenset({read.Kind.GENERATION, read.Kind.EMBEDDING})


class Content(Struct, omit_defaults=True):
    """Input or output of a span: the attribute keys (or ``event:<name>``) that hold it, and where it is moved, unless the server shows it from there."""

    found_in: tuple[str, ...]
    bytes: int
    moved_to: str = ""


class Cost(Struct, omit_defaults=True):
    """What a call cost and who says so (the price table with its date and the rule that matched, the provider, the span), or why nobody knows."""

    usd: float | None = None
    source: str = ""
    unpriced: str = ""


class Context(Struct, omit_defaults=True):
    """What holds for more than one span. Inherited from a span (its id and name) or from the trace; empty: its own."""

    subject: str
    value: str
    inherited_from: str = ""


class Change(Struct, omit_defaults=True):
    """One attribute as it leaves; its value only when values are asked for."""

    key: str
    bytes: int
    value: str = ""


class SpanReport(Struct, omit_defaults=True, tag_field="record", tag="span"):
    """Everything about one span. Ids are hex; a member that says nothing is left out of its JSON."""

    request: int
    trace_id: str
    span_id: str
    name: str
    parent_id: str = ""
    start_ns: int = 0
    left_out: str = ""
    type: str = ""
    """What Langfuse is told; ``kind`` is what it was recognised as."""
    kind: str = ""
    dialect: str = ""
    is_call: bool = False
    not_counted: str = ""
    agent: dict[str, str] = {}
    tool: str = ""
    model_asked: str = ""
    model_answered: str = ""
    model: dict[str, str] = {}
    usage: dict[str, float] = {}
    cost: Cost | None = None
    input: Content | None = None
    output: Content | None = None
    error: str = ""
    keep_rule: str = ""
    """Of sampling.yaml: with this span its trace is kept whatever the pressure. What the calls of a trace cost together is not looked at here."""
    base_probability: float = 1.0
    """With which its trace is kept without any pressure, if no rule keeps it."""
    drift: dict[str, str] = {}
    signals: dict[str, str] = {}
    context: list[Context] = []
    reparented_from: str = ""
    mended: dict[str, int] = {}
    masked: list[str] = []
    masked_types: dict[str, float] = {}
    media: list[str] = []
    media_bytes_saved: int = 0
    cut: dict[str, int] = {}
    """Bytes that values had before they were cut, by key."""
    added: list[Change] = []
    changed: list[Change] = []
    removed: list[str] = []


class RequestReport(Struct, omit_defaults=True, tag_field="record", tag="request"):
    """One export request of the file."""

    request: int
    spans: int = 0
    rejected: dict[str, int] = {}
    mended: dict[str, int] = {}
    problems: list[str] = []


class Explanation(Struct):
    """The whole file, spans in the order in which they came; with the ISO date of the price table, empty when enrichment is off."""

    requests: list[RequestReport]
    spans: list[SpanReport]
    table_date: str


@dataclass(slots=True)
class _Item:
    """One span on its way. ``came`` are its attributes, masked."""

    report: SpanReport
    key: tuple[bytes, bytes]
    parent_id: bytes
    came: dict[str, bytes]
    contents: tuple[read.Content | None, read.Content | None] = (None, None)
    names_agent: bool = False
    enriched: dict[str, bytes] | None = None
    """Its attributes before the trace's context was added; None: taken out by the filter."""


def requests_in(content: bytes) -> Iterator[tuple[bytes, bool]]:
    """The bodies in a file, and whether they are JSON. Raises MalformedPayload and TooLarge.

    Two objects of JSON with nothing but a line break between them can't be one document, so they are lines.
    """
    if len(content) > MAX_BYTES:
        raise TooLarge(f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB; split it")
    body = b"".join(inflate(content, "gzip", MAX_BYTES)) if content.startswith(b"\x1f\x8b") else content
    text = body.removeprefix(codecs.BOM_UTF8).strip()
    # A request of protobuf may begin with a line break and a brace. But it holds trace ids, 16 bytes each, and JSON has no byte 16.
    if _TRACE_ID_HEAD in body or not text.startswith(b"{"):
        yield body, False
        return
    first, _, rest = text.partition(b"\n")
    if first.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{"):
        yield from ((line, True) for line in text.split(b"\n") if line.strip())
    else:
        yield text, True


def _batches(body: bytes, is_json: bool) -> Iterator[tuple[SpanBatch, bytes]]:
    """A body as the receivers would take it: large ones in pieces."""
    decoded = decode_json(body) if is_json else None
    if decoded is not None:
        if len(body) <= JSON_INLINE_BYTES:
            yield decoded, body
            return
        body = decoded.request.SerializeToString()
    for piece in split_request(body, PIECE_BYTES):
        batch = decode_protobuf(piece)
        if decoded is not None:
            batch.span_count += decoded.rejected.total()
            batch.rejected, batch.mends, batch.problems = decoded.rejected, decoded.mends, decoded.problems
            decoded = None
        yield batch, piece


def explain(
    content: bytes, config: Config, env: Mapping[str, str], mask: Mask, now_ms: int, log: logging.Logger, *, values: bool = False
) -> Explanation:
    """Run the spans of a file through the pipeline and say what happened to each.

    ``content`` are its bytes, ``env`` is what rule files may refer to, ``mask`` the daemon's, ``now_ms`` wall clock. With
    ``values`` attributes show the first 120 characters of their values. Raises ConfigError, MalformedPayload, TooLarge.
    """
    explainer = _Explainer(config, env, mask, now_ms, log, values=values)
    number = 0
    try:
        for number, (body, is_json) in enumerate(requests_in(content), start=1):
            asyncio.run(explainer.take(number, body, is_json=is_json))
    except MalformedPayload as error:
        raise MalformedPayload(f"request {number} of the file is no OTLP: {error.message} ({_WANTED})" if number else error.message) from None
    if not any(request.spans for request in explainer.requests):
        raise MalformedPayload(f"the file holds no spans ({_WANTED})")
    return explainer.finish()


class _Explainer:
    """The pipeline, and beside it what is kept of each span to compare."""

    def __init__(self, config: Config, env: Mapping[str, str], mask: Mask, now_ms: int, log: logging.Logger, *, values: bool) -> None:
        settings = config.enrichment
        self._mask, self._now_ms, self._values = mask, now_ms, values
        rules = EnrichmentRules(settings, env)
        keep = keep_rules_file(config.sampling, env)
        samples = settings.enabled and config.sampling.enabled
        RuleFiles((*(rules.files if settings.enabled else ()), *((keep,) if samples else ()))).load_all()
        book = rules.price_book() if settings.enabled else None
        self._table_date = book.date if book else ""
        self._reader = Enricher(book, place=Place(settings.resource, settings.environment, settings.release)) if book else None
        self._enrichment = new_enrichment(settings, rules, Metrics(CollectorRegistry()), log) if settings.enabled else None
        if self._enrichment is not None and samples:
            self._enrichment.enricher.use_find(keep.value.find)
        self._pipeline = Pipeline(self._observed, self._enrichment)
        self._enriched = ExportTraceServiceRequest()
        self._done: list[tuple[list[_Item], list[NewRow]]] = []
        self.requests: list[RequestReport] = []
        self._items: dict[tuple[bytes, bytes], _Item] = {}

    def _observed(self, batch: SpanBatch) -> Iterator[None]:
        """The mask, with a look at what enrichment and it have made, before anything of the trace is added."""
        yield from self._mask(batch)
        self._enriched = _copy(batch.request)

    async def take(self, number: int, body: bytes, *, is_json: bool) -> None:
        """One request on the path of ``receive.intake``, with its rows kept instead of committed."""
        tally = Tally()
        for batch, piece in _batches(body, is_json):
            mended = _mended(batch)
            items = self._items_of(number, _copy(batch.request), piece, mended)
            completed, notes = await self._pipeline.process(batch, piece, self._now_ms)
            for item, note in zip(items, notes, strict=False):  # without enrichment there are no notes
                if note.finding is not None:
                    item.report.keep_rule, item.report.base_probability = note.finding.rule or "", note.finding.base
            enriched = _by_id(spans_of(self._enriched))
            for item in items:
                found = enriched.get(item.key)
                item.enriched = _attributes(found.popleft()) if found else None
            tally.add(batch)
            parts = [part for part in slices(batch, "") if part.trace_id not in completed.without_llm]
            self._done.append((items, [row_of(part, self._now_ms, completed.seal_at.get(part.trace_id)) for part in parts]))
            self._items.update((item.key, item) for item in items)
        self.requests.append(RequestReport(number, tally.received, dict(tally.rejected), dict(tally.mends), tally.problems))

    def finish(self) -> Explanation:
        """Seal what settles, as the daemon does when the time is over, and compare."""
        reports = []
        for items, rows in self._done:
            sealed = [(self._enrichment.seal(row) if self._enrichment is not None and row.seal_at_ms is not None else None) or row for row in rows]
            left = [ExportTraceServiceRequest.FromString(decompress(row.body)) for row in sealed if not isinstance(row, Omit)]
            leaving = _by_id(span for request in left for span in spans_of(request))
            for item in items:
                found = leaving.get(item.key) if item.enriched is not None else None
                self._report(item, found.popleft() if found else None)
                reports.append(item.report)
        return Explanation(self.requests, reports, self._table_date)

    def _items_of(self, number: int, request: ExportTraceServiceRequest, piece: bytes, mended: list[Counter[str]]) -> list[_Item]:
        """What the spans of a mended request say, read as the enricher reads them; ``request`` is a copy and changes."""
        reader = self._reader
        spans = list(spans_of(request))
        media = [describe_media(span) for span in spans] if reader and may_hold(piece) else []
        seen = reader.read(request) if reader else []
        alone = [facts.is_call for _, facts in seen]
        relate(seen, self._enrichment.enricher.live if self._enrichment else None)
        masked = _copy(request)
        for _ in self._mask(SpanBatch(masked, len(spans), clean=True)):
            pass
        shown = reader.read(masked) if reader else []
        items = []
        for index, (before, span) in enumerate(zip(spans, spans_of(masked), strict=True)):
            report = SpanReport(number, span.trace_id.hex(), span.span_id.hex(), _name(span), start_ns=span.start_time_unix_nano)
            report.mended = dict(mended[index])
            report.masked, report.media_bytes_saved = _masked(before, span), media[index].bytes if media else 0
            came = {key: raw for key, raw in _attributes(span).items() if key not in _AUDIT}
            item = _Item(report, (span.trace_id, span.span_id), span.parent_span_id, came)
            if reader is not None:
                cost = reader.price(*seen[index])
                unpriced = cost.reason.value if isinstance(cost, Unpriced) else ""
                self._recognise(item, seen[index][1], shown[index][1], unpriced, was_call=alone[index])
            items.append(item)
        return items

    def _recognise(self, item: _Item, facts: read.Facts, shown: read.Facts, unpriced: str, *, was_call: bool) -> None:
        """Write what was read: kinds and numbers from the span itself, texts (``shown``) from its masked copy."""
        report = item.report
        report.kind, report.dialect, report.is_call = facts.kind.value, facts.dialect, facts.is_call
        report.tool = _label(shown.tool_name or "")
        report.model_asked, report.model_answered = _label(shown.model_requested or ""), _label(shown.model_answered or "")
        if facts.error is not None:
            message = shown.error.message if self._values and shown.error else ""
            report.error = _label(f"{facts.error.kind.value}: {shown.error.type if shown.error else ''} {message}".rstrip(": "))
        if facts.is_call:
            report.cost = Cost(unpriced=unpriced)
        elif was_call:
            report.not_counted = "another span of this request is the same call, or this one adds up its calls"
        elif facts.kind in _CALLS:
            report.not_counted = "its dialect says that it is no call of its own"
        elif facts.usage is not None:
            report.not_counted = "only calls of models count"
        item.contents = (shown.input, shown.output)
        item.names_agent = facts.agent_name is not None or facts.agent_id is not None

    def _report(self, item: _Item, span: Span | None) -> None:
        """Complete the report with the span as it leaves; None: it does not."""
        report, enriched = item.report, item.enriched
        if span is None or enriched is None:
            report.parent_id = item.parent_id.hex()
            report.left_out = "infrastructure (enrichment.spans: llm)" if enriched is None else "no LLM work in its trace (enrichment.spans: llm)"
            report.cost, report.is_call = None, False
            return
        after = _attributes(span)
        report.name, report.parent_id = _name(span), span.parent_span_id.hex()
        report.type = _value(after.get(keys.TYPE))
        if span.parent_span_id != item.parent_id:
            report.reparented_from = item.parent_id.hex()
        report.agent = {name: _value(after[key]) for name, key in _AGENT.items() if key in after}
        report.model = {name: _value(after[key]) for name, key in _MODEL.items() if key in after}
        if DRIFT in after and DRIFT not in item.came:
            report.drift = {"got": _value(after[DRIFT]), "expected": _value(after.get(EXPECTED))}
        new = {key: raw for key, raw in after.items() if key not in item.came}
        report.signals = {name: _value(new[key]) for name, key in _SIGNALS.items() if key in new}
        report.context = list(self._context(item, after, enriched))
        report.masked_types = _numbers(after.get(MASKED_KEY)) if report.masked else {}
        self._report_money(item, after)
        for direction, content, key in zip(("input", "output"), item.contents, (keys.INPUT, keys.OUTPUT), strict=True):
            if content is not None:
                moved = key if key in after and key not in item.came else ""
                setattr(report, direction, Content(tuple(map(_label, content.keys)), len(content.text.encode(errors="replace")), moved))
        if report.media_bytes_saved:
            found = _MEDIA.findall(span.SerializeToString())
            report.media = [_label(each.decode(errors="replace")) for each in found]
        if after.get(keys.CUT) != enriched.get(keys.CUT):
            report.cut = {key: round(size) for key, size in _numbers(after[keys.CUT]).items()}
        changed = {key: raw for key, raw in after.items() if key in item.came and item.came[key] != raw}
        report.added, report.changed = self._changes(new), self._changes(changed)
        report.removed = [_label(key) for key in item.came if key not in after]

    def _report_money(self, item: _Item, after: Mapping[str, bytes]) -> None:
        report, amounts = item.report, _numbers(after.get(keys.COST))
        if report.cost is None:
            return
        report.usage = _numbers(after.get(keys.USAGE))
        if keys.COST in item.came and amounts:
            report.cost = Cost(source=f"the span's own {keys.COST}")
        elif keys.COST_SOURCE in after:
            said = _value(after[keys.COST_SOURCE])
            report.cost.source = "the provider's own" if said == "provider" else said
        if amounts:
            report.cost.usd = amounts["total"] if "total" in amounts else sum(amounts.values())

    def _context(self, item: _Item, after: Mapping[str, bytes], enriched: Mapping[str, bytes]) -> Iterator[Context]:
        for subject, spellings in _SUBJECTS.items():
            key = next((key for key in spellings if key in after), None)
            if key is None:
                continue
            source = ""
            if enriched.get(key) != after[key]:
                source = self._origin(item, key, after[key])
            elif subject == "agent" and key not in item.came and not item.names_agent:
                source = "a rule for its service or scope"
            yield Context(subject, _value(after[key]), source)

    def _origin(self, item: _Item, key: str, raw: bytes) -> str:
        """The nearest ancestor that says it itself, else the trace."""
        trace_id, parent_id = item.key[0], item.parent_id
        for _ in range(MAX_DEPTH):
            ancestor = self._items.get((trace_id, parent_id))
            if ancestor is None:
                break
            if ancestor.enriched is not None and ancestor.enriched.get(key) == raw:
                return f"{ancestor.report.span_id} {ancestor.report.name}"
            parent_id = ancestor.parent_id
        return "the trace"

    def _changes(self, attributes: Mapping[str, bytes]) -> list[Change]:
        return [Change(_label(key), len(raw), _value(raw) if self._values else "") for key, raw in attributes.items()]


def _mended(batch: SpanBatch) -> list[Counter[str]]:
    """Mend a batch; what was mended on each span that is left: each is mended once more alone, where anything was."""
    is_clean, before, came = batch.clean, batch.mends.total(), _copy(batch.request)
    mend(batch)
    if batch.mends.total() == before:
        return [Counter() for _ in spans_of(batch.request)]
    found = []
    for span in spans_of(came):
        single = SpanBatch(ExportTraceServiceRequest(), 1, clean=is_clean)
        single.request.resource_spans.add().scope_spans.add().spans.append(span)
        mend(single)
        if not single.rejected:
            found.append(single.mends)
    return found


def _masked(before: Span, after: Span) -> list[str]:
    """The attributes (by their masked keys) and parts of a span that the mask changed."""
    known = set(before.attributes)
    parts = [part for part in ("name", "status", "events", "links") if getattr(before, part) != getattr(after, part)]
    return [_label(key) for key, raw in _attributes(after).items() if raw not in known and key not in _AUDIT] + parts


def _by_id(spans: Iterable[Span]) -> dict[tuple[bytes, bytes], deque[Span]]:
    found: dict[tuple[bytes, bytes], deque[Span]] = {}
    for span in spans:
        found.setdefault((span.trace_id, span.span_id), deque()).append(span)
    return found


def _copy(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    copy = ExportTraceServiceRequest()
    copy.CopyFrom(request)
    return copy


def _attributes(span: Span) -> dict[str, bytes]:
    """Serialized KeyValues by key; of a key that occurs twice the last."""
    return {key_of(raw).decode(errors="replace"): raw for raw in span.attributes}


def _name(span: Span) -> str:
    return _label(span.name.decode(errors="replace"))


def _label(text: str) -> str:
    return text[:MAX_TEXT].encode(errors="replace").decode()


def _value(raw: bytes | None) -> str:
    value = decode(raw)[1] if raw else ""
    return _label(value if isinstance(value, str) else to_json(value))


def _numbers(raw: bytes | None) -> dict[str, float]:
    """The numbers of an attribute that is an object of JSON, such as a cost; empty for anything else."""
    text = decode(raw)[1] if raw else None
    try:
        tree: object = msgspec.json.decode(text) if isinstance(text, str) else None
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        tree = None
    members = tree.items() if isinstance(tree, dict) else ()
    return {_label(key): value for key, value in members if isinstance(value, int | float) and not isinstance(value, bool)}

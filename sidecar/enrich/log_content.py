"""Inputs and outputs that instrumentations send as OTLP log records instead of on the span. Pure.

Owns which records hold content, the text of a message, and the way of messages through masking as spans. It must not know
which span waits for them: log and trace exporters are independent, so either request may come first.

Records (GenAI conventions): up to 1.36 one for each message, `gen_ai.<role>.message` with the message as body and
`gen_ai.choice` with `{index, finish_reason, message}`; later one for each call, `gen_ai.client.inference.operation.details`,
with whole lists as attributes. Older SDKs write the name as the attribute `event.name`, and some (Semantic Kernel) the body as
a string of JSON. Texts come out as those of span events do (``dialects.sources``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, Protocol, TypeAlias

import msgspec
from google.protobuf.message import DecodeError

from sidecar.enrich.dialects.sources import BLANK, INFERENCE_DETAILS, INSTRUCTIONS, MESSAGES_IN, MESSAGES_OUT
from sidecar.enrich.keys import INPUT, OUTPUT
from sidecar.enrich.plain import to_json
from sidecar.wire.attributes import Value, encode_string, find
from sidecar.wire.batch import SpanBatch, is_clean
from sidecar.wire.logs import LogsBatch, Skip, attribute_value, body_value, decode_record
from sidecar.wire.mend import SPAN_ID_BYTES, TRACE_ID_BYTES, mend
from sidecar.wire.shallow_logs_pb2 import LogRecord
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest, InstrumentationScope, Resource, Span

Direction: TypeAlias = Literal["input", "output"]

MAX_RECORDS = 4096
"""Records of one request that are opened: some 20 us each, and 4 MiB of objects beside the texts. SDKs send 512 at once."""

_MARK = b"gen_ai."
"""Every name of a content record begins with it."""
_ROLES = {f"gen_ai.{role}.message".encode(): role for role in ("system", "user", "assistant", "tool")}
_CHOICE = b"gen_ai.choice"
_SILENT = frozenset({"role", "index", "finish_reason", "id", "name", "tool_call_id"})
"""Keys of a message that are there even where content is not captured."""
_NOTHING: tuple[object, ...] = (None, "", [], {})
_ATTRIBUTES: tuple[tuple[Direction, str], ...] = (("input", INPUT), ("output", OUTPUT))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where records came from; shared by all of one scope in a request."""

    resource: bytes
    """A serialized shallow Resource."""
    scope: bytes
    """A serialized shallow InstrumentationScope."""

    @property
    def service(self) -> str:
        """The resource's `service.name`; empty when there is none."""
        name = attribute_value(Resource.FromString(self.resource).attributes, b"service.name", Counter())
        return name if isinstance(name, str) else ""

    @property
    def scope_name(self) -> str:
        """The name of the instrumentation scope; empty when there is none."""
        return InstrumentationScope.FromString(self.scope).name.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class LogContent:
    """What one record says of one side of a span."""

    trace_id: bytes
    """16 bytes, not all zero."""
    span_id: bytes
    """8 bytes, not all zero."""
    direction: Direction
    text: str
    """JSON: one message, which is an object; or, when ``many``, a list of messages. What masking left of it may be no JSON."""
    time_unix_nano: int
    """When the message was recorded (Unix time); 0 when the record does not say."""
    origin: Origin

    @property
    def many(self) -> bool:
        """The text is a whole list (an operation-details record), not one message."""
        return self.text.startswith("[")


def may_hold_content(body: bytes) -> bool:
    """Whether a log request (decompressed, protobuf or JSON) can hold content at all: it costs no parsing. False for most requests."""
    return _MARK in body


def log_content(batch: LogsBatch) -> list[LogContent]:
    """The content of a request in its order; records that give none are counted in ``batch.skipped``. Raises nothing."""
    found: list[LogContent] = []
    opened = 0
    for resource_logs in batch.request.resource_logs:
        resource = resource_logs.resource
        is_resource = _parses(Resource, resource)
        for scope_logs in resource_logs.scope_logs:
            marked = [raw for raw in scope_logs.log_records if _MARK in raw]
            batch.skipped[Skip.NOT_CONTENT] += len(scope_logs.log_records) - len(marked)
            if not marked:
                continue
            if not is_resource or not _parses(InstrumentationScope, scope_logs.scope):
                batch.skipped[Skip.MALFORMED] += len(marked)
                continue
            origin = Origin(resource, scope_logs.scope)
            for raw in marked[: MAX_RECORDS - opened]:
                found += _read(raw, origin, batch)
            batch.skipped[Skip.TOO_MANY] += max(0, opened + len(marked) - MAX_RECORDS)
            opened = min(MAX_RECORDS, opened + len(marked))
    return found


class Message(Protocol):
    """What is needed of a message to put it among others."""

    @property
    def direction(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def time_unix_nano(self) -> int: ...
    @property
    def many(self) -> bool: ...


def assemble(messages: Sequence[Message]) -> str:
    """The content of one side of one span out of its messages, given in any order: a JSON list in order of time.

    As with span events, a list of operation details stands for itself and hides single messages, and a single output is not
    put into a list. What is no JSON (masking may have replaced it) becomes a JSON string. Always gives valid JSON.
    """
    ordered = sorted(messages, key=lambda message: message.time_unix_nano)
    for message in ordered:
        if message.many and isinstance(_parsed(message.text), list):
            return message.text
    texts = [message.text if _parsed(message.text) is not None else msgspec.json.encode(message.text).decode() for message in ordered]
    if len(texts) == 1 and ordered[0].direction == "output":
        return texts[0]
    return f"[{','.join(texts)}]"


def content_carriers(contents: Iterable[LogContent]) -> SpanBatch:
    """A batch for masking: one span for each message, with its text as ``langfuse.observation.input`` or ``.output``.

    The spans stand under their records' resources and scopes. They are mended and must not be forwarded.
    """
    request = ExportTraceServiceRequest()
    count = 0
    for resource, of_resource in groupby(contents, key=lambda content: content.origin.resource):
        resource_spans = request.resource_spans.add()
        resource_spans.resource.MergeFromString(resource)
        for scope, of_scope in groupby(of_resource, key=lambda content: content.origin.scope):
            scope_spans = resource_spans.scope_spans.add()
            scope_spans.scope.MergeFromString(scope)
            scope_spans.spans.extend(map(_carrier, of_scope))
            count += len(scope_spans.spans)
    batch = SpanBatch(request, count, clean=is_clean(request.SerializeToString()))
    mend(batch)
    return batch


def from_carriers(batch: SpanBatch) -> list[LogContent]:
    """The messages of ``content_carriers`` after masking; one whose attribute masking removed is gone."""
    found: list[LogContent] = []
    for resource_spans in batch.request.resource_spans:
        resource = resource_spans.resource.SerializeToString()
        for scope_spans in resource_spans.scope_spans:
            origin = Origin(resource, scope_spans.scope.SerializeToString())
            for span in scope_spans.spans:
                for direction, key in _ATTRIBUTES:
                    text = find(span.attributes, key.encode())
                    if isinstance(text, str) and text:
                        found.append(LogContent(span.trace_id, span.span_id, direction, text, span.start_time_unix_nano, origin))
    return found


def _carrier(content: LogContent) -> Span:
    return Span(
        trace_id=content.trace_id,
        span_id=content.span_id,
        start_time_unix_nano=content.time_unix_nano,
        end_time_unix_nano=content.time_unix_nano,
        attributes=[encode_string(INPUT if content.direction == "input" else OUTPUT, content.text)],
    )


def _parses(kind: type[Resource | InstrumentationScope], raw: bytes) -> bool:
    try:
        kind.FromString(raw)
    except DecodeError:
        return False
    return True


def _read(raw: bytes, origin: Origin, batch: LogsBatch) -> Iterator[LogContent]:
    """What a record says: nothing, one message, or the lists of both sides."""
    record = decode_record(raw)
    if record is None:
        batch.skipped[Skip.MALFORMED] += 1
        return
    name = record.event_name or _attribute_name(record, batch.mends)
    if name not in _ROLES and name not in (_CHOICE, INFERENCE_DETAILS):
        batch.skipped[Skip.NOT_CONTENT] += 1
        return
    if not _is_id(record.trace_id, TRACE_ID_BYTES) or not _is_id(record.span_id, SPAN_ID_BYTES):
        batch.skipped[Skip.NO_SPAN] += 1
        return
    time_ns = record.time_unix_nano or record.observed_time_unix_nano
    said = list(_details(record, batch.mends) if name == INFERENCE_DETAILS else _message(name, body_value(record, batch.mends)))
    if not said:
        batch.skipped[Skip.NOT_CONTENT] += 1
    for direction, text in said:
        yield LogContent(record.trace_id, record.span_id, direction, text, time_ns, origin)


def _is_id(candidate: bytes, size: int) -> bool:
    return len(candidate) == size and any(candidate)


def _attribute_name(record: LogRecord, mends: Counter[str]) -> bytes:
    name = attribute_value(record.attributes, b"event.name", mends)
    return name.encode() if isinstance(name, str) else b""


def _message(name: bytes, body: Value) -> Iterator[tuple[Direction, str]]:
    """One message as a JSON object, with its role first where it is an input."""
    text, parsed = _as_json(body)
    if not isinstance(parsed, dict):
        parsed = {"content": body}
        text = to_json(parsed)
    if not _says_something(parsed):
        return
    role = _ROLES.get(name)
    if role is not None and "role" not in parsed:
        text = f'{{"role":"{role}",{text[1:].lstrip()}'
    yield ("output" if role is None else "input"), text


def _says_something(said: Mapping[str, object]) -> bool:
    """Whether a message, or the message in a choice, holds more than its frame."""
    inner = said.get("message")
    if isinstance(inner, dict):
        said = {**said, "message": None, **inner}
    return any(key not in _SILENT and value not in _NOTHING for key, value in said.items())


def _details(record: LogRecord, mends: Counter[str]) -> Iterator[tuple[Direction, str]]:
    """The lists of an operation-details record: the input with the system instructions before it, and the output."""
    inputs = _listed(_detail(record, MESSAGES_IN, mends), "user")
    instructions = _instructions(_detail(record, INSTRUCTIONS, mends))
    if instructions and '"system"' not in inputs[:64]:  # the same look as at a span's own attributes
        inputs = f"[{instructions},{inputs[1:].lstrip()}" if inputs else f"[{instructions}]"
    outputs = _listed(_detail(record, MESSAGES_OUT, mends), "assistant")
    if inputs:
        yield "input", inputs
    if outputs:
        yield "output", outputs


def _detail(record: LogRecord, key: str, mends: Counter[str]) -> Value:
    return attribute_value(record.attributes, key.encode(), mends)


def _listed(value: Value, role: str) -> str:
    """A list of messages as JSON; empty when there is nothing. Plain text is one message of ``role``."""
    text, parsed = _as_json(value)
    if isinstance(parsed, list | dict):
        return "" if not parsed else text if isinstance(parsed, list) else f"[{text}]"
    return to_json([{"role": role, "content": text}]) if text else ""


def _instructions(value: Value) -> str:
    """System instructions (a list of parts, one part, or text) as one message; empty when there are none."""
    text, parsed = _as_json(value)
    if isinstance(parsed, list | dict):
        return f'{{"role":"system","parts":{text if isinstance(parsed, list) else f"[{text}]"}}}' if parsed else ""
    return f'{{"role":"system","parts":{to_json([{"type": "text", "content": text}])}}}' if text else ""


def _as_json(value: Value) -> tuple[str, object]:
    """A value as text and as what that is in JSON: a string mostly is JSON already. Empty and None where it stands for nothing."""
    text = value.strip() if isinstance(value, str) else to_json(value)
    if text in BLANK:
        return "", None
    return text, _parsed(text) if isinstance(value, str) else value


def _parsed(text: str) -> object:
    """What a text is as JSON; None when it is none (or null)."""
    try:
        parsed: object = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return parsed

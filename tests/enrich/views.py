"""Views of spans made by the official classes, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.facts import Facts
from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import AttributeMemo
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest
from tests import spans


def views(*given: Span, scope: str = "tests", resource: spans.Attributes | None = None) -> list[SpanView]:
    """Views of spans of one scope."""
    request = ExportTraceServiceRequest.FromString(spans.request(*given, resource=resource, scope=scope).SerializeToString())
    memo = AttributeMemo()
    holder = request.resource_spans[0]
    return [SpanView(span, holder.scope_spans[0].scope, holder.resource, memo) for span in holder.scope_spans[0].spans]


def view(
    attributes: spans.Attributes | None = None,
    *,
    scope: str = "tests",
    resource: spans.Attributes | None = None,
    name: str = "span",
    parent: bytes = b"",
    error: str | None = None,
    events: Iterable[Span.Event] = (),
    start_ns: int = spans.START_NS,
    end_ns: int = spans.START_NS + spans.DURATION_NS,
) -> SpanView:
    """A view of one span."""
    span = spans.span(attributes=attributes, name=name, parent=parent, error=error, events=events, start_ns=start_ns, end_ns=end_ns)
    return views(span, scope=scope, resource=resource)[0]


def facts(
    attributes: spans.Attributes | None = None,
    *,
    scope: str = "tests",
    name: str = "span",
    error: str | None = None,
    events: Iterable[Span.Event] = (),
) -> Facts:
    """What one span says."""
    return read_facts(view(attributes, scope=scope, name=name, error=error, events=events))

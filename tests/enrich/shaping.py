"""A span before and after shaping, as Langfuse's server would show it."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.edit import Edit
from sidecar.enrich.facts import Content, Facts, Kind, Usage
from sidecar.enrich.shape import NO_EXTRA, Extra, shape
from sidecar.enrich.view import SpanView
from sidecar.wire import shallow_pb2
from sidecar.wire.attributes import AttributeMemo
from tests import spans
from tests.fakes.langfuse_mapping import Attributes, Prices, Shown, plain_attributes, show

PRICES: Prices = {
    "gpt-4o": {"input": 2.5e-6, "output": 1e-5, "input_cached_tokens": 1.25e-6},
    "o3": {"input": 2e-6, "output": 8e-6, "output_reasoning_tokens": 8e-6},
}
"""What a server's own price table could hold."""


@dataclass(frozen=True)
class Price:
    """A price that was worked out elsewhere."""

    cost_usd: float
    details: dict[str, float]
    rule: str = "openai/gpt-4o"
    table_date: str = "2026-11-01"


@dataclass(frozen=True)
class Result:
    before: Shown
    after: Shown
    span: Span
    shaped: Edit

    @property
    def attributes(self) -> Attributes:
        return plain_attributes(self.span.attributes)


def shaped(
    span: Span,
    facts: Facts | None = None,
    extra: Extra = NO_EXTRA,
    *,
    scope: str = "acme.agent",
    version: str = "1.0",
    resource: spans.Attributes | None = None,
) -> Result:
    around = Resource(attributes=spans.key_values({"service.name": "agent"} if resource is None else resource))
    inside = InstrumentationScope(name=scope, version=version)
    shallow = shallow_pb2.Span.FromString(span.SerializeToString())
    view = SpanView(
        shallow,
        shallow_pb2.InstrumentationScope.FromString(inside.SerializeToString()),
        shallow_pb2.Resource.FromString(around.SerializeToString()),
        AttributeMemo(),
    )
    result = shape(shallow, view, facts or Facts("semconv"), extra)
    after = Span.FromString(shallow.SerializeToString())
    return Result(show(span, inside, around, PRICES), show(after, inside, around, PRICES), after, result)


def call(**changes: object) -> Facts:
    """The facts of an answered call of gpt-4o."""
    facts = Facts("semconv", kind=Kind.GENERATION, is_call=True, model_answered="gpt-4o", usage=Usage(input=100, output=20))
    for name, value in changes.items():
        assert hasattr(facts, name)
        setattr(facts, name, value)
    return facts


def content(text: str, *keys: str, native: bool = False) -> Content:
    return Content(text, keys, native)

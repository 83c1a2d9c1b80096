"""Semantic Kernel: the conventions before 1.37; content mostly in logs; its own loop around calls and tools."""

from __future__ import annotations

from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.semconv import name_by_span
from sidecar.enrich.facts import Kind
from sidecar.enrich.view import SpanView


def _kind(view: SpanView) -> Kind | None:
    return Kind.CHAIN if view.text("gen_ai.operation.name") is None else None


DIALECT = Dialect("semantic-kernel", kind=_kind, refine=name_by_span)

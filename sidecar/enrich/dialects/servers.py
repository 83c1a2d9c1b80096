"""Inference servers (vLLM, SGLang): one span a request, with ``gen_ai.latency.*``, often without the model's name."""

from __future__ import annotations

from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.facts import Kind
from sidecar.enrich.view import SpanView

_COUNTED = ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens")


def _kind(view: SpanView) -> Kind | None:
    # The engine's other spans (prefill, decode, scheduling) have times but no tokens.
    return Kind.GENERATION if any(key in view for key in _COUNTED) else Kind.SPAN


DIALECT = Dialect("inference-server", kind=_kind)

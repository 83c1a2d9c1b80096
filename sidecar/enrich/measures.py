"""What one span counts for in the metrics of agents: its measure. Pure.

Owns which spans count and as what. Calls count where money does (``Facts.is_call``), so that a call seen twice, or a parent that adds up
its calls, counts once; chains, plain and infrastructure spans only carry signals. It must not know whose span it is.
"""

from __future__ import annotations

import math

from msgspec.structs import astuple, replace

from sidecar.enrich.facts import Facts, Kind, Usage
from sidecar.enrich.model_facts import Known
from sidecar.enrich.orchestration import Signal, SignalKind
from sidecar.trace.measure import Measure
from sidecar.wire.shallow_pb2 import Span

TOKEN_TYPES = Usage.__struct_fields__
"""Labels of the token counts of a measure, in their order."""
OPERATIONS = frozenset((Kind.AGENT, Kind.TOOL, Kind.RETRIEVER, Kind.EVALUATOR, Kind.GUARDRAIL))
"""Besides calls of models."""
_TOOL = Kind.TOOL
_NAMES = {kind: kind.value for kind in Kind}
"""A member's own ``value`` is found in Python, five times as slow."""


def measure_of(
    span: Span, facts: Facts, model: Known, price_usd: float | None, signals: tuple[Signal, ...], budgets: tuple[str, ...]
) -> Measure | None:
    """What a span counts for; None for what is neither an operation nor a sign of agents at work.

    ``price_usd`` is the call's cost by the table; the provider's own word wins. ``budgets`` are those of its model.
    """
    kind = facts.kind
    if facts.is_call:
        return _call(span, facts, model, price_usd, signals, budgets)
    if kind in OPERATIONS:
        is_tool = kind is _TOOL
        return Measure(
            span.trace_id,
            _NAMES[kind],
            duration_s=max(0, span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            error=facts.error.kind.value if facts.error is not None else "",
            signals=tuple([signal.kind.value for signal in signals]),
            confidence=_confidence(signals),
            input_bytes=_size(facts.input.text) if is_tool and facts.input is not None else 0,
            output_bytes=_size(facts.output.text) if is_tool and facts.output is not None else 0,
        )
    if signals:
        return Measure(span.trace_id, signals=tuple([signal.kind.value for signal in signals]), confidence=_confidence(signals))
    return None


def _call(span: Span, facts: Facts, model: Known, price_usd: float | None, signals: tuple[Signal, ...], budgets: tuple[str, ...]) -> Measure:
    usage, cost_usd = facts.usage, facts.cost_usd
    if cost_usd is None:
        cost_usd = price_usd
    duration_s = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    measure = Measure(
        span.trace_id,
        _NAMES[facts.kind],
        model.label,
        model.provider,
        duration_s if duration_s > 0 else 0.0,  # the clock may have gone backwards
        facts.time_to_first_token_s,
        () if usage is None else astuple(usage),
        cost_usd if cost_usd is not None and 0 < cost_usd < math.inf else 0.0,
        "" if facts.error is None else facts.error.kind.value,
    )
    if signals or budgets:
        return replace(measure, signals=tuple([signal.kind.value for signal in signals]), confidence=_confidence(signals), budgets=budgets)
    return measure


def _confidence(signals: tuple[Signal, ...]) -> float | None:
    """Of the last decision."""
    for signal in reversed(signals):
        if signal.kind is SignalKind.DECISION:
            return signal.confidence
    return None


def _size(text: str) -> int:
    """Bytes as UTF-8; a lone surrogate, which JSON can carry, counts three."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))

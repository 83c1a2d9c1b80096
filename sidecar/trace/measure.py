"""What one span counts for in the metrics of agents; it may wait in its trace until the agent is known. Values only.

Every text in it is a label: an enumeration's member, a known model or provider, or a name from a rule file. Nothing that a span says
as text gets here, because it would not have been masked.
"""

from __future__ import annotations

import msgspec

MEASURE_BYTES = 720
"""A measure: 128 for itself, four fractions of 24, two sizes of 28, the trace id 49, a tuple of signals 48, one of token counts 104 and eight counts of
28; labels are shared."""


class Measure(msgspec.Struct, frozen=True, gc=False):
    """One span of those that matter: a call of a model, a run of a tool or agent, or a sign of agents at work."""

    trace_id: bytes
    operation: str = ""
    """What was done, in Langfuse's terms: generation, tool, agent...; empty for a span that only carries signals."""
    model: str = ""
    """Of a call; else empty."""
    provider: str = ""
    duration_s: float = 0.0
    first_token_s: float | None = None
    tokens: tuple[int, ...] = ()
    """By type, in the order of ``enrich.facts.Usage``; empty when the call does not say."""
    cost_usd: float = 0.0
    """0 when there is no price."""
    error: str = ""
    """Kind of the failure; empty for success."""
    signals: tuple[str, ...] = ()
    confidence: float | None = None
    """Of a decision, 0 to 1."""
    input_bytes: int = 0
    """Of a tool's input, as UTF-8; 0 for anything else."""
    output_bytes: int = 0
    budgets: tuple[str, ...] = ()
    """Names of the budgets of its model."""

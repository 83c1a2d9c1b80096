"""What enrichment notes of each span for the steps after masking. Values only."""

from __future__ import annotations

import msgspec

from sidecar.enrich.facts import Kind
from sidecar.trace.live import Call
from sidecar.trace.measure import Measure
from sidecar.wire.shallow_pb2 import Span

LLM_KINDS = frozenset(Kind) - {Kind.SPAN, Kind.INFRA, Kind.EVENT}
"""What makes a trace worth keeping for those who want LLM work only."""
CALL_KINDS = frozenset((Kind.GENERATION, Kind.EMBEDDING))
BOUNDARIES = frozenset((Kind.AGENT, Kind.TOOL, Kind.RETRIEVER, Kind.EVALUATOR, Kind.GUARDRAIL))
"""A call inside one of these is a call of its own, even if there is another call around."""

UNKNOWN = "unknown"
"""A label where nobody says: of an agent, a model, a provider."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What one span says of its trace's worth, to those who choose which traces are kept."""

    rule: str | None
    """The first keep rule that it meets, errors before all others."""
    agent: str | None
    """As the span names it: for comparing, never to be shown."""
    base: float
    """The base probability of its agent and service."""
    cost_usd: float
    tokens: int
    priority: float | None
    """``sampling.priority``."""
    label: str = UNKNOWN
    """The agent as a label of metrics, from agents.yaml alone."""


class Note(msgspec.Struct, frozen=True, gc=False):
    """One span of a batch, in the batch's order."""

    span: Span
    kind: Kind
    speaks_by: tuple[bytes, ...] = ()
    """How the keys begin, as UTF-8, by which it names an agent or says something of its trace: to be read after masking. Empty: it says nothing."""
    speaks_at: tuple[tuple[int, bytes], ...] = ()
    """Where those attributes should stand, as ``said.read_said`` takes it; empty when that is not known."""
    tags: tuple[str, ...] = ()
    """Tags that the operator gave its agent."""
    lacks_content: bool = False
    """A call whose input and output are not on the span: they may come as logs."""
    is_raw: bool = False
    """Its agent's name is to be tidied after masking."""
    measure: Measure | None = None
    """What it counts for in the metrics of agents; None: for nothing."""
    budget: str = ""
    """Name of its agent's budget."""
    kept: bool = True
    """False: the span filter took it out of the batch."""
    finding: Finding | None = None
    """None: nobody asked, or the span could not be read."""
    call: Call | None = None
    """A call that counts, of a trace whose root is not in the request."""

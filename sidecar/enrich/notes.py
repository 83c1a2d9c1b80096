"""What enrichment notes of each span for the steps after masking. Values only."""

from __future__ import annotations

from typing import NamedTuple

from sidecar.enrich.facts import Kind
from sidecar.wire.shallow_pb2 import Span

LLM_KINDS = frozenset(Kind) - {Kind.SPAN, Kind.INFRA, Kind.EVENT}
"""What makes a trace worth keeping for those who want LLM work only."""


class Note(NamedTuple):
    """One span of a batch, in the batch's order."""

    span: Span
    kind: Kind
    speaks: bool
    """It names an agent or says something of its trace, so that it is worth reading again after masking."""
    tags: tuple[str, ...] = ()
    """Tags that the operator gave its agent."""
    lacks_content: bool = False
    """A call whose input and output are not on the span: they may come as logs."""
    kept: bool = True
    """False: the span filter took it out of the batch."""

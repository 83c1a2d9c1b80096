"""What a dialect is: a name and the few rules in which a family of instrumentations differs from the conventions. Types only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.enrich.dialects.tokens import Counts
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView


@dataclass(frozen=True, slots=True)
class Dialect:
    """One family's own rules; everything else is read by the tables of ``keys``."""

    name: str
    kind: Callable[[SpanView], Kind | None] | None = None
    """Asked before any declaration on the span; None leaves it to them."""
    undeclared: Callable[[SpanView], Kind | None] | None = None
    """Asked when neither a declaration nor a key tells what the span is."""
    count: Callable[[SpanView, Counts], None] | None = None
    """Completes or corrects the token counts that the tables found."""
    refine: Callable[[SpanView, Facts], None] | None = None
    """Has the last word on everything."""
    trusts_ok: bool = True
    """A status OK means that a recorded exception was handled; else the exception means that the span failed."""
    inputs: tuple[str, ...] = ()
    """Sources of the input that are better than what Langfuse would show; see ``sources``."""
    outputs: tuple[str, ...] = ()

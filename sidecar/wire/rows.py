"""The row: what is stored, leased and sent. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NewRow:
    """The spans of one trace out of one request, as one gzip member of one OTLP request.

    Rows need no decoding to be sent: concatenated gzip members are one gzip stream (RFC 1952,
    section 2.2), and concatenated serialized requests are one merged request (protobuf encoding).
    """

    destination: str
    trace_id: bytes
    """16 bytes."""
    randomness: int
    """R of OpenTelemetry's consistent probability sampling, 56 bits."""
    priority: int
    """What sampling sheds last; 0 is shed first."""
    threshold: int
    """T that the row has passed, 56 bits; 0 keeps all."""
    spans: int
    raw_bytes: int
    """Size of the OTLP request before compression."""
    body: bytes = field(repr=False)
    """One gzip member."""
    received_ms: int
    """Wall clock, milliseconds."""
    seal_at_ms: int | None = None
    """When a settling row must be sealed; None: born sealed."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it lies in the buffer, leased by the forwarder or shown to an operator."""

    id: int
    destination: str
    trace_id: bytes
    spans: int
    raw_bytes: int
    body: bytes = field(repr=False)
    received_ms: int
    ambiguous: bool = False
    """An earlier send of this row had no answer: it may have arrived."""

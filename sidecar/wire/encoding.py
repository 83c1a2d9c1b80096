"""The two encodings of OTLP over HTTP. Values only."""

from __future__ import annotations

from enum import Enum


class Encoding(Enum):
    """How a request's body is encoded; its answer uses the same (OTLP 1.11, "OTLP/HTTP Response")."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"

    @property
    def content_type(self) -> str:
        """The media type, without parameters."""
        return self.value

"""Spans that the Anthropic SDK itself makes (2.10 and later): usage without content, often beneath or beside an instrumentor's span of the same call."""

from __future__ import annotations

from sidecar.enrich.dialects.dialect import Dialect

NAME = "anthropic-sdk"
DIALECT = Dialect(NAME)

"""LiteLLM's callbacks ``otel`` and ``langfuse_otel``, and its proxy. Each call gives two spans; only the first has usage."""

from __future__ import annotations

import re
from collections.abc import Collection

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.openinference import DIALECT as OPENINFERENCE
from sidecar.enrich.dialects.tokens import Counts, counts_in
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.view import SpanView

MAX_REPR = 16 * 1024
_NUMBER = re.compile(r"'(\w+)': (\d{1,11})(?=[,}])")
_SESSION = re.compile(r"""['"](?:session_id|langfuse_session_id|trace_session_id)['"]: ['"]([^'"]{1,200})['"]""")
_USER = re.compile(r"""['"](?:user_id|langfuse_user_id|trace_user_id)['"]: ['"]([^'"]{1,200})['"]""")


def _raw(view: SpanView) -> Kind:
    return Kind.INFRA if any(view.has_prefix(prefix) for prefix in ("http.", "url.", "db.", "net.", "server.")) else Kind.SPAN


def _count(view: SpanView, counts: Counts) -> None:
    usage = view.text("metadata.usage_object")
    if usage is None or len(usage) > MAX_REPR:
        return
    # A Python repr. The numbers' names are those of the providers, whatever level they stand on.
    found = counts_in({name: int(number) for name, number in _NUMBER.findall(usage)})
    counts.cache_read = counts.cache_read if counts.cache_read is not None else found.cache_read
    counts.cache_write = counts.cache_write if counts.cache_write is not None else found.cache_write
    counts.cache_write_1h = counts.cache_write_1h if counts.cache_write_1h is not None else found.cache_write_1h
    counts.reasoning = counts.reasoning if counts.reasoning is not None else found.reasoning


def _refine(view: SpanView, facts: Facts) -> None:
    requester = view.text("metadata.requester_metadata")
    if requester is not None and len(requester) <= MAX_REPR:
        facts.session_id = facts.session_id or _found(_SESSION, requester)
        facts.user_id = facts.user_id or _found(_USER, requester)


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[1][: labels.MAX_ID] if match else None


DIALECT = Dialect("litellm", count=_count, refine=_refine)
LANGFUSE = Dialect("litellm-langfuse", refine=OPENINFERENCE.refine)
RAW = Dialect("litellm-raw", kind=_raw)
"""The provider's request and answer beneath the call: the same call, without usage."""


def dialect_of(keys: Collection[str]) -> Dialect:
    """Which of LiteLLM's kinds of span has such keys."""
    if "openinference.span.kind" in keys:
        return LANGFUSE
    if any(key.startswith(("litellm.", "gen_ai.", "metadata.user_api_key_")) for key in keys):
        return DIALECT
    return RAW

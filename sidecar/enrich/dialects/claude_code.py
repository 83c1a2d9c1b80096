"""Claude Code and the Claude Agent SDK: ``claude_code.*`` spans, whose keys have no prefix and mean something only on them."""

from __future__ import annotations

from sidecar.enrich.dialects import labels
from sidecar.enrich.dialects.dialect import Dialect
from sidecar.enrich.dialects.failures import MAX_MESSAGE, MAX_TYPE
from sidecar.enrich.dialects.tokens import Counts
from sidecar.enrich.facts import Error, ErrorKind, Facts, Kind
from sidecar.enrich.view import SpanView

_KINDS = {
    "interaction": Kind.AGENT,
    "llm_request": Kind.GENERATION,
    "tool": Kind.TOOL,
    "tool.execution": Kind.SPAN,
    "tool.blocked_on_user": Kind.SPAN,
    "hook": Kind.SPAN,
}
_BY_STATUS = {401: ErrorKind.AUTH, 403: ErrorKind.AUTH, 408: ErrorKind.TIMEOUT, 429: ErrorKind.RATE_LIMIT}
_REDACTED = "<REDACTED>"


def _kind(view: SpanView) -> Kind | None:
    return _KINDS.get(view.text("span.type") or view.name.removeprefix("claude_code."))


def _count(view: SpanView, counts: Counts) -> None:
    # As Anthropic counts: what was cached is not in the input.
    for name, key in (
        ("input", "input_tokens"),
        ("output", "output_tokens"),
        ("cache_read", "cache_read_tokens"),
        ("cache_write", "cache_creation_tokens"),
    ):
        number = view.int(key)
        if number is not None:
            setattr(counts, name, number)
    counts.exclusive = True


def _refine(view: SpanView, facts: Facts) -> None:
    facts.agent_id = facts.agent_id or labels.label(view, ("agent_id",))
    if facts.kind is Kind.AGENT:
        facts.agent_name = facts.agent_name or "claude-code"
    if facts.input is not None and facts.input.text == _REDACTED:
        facts.input = None
    if facts.error is None and view.bool("success") is False:
        said = (view.text("error") or "")[:MAX_MESSAGE]
        status = view.int("status_code")
        kind = _BY_STATUS.get(status, ErrorKind.SERVER if status >= 500 else ErrorKind.BAD_REQUEST) if status is not None else ErrorKind.OTHER
        facts.error = Error(kind, str(status)[:MAX_TYPE] if status is not None else "error", said)


DIALECT = Dialect(
    "claude-code",
    kind=_kind,
    count=_count,
    refine=_refine,
    inputs=("user_prompt", "new_context", "tool_input", "full_command"),
    outputs=("response.model_output",),
)

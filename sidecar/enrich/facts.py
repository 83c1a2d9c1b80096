"""What a span says, whatever wrote it. Values only.

A dialect reads facts; pricing, agents and the Langfuse shape use them and never look at a dialect's keys.
None means that the span does not say. The types are msgspec's structs, which are made in C; their fields can't form a cycle, so
the garbage collector need not look at them.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What a span is, in Langfuse's terms (`langfuse.observation.type`), and ``infra`` for what is no LLM work."""

    GENERATION = "generation"
    EMBEDDING = "embedding"
    AGENT = "agent"
    TOOL = "tool"
    RETRIEVER = "retriever"
    CHAIN = "chain"
    GUARDRAIL = "guardrail"
    EVALUATOR = "evaluator"
    EVENT = "event"
    SPAN = "span"
    INFRA = "infra"
    """HTTP, RPC, database, queue: shown as a plain span."""

    __hash__ = str.__hash__  # the enum's own is written in Python, ten times as slow, and every span's kind is looked up several times


class ErrorKind(StrEnum):
    """Why an operation failed. A metric label."""

    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    AUTH = "auth"
    SERVER = "server"
    CONTENT_FILTER = "content_filter"
    BAD_REQUEST = "bad_request"
    CANCELLED = "cancelled"
    OTHER = "other"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call in disjoint buckets: every token is in exactly one of them.

    ``total`` is their sum; an instrumentation's own total is not kept.
    """

    input: int = 0
    """Fresh input: neither read from a cache nor written to one, no audio."""
    output: int = 0
    """Visible output: no reasoning, no audio."""
    cache_read: int = 0
    cache_write: int = 0
    """Written to the cache for 5 minutes, or for a time that is not said."""
    cache_write_1h: int = 0
    reasoning: int = 0
    input_audio: int = 0
    output_audio: int = 0

    @property
    def total(self) -> int:
        return (
            self.input
            + self.output
            + self.cache_read
            + self.cache_write
            + self.cache_write_1h
            + self.reasoning
            + self.input_audio
            + self.output_audio
        )


class Content(msgspec.Struct, frozen=True, gc=False):
    """An input or output as found: its text, and what carried it.

    ``keys`` are the attribute keys (or ``event:<name>``) that hold it, so that it can be moved and not copied.
    ``native`` says that Langfuse's own mapping of this span shows it right already, so that nothing needs to be promoted.
    """

    text: str
    """JSON where the instrumentation gave structure, else plain text."""
    keys: tuple[str, ...]
    native: bool = False


class Error(msgspec.Struct, frozen=True, gc=False):
    """A failure: from the status, an exception event, or ``error.type``."""

    kind: ErrorKind
    type: str
    """Class or code as the instrumentation gave it, cleaned (no ``<class '...'>``), at most 128 characters."""
    message: str
    """May quote payloads; at most 4 KiB."""


class Facts(msgspec.Struct, gc=False):
    """Everything that later steps need to know of one span."""

    dialect: str
    """The dialect's short name; bounded."""
    kind: Kind = Kind.SPAN
    is_call: bool = False
    """A real call of a model, counted once: its usage is money. False for aggregating parents and for doubles of a call."""
    agent_name: str | None = None
    agent_id: str | None = None
    agent_version: str | None = None
    model_requested: str | None = None
    model_answered: str | None = None
    provider: str | None = None
    """As the instrumentation names it, framework names left out (langchain, strands-agents, crewai...)."""
    usage: Usage | None = None
    cost_usd: float | None = None
    """The provider's or instrumentation's own total; never 0 where 0 means unknown."""
    cost_details: dict[str, float] = {}
    service_tier: str | None = None
    input: Content | None = None
    output: Content | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    trace_name: str | None = None
    tags: tuple[str, ...] = ()
    prompt_name: str | None = None
    prompt_version: int | None = None
    time_to_first_token_s: float | None = None
    error: Error | None = None

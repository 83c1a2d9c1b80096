"""Model, tokens and cost of a span, so that Langfuse counts every call once and nothing else. Pure.

Owns ``langfuse.observation.{model.name,usage_details,cost_details}``. It must not price; it writes what it is given.

How the server (4.16) comes to numbers, and so what is written:

* It skips model, tokens and cost of every span whose ``gen_ai.operation.name`` is ``invoke_agent`` or ``agent_step``, even
  explicit ones. Where such a span is the call itself, the operation's name moves to metadata.
* ``usage_details`` is taken as it is, so its buckets are disjoint; without ``total`` the total is their sum.
* ``cost_details`` without ``total`` counts as nothing as soon as it has a key beside ``input`` and ``output``. So ``total`` is always there.
* A span with a known model, no tokens and no cost is tokenised by the server, whatever it is. So on a span that is no call
  empty ``usage_details`` are not enough: ``cost_details`` of 0 beside them stop both the counting and the tokenising.
* Any cost, even a 0 that means "unknown", stops the server from pricing; an explicit empty object lets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

import msgspec
from msgspec.structs import astuple

from sidecar.enrich.edit import Edit, encode_text, encode_utf8
from sidecar.enrich.facts import Facts, Kind, Usage
from sidecar.enrich.keys import COST, COST_SOURCE, METADATA, MODEL, OPERATION, USAGE
from sidecar.wire.attributes import encode_string

SKIPPED_OPERATIONS = frozenset({"invoke_agent", "agent_step"})
_CALL_KINDS = frozenset({Kind.GENERATION, Kind.EMBEDDING})
_NO_USAGE = encode_string(USAGE, "{}")
_NO_COST = encode_string(COST, '{"total":0}')
_UNKNOWN_COST = encode_string(COST, "{}")
_encode = msgspec.json.Encoder().encode
"""A quarter of what the module's function costs."""
_OTHER_KEYS = (
    b"input_cached_tokens",
    b"input_cache_creation",
    b"input_cache_creation_1h",
    b"output_reasoning_tokens",
    b"input_audio_tokens",
    b"output_audio_tokens",
)
"""Of the fields of ``Usage`` after input and output, in its order."""
_PROVIDER_COST = encode_string(COST_SOURCE, "provider")


class Cost(Protocol):
    """A price that was worked out for a call: USD by the keys of ``usage_json``."""

    @property
    def cost_usd(self) -> float: ...
    @property
    def details(self) -> Mapping[str, float]: ...
    @property
    def rule(self) -> str: ...
    @property
    def table_date(self) -> str: ...


def usage_json(usage: Usage) -> bytes:
    """Disjoint buckets under the keys that most rows of Langfuse's own price table have.

    Of 234 rows 157 price ``input_cached_tokens`` (142 ``input_cache_read``), 43 ``input_cache_creation``, 25
    ``input_cache_creation_1h``, 117 ``output_reasoning_tokens``; the audio keys are those that the server itself writes.
    """
    text = b'{"input":%d,"output":%d' % (usage.input, usage.output)
    counts = astuple(usage)
    if any(counts[2:]):
        text += b"".join([b',"%b":%d' % (key, count) for key, count in zip(_OTHER_KEYS, counts[2:], strict=True) if count])
    return text + b"}"


def shape_usage(edit: Edit, facts: Facts, priced: Cost | None) -> None:
    """Write what the span counts for: all of a call, nothing of anything else."""
    if not facts.is_call:
        _count_nothing(edit, facts)
        return
    view = edit.view
    operation = view.text(OPERATION)
    if operation in SKIPPED_OPERATIONS:
        edit.put(f"{METADATA}.{OPERATION}", operation or "")
        edit.remove(OPERATION)
    _shape_model(edit, facts)
    if facts.usage is not None and not (edit.traits.is_explicit and _is_object(view.text(USAGE))):
        edit.put_raw(USAGE, encode_utf8(USAGE, usage_json(facts.usage)))
    _shape_cost(edit, facts, priced)


def _shape_model(edit: Edit, facts: Facts) -> None:
    model = facts.model_answered or facts.model_requested
    if model and not edit.has(MODEL) and edit.view.first(*edit.traits.models) != model:
        edit.put(MODEL, model)


def _shape_cost(edit: Edit, facts: Facts, priced: Cost | None) -> None:
    explicit = edit.view.text(COST) if edit.traits.is_explicit else None
    if explicit is not None and _is_object(explicit):
        _complete(edit, explicit)
    elif facts.cost_usd is not None:
        _write_cost(edit, facts.cost_details, facts.cost_usd)
        edit.put_raw(COST_SOURCE, _PROVIDER_COST)
    elif priced is not None:
        _write_cost(edit, priced.details, priced.cost_usd)
        edit.put_raw(COST_SOURCE, _table_source(priced.table_date, priced.rule))
    elif facts.error is not None and facts.usage is None:
        edit.put_raw(COST, _NO_COST)  # a call that failed: the server would tokenise what it was asked
    elif edit.traits.has_cost:
        edit.put_raw(COST, _UNKNOWN_COST)


@lru_cache(maxsize=256)  # 256 x below 1 KB: a rule is the table's or an operator's, of bounded names
def _table_source(table_date: str, rule: str) -> bytes:
    return encode_text(COST_SOURCE, f"price table of {table_date}: {rule}")


def _write_cost(edit: Edit, details: Mapping[str, float], total: float) -> None:
    edit.put_raw(COST, encode_utf8(COST, _encode({**details, "total": total})))


def _is_object(text: str | None) -> bool:
    return text is not None and text.lstrip()[:1] == "{"


def _complete(edit: Edit, explicit: str) -> None:
    """An explicit cost gets the total without which the server ignores it; nothing in it changes."""
    try:
        details = msgspec.json.decode(explicit)
    except (msgspec.DecodeError, RecursionError):
        return
    numbers = [value for value in details.values() if isinstance(value, int | float) and not isinstance(value, bool)]
    if details.get("total") is None and numbers and not details.keys() <= {"input", "output"}:
        _write_cost(edit, details, round(sum(numbers), 12))


def _count_nothing(edit: Edit, facts: Facts) -> None:
    """A parent that adds its children up, or the second record of a call, must not count.

    Explicit details stay, unless the span is shown as a call and known to be a double of one: they move to metadata then.
    """
    view = edit.view
    if not edit.traits.is_explicit and not edit.traits.is_counted:
        return
    if view.text(OPERATION) in SKIPPED_OPERATIONS:
        return
    explicit = (USAGE in view, COST in view)
    if any(explicit) and facts.kind not in _CALL_KINDS:
        return
    for key, is_there in zip((USAGE, COST), explicit, strict=True):
        if is_there:
            edit.put(f"{METADATA}.{key.rpartition('.')[2]}", view.text(key) or "{}")
    if any(explicit) or edit.traits.is_counted:
        edit.put_raw(USAGE, _NO_USAGE)
        edit.put_raw(COST, _NO_COST)

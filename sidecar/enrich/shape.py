"""A span as Langfuse shows it right: the facts written where the server looks first. Pure.

Owns the order of the steps and the small ones: type, names, identity, errors, times. It must not price, mask or cut, and
nothing that an agent said to Langfuse itself (``langfuse.*``) is overwritten. Expects a mended span and a view of it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sidecar.enrich import keys
from sidecar.enrich.content_shape import shape_content
from sidecar.enrich.edit import Edit
from sidecar.enrich.facts import Error, Facts, Kind
from sidecar.enrich.media import count_binary
from sidecar.enrich.metadata_shape import keep
from sidecar.enrich.plain import plain_entries
from sidecar.enrich.sdk_metadata import MAX_TRACE_NAME, mend_explicit
from sidecar.enrich.times import iso
from sidecar.enrich.usage_shape import Cost, shape_usage
from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import encode_string
from sidecar.wire.shallow_pb2 import Span

_TYPE_OF = {kind: encode_string(keys.TYPE, "span" if kind is Kind.INFRA else kind.value) for kind in Kind}
_ERROR = encode_string(keys.LEVEL, "ERROR")
_STATUS_ERROR = 2
_CALL_KINDS = frozenset({Kind.GENERATION, Kind.EMBEDDING})
_NS_PER_S = 1_000_000_000
_MAX_WAIT_S = 86_400.0
"""A first token later than a day after the start is no measurement."""


class Extra(msgspec.Struct, frozen=True, gc=False):
    """What others know of a span."""

    priced: Cost | None = None
    attributes: tuple[Mapping[str, bytes], ...] = ()
    """Model, agent, signals, resource, by full key, as ``edit.encode_all`` makes them; each is added unless the span has it."""


NO_EXTRA = Extra()


def shape(span: Span, view: SpanView, facts: Facts, extra: Extra = NO_EXTRA) -> Edit:
    """Change the span in place, and return what was changed.

    ``view`` must have been made of the span and shows what it was. Raises nothing on a mended span.
    """
    edit = Edit(view)
    mend_explicit(edit)
    if not edit.has(keys.TYPE):
        edit.put_raw(keys.TYPE, _TYPE_OF[facts.kind])
    shape_usage(edit, facts, extra.priced)
    shape_content(edit, span, facts)
    _shape_identity(edit, facts)
    _shape_names(edit, facts)
    if facts.error is not None:
        _shape_error(edit, span, facts.error)
    if facts.kind in _CALL_KINDS:
        _shape_call(edit, facts)
    keep(edit, span)
    for attributes in extra.attributes:
        edit.fill(attributes)
    if view.odd:
        for odd, plain in plain_entries(view.odd):
            edit.replace_raw(odd, plain)
        edit.media = sum(count_binary(value) for _, _, value in view.odd)
    edit.apply(span)
    return edit


def _shape_identity(edit: Edit, facts: Facts) -> None:
    """User, session, trace name and tags under the keys that the server reads, unless it finds them already."""
    traits = edit.traits
    if facts.user_id and not traits.has_user:
        edit.put(keys.USER_ID, facts.user_id)
    if facts.session_id and not traits.has_session and edit.view.first(*keys.SESSIONS) != facts.session_id:
        edit.put(keys.SESSION_ID, facts.session_id)
    if facts.trace_name and not traits.has_trace_name:
        edit.put(keys.TRACE_NAME, facts.trace_name[:MAX_TRACE_NAME])
    if facts.tags and not traits.has_tags:
        edit.put(keys.TRACE_TAGS, msgspec.json.encode(facts.tags).decode())  # a single tag with a comma would be split


def _shape_names(edit: Edit, facts: Facts) -> None:
    """The server names an observation after ``gen_ai.tool.name``: right for a tool's run, wrong for the call that asked for it."""
    view = edit.view
    tool = view.text(keys.TOOL_NAME) if edit.traits.has_tool else None
    if facts.kind is Kind.TOOL:
        if facts.tool_name and tool is None and facts.tool_name != view.name and view.keys.isdisjoint(keys.NAMES_BEFORE_THE_SPAN):
            edit.put(keys.TOOL_NAME, facts.tool_name)
    elif tool is not None and facts.kind in _CALL_KINDS:
        edit.put(f"{keys.METADATA}.{keys.TOOL_NAME}", tool)
        edit.remove(keys.TOOL_NAME)


def _shape_error(edit: Edit, span: Span, error: Error) -> None:
    """The server reads the status only: an exception event, or ``error.type`` on a span without one, would go unseen.

    Whether a recorded exception is a failure is decided where the facts are read.
    """
    if span.status.code != _STATUS_ERROR and not edit.has(keys.LEVEL):
        edit.put_raw(keys.LEVEL, _ERROR)
    if not span.status.message and not edit.has(keys.STATUS_MESSAGE):
        text = f"{error.type}: {error.message}" if error.message and error.type and error.type not in error.message else error.message or error.type
        span.status.message = text.encode(errors="replace")


def _shape_call(edit: Edit, facts: Facts) -> None:
    """The time of the first token, and the prompt: linked only by a name and a whole number together, and only on a generation."""
    wait_s = facts.time_to_first_token_s
    if wait_s is not None and 0 <= wait_s <= _MAX_WAIT_S and not edit.has(keys.COMPLETION_START):
        edit.put(keys.COMPLETION_START, iso(edit.view.start_ns + round(wait_s * _NS_PER_S)))
    if facts.kind is not Kind.GENERATION or not facts.prompt_name or facts.prompt_version is None:
        return
    if not any(edit.has_any(pair) for pair in keys.PROMPT_ALIASES):
        edit.put(keys.PROMPT_NAME, facts.prompt_name)
        edit.put_int(keys.PROMPT_VERSION, facts.prompt_version)

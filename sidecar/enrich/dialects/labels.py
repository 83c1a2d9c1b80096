"""Names from outside, made fit for use: bounded, without quotes, ids and counters. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from sidecar.enrich.dialects.keys import FRAMEWORKS
from sidecar.enrich.view import SpanView

MAX_NAME = 256
"""Characters of a model's, agent's, tool's or prompt's name."""
MAX_ID = 1000
"""Characters of a user's or session's id: longer than any real one, so that two of them never become one by cutting."""
MAX_TAGS = 50
MAX_LIST = 16 * 1024
"""Characters of a list of tags that are read."""
INTERNAL_TAGS = ("seq:step:", "graph:step:", "map:key:", "langsmith:", "langgraph:")
"""What LangChain tags its own runs with."""

_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_NOISE = re.compile(rf"[\s_:/.#@-]*(?:{_UUID}.*|(?<![0-9A-Za-z])[0-9a-f]{{16,}}|(?<![0-9A-Za-z])\d{{6,}}|#\d+|\(\d+\)|\[\d+\])$", re.DOTALL)
_TAIL = re.compile(rf"[\s_:/.#@-]*{_UUID}.*$", re.DOTALL)
_SUSPECT = re.compile(r"[0-9a-fA-F]{6}|[#([]")
"""Asked first: it is ten times faster than the others."""
_ONLY_ID = re.compile(rf"(?:{_UUID}|[0-9a-f]{{16,}}|\d+)")


def unquoted(text: str) -> str:
    """Without the quotes of a string that was JSON-encoded once more than others."""
    return text[1:-1] if len(text) > 1 and text[0] == '"' == text[-1] else text


def label(view: SpanView, keys: Iterable[str], limit: int = MAX_NAME) -> str | None:
    """The first of several values that is a string or an integer and not empty, as text of at most ``limit`` characters."""
    for key in keys:
        value = view.get(key)
        if value.__class__ is str:
            text = value.strip()
            if text and text[0] == '"':
                text = unquoted(text)
            if text:
                return text[:limit]
        elif value.__class__ is int:
            return str(value)
    return None


def identity(view: SpanView, keys: Iterable[str]) -> str | None:
    """As ``label``, for the id of a user or a session."""
    return label(view, keys, MAX_ID)


def agent_label(view: SpanView, keys: Iterable[str]) -> str | None:
    """As ``label``, for an agent's name."""
    return agent(label(view, keys))


def agent(name: str | None) -> str | None:
    """An agent's name without a uuid at its end; None when it is nothing but a uuid, hash or counter.

    Other ids and counters are taken off after masking: half of a secret no longer looks like one, and nothing but a uuid is shaped like a uuid.
    """
    if not name:
        return None
    name = name[:MAX_NAME]
    if not _SUSPECT.search(name):
        return None if name.isdigit() else name
    if _ONLY_ID.fullmatch(name) or not _NOISE.sub("", name).strip():
        return None
    return _TAIL.sub("", name).strip() or None


def provider(view: SpanView, keys: Iterable[str]) -> str | None:
    """The first name that is no framework's."""
    for key in keys:
        name = view.text(key)
        if name is not None:
            name = (unquoted(name) if name[0] == '"' else name).strip()
            if name and name.lower() not in FRAMEWORKS:
                return name[:MAX_NAME]
    return None


def list_in(text: str) -> list[object]:
    """The items of a JSON list, or the words between commas."""
    if text.startswith("[") and len(text) <= MAX_LIST:
        try:
            tree = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            return []
        return tree if isinstance(tree, list) else []
    return list(text[:MAX_LIST].split(","))

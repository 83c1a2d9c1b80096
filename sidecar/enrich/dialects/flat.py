"""Messages that were flattened into one attribute a field (``gen_ai.prompt.0.role``) back into JSON. Pure."""

from __future__ import annotations

import copy
from typing import TypeAlias

import msgspec

from sidecar.enrich.view import SpanView

MAX_PARTS = 4096
"""Attributes of one list; the OpenTelemetry SDKs keep 128 unless told otherwise."""
MAX_DEPTH = 12

Tree: TypeAlias = "dict[str, Tree | object]"


def rebuild(view: SpanView, prefix: str, layer: str = "") -> str:
    """JSON of what the keys ``prefix.<index>.<path>`` hold, empty when there are none.

    Beside items nothing else counts: ``gen_ai.prompt.name`` is no message. ``layer`` is a level that every item has and that says nothing (OpenInference's ``message``): it is left out.
    """
    root: Tree = {}
    for count, (key, value) in enumerate(view.items_with_prefix(prefix + ".")):
        if count >= MAX_PARTS:
            break
        path = key[len(prefix) + 1 :].split(".", MAX_DEPTH)
        if len(path) > 1 and path[1] == layer:
            del path[1]
        # The tree grows into maps, and a map is the view's own.
        _put(root, path, copy.deepcopy(value) if isinstance(value, dict) else value)
    items = {part: inner for part, inner in root.items() if part.isdecimal()}
    return msgspec.json.encode(_lists(items or root), enc_hook=str).decode() if root else ""


def _put(root: Tree, path: list[str], value: object) -> None:
    place = root
    for part in path[:-1]:
        inner = place.get(part)
        if not isinstance(inner, dict):
            inner = place[part] = {}
        place = inner
    place.setdefault(path[-1], value)


def _lists(tree: object) -> object:
    """Dictionaries whose keys are all indices become lists."""
    if not isinstance(tree, dict):
        return tree
    if tree and all(part.isdecimal() and len(part) < 9 for part in tree):
        return [_lists(tree[part]) for part in sorted(tree, key=int)]
    return {part: _lists(inner) for part, inner in tree.items()}

"""What is to be replaced in a text, and the text with it replaced. Pure.

Owns the splice: what overlaps becomes one, and a replacement is escaped for where it stands. It must not know what hits are for, nor how JSON is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sidecar.mask.detector import Hit
from sidecar.mask.escapes import escape
from sidecar.mask.json_path import Path
from sidecar.mask.merge import union
from sidecar.mask.turns import Turns, at_once

Rewrite = Callable[[bytes, Hit | None, Path], bytes]
"""(text, hit, path) -> what the hit becomes, unescaped. Called once for each replacement. Without a hit: what ``text`` becomes because of its key."""

TURN_EDITS = 512
"""Replacements between pauses: two milliseconds."""


class Edit(NamedTuple):
    """Bytes ``start`` to ``end`` are to be replaced by what ``hit`` in ``source`` becomes."""

    start: int
    end: int
    source: bytes
    hit: Hit | None
    path: Path
    escapes: int = 0  # how often the replacement is escaped: once for each literal around it
    quoted: bool = False  # whether it becomes a literal of its own first: in place of numbers and whole values


def apply(text: bytes, edits: Sequence[Edit], rewrite: Rewrite) -> bytes:
    """The text with every edit made; ``text`` itself when there are none."""
    return at_once(apply_in_turns(text, edits, rewrite)) if edits else text


def apply_in_turns(text: bytes, edits: Sequence[Edit], rewrite: Rewrite) -> Turns[bytes]:
    """The same with pauses."""
    if not edits:
        return text
    parts: list[bytes] = []
    end = 0
    for number, edit in enumerate(disjoint(edits), 1):
        replacement = rewrite(edit.source, edit.hit, edit.path)
        if edit.quoted:
            replacement = b'"' + escape(replacement) + b'"'
        for _ in range(edit.escapes):
            replacement = escape(replacement)
        parts += (text[end : edit.start], replacement)
        end = edit.end
        if number % TURN_EDITS == 0:
            yield
    parts.append(text[end:])
    return b"".join(parts)


def disjoint(edits: Sequence[Edit]) -> list[Edit]:
    """Edits in order; of those that overlap the longest one stands for all, over the bytes of all."""
    return [edits[index]._replace(start=start, end=end) for start, end, index in union([(edit.start, edit.end) for edit in edits])]


def apart(weak: Sequence[Edit], edits: Sequence[Edit]) -> list[Edit]:
    """Those of ``weak`` that overlap none of ``edits``."""
    taken = disjoint(edits)
    ends = [edit.end for edit in taken]
    return [edit for edit in weak if (at := bisect_right(ends, edit.start)) == len(taken) or taken[at].start >= edit.end]

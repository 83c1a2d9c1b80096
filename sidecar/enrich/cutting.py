"""Cutting a text to a number of bytes so that it stays what it is: JSON stays JSON, text stays UTF-8. Pure.

Owns the rules: of a list of messages the oldest go and the newest stay whole; of other JSON the longest strings are
shortened, everything else stays as it was written; plain text keeps its beginning. It must not know of spans.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

Json: TypeAlias = "str | bool | int | float | list[Json] | dict[str, Json] | None"

MIN_LIMIT = 128
"""Bytes below which nothing is cut: a mark must fit."""
MAX_JSON_CHARS = 4 * 1024 * 1024
"""A longer text is not parsed (2 to 10 ms a MiB, in which nothing else runs) and becomes a JSON string of its beginning."""
_MARK_BYTES = 40
"""Room for ``[cut 18446744073709551615 bytes]`` and the like."""
_MIN_STRING = 16
_MESSAGE_BYTES = 128
"""Room for the message that stands for those left out."""
_MESSAGE_LEVELS = 4
"""How deep messages are looked for: ``{"input": {"messages": [...]}}`` and ``[[...]]`` occur."""
_MESSAGE_KEYS = frozenset({"role", "parts", "kwargs", "author", "event.name"})
_SPACE = re.compile(r"[ \t\n\r]*")
_LITERAL = re.compile(r'"((?:[^"\\]++|\\.)*+)"([ \t\n\r]*:)?')
"""A string of JSON; the second group says that it is a key."""
_WHOLE_ESCAPES = re.compile(r"(?:[^\\]++|\\u[0-9a-fA-F]{4}|\\[^u])*+")
_HALF_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_DECODER = json.JSONDecoder()


def size(text: str) -> int:
    """Bytes of a text as UTF-8; a lone surrogate counts three."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def cut_text(text: str, max_bytes: int) -> str:
    """A text of at most ``max_bytes`` (128 or more): itself if it fits, else cut by the rule of its kind, with a mark.

    Raises nothing. Linear in the text.
    """
    before = size(text)
    if before <= max_bytes:
        return text
    head = text[:64].lstrip()[:1]
    if head and head in '{["' and (shorter := _cut_json(text, max_bytes)) is not None:
        return shorter
    return _cut_plain(text, max_bytes)


def _cut_plain(text: str, max_bytes: int) -> str:
    kept = text.encode(errors="replace")[: max_bytes - _MARK_BYTES].decode(errors="ignore")
    return kept + mark(size(text) - size(kept))


def mark(removed: int) -> str:
    """What stands where ``removed`` bytes were; ASCII without quotes, so that it can stand in any string."""
    return f"[cut {removed} bytes]"


def _cut_json(text: str, max_bytes: int) -> str | None:
    """None when the text is no JSON."""
    if len(text) > MAX_JSON_CHARS:
        return _as_string(text, max_bytes)
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    messages = _messages(value, text, _start(text, 0), _MESSAGE_LEVELS)
    if messages is not None:
        shorter = _newest(text, messages, max_bytes)
        if shorter is not None:
            return shorter
    return _shorten_strings(text, max_bytes) or _as_string(text, max_bytes)


def _as_string(text: str, max_bytes: int) -> str:
    """The beginning of a text as a JSON string: for JSON of many small parts, such as a matrix."""
    quoted = json.dumps(text[: max_bytes - _MARK_BYTES], ensure_ascii=False)[1:-1]
    kept = _whole(quoted.encode(errors="replace")[: max_bytes - _MARK_BYTES - 2].decode(errors="ignore"))
    return f'"{kept}{mark(size(text) - size(kept))}"'


class _Messages(NamedTuple):
    """A list of messages inside a text."""

    start: int
    end: int
    elements: list[tuple[int, int]]
    has_parts: bool


def _messages(value: Json, text: str, start: int, levels: int) -> _Messages | None:
    """The largest list of messages at or near the top of a JSON text, of which ``value`` is what begins at ``start``."""
    if levels == 0:
        return None
    if isinstance(value, list):
        if _are_messages(value):
            spans, end = _elements(text, start)
            last = value[-1]
            return _Messages(start, end, spans, isinstance(last, dict) and "parts" in last)
        if len(value) == 1 and isinstance(value[0], list | dict):
            return _messages(value[0], text, _start(text, start + 1), levels - 1)
        return None
    if not isinstance(value, dict) or not any(isinstance(item, list | dict) for item in value.values()):
        return None
    found = [_messages(item, text, at, levels - 1) for item, at in _members(text, start) if isinstance(item, list | dict)]
    return max((each for each in found if each is not None), key=lambda each: each.end - each.start, default=None)


def _are_messages(items: list[Json]) -> bool:
    return len(items) > 1 and all(
        isinstance(item, dict) and (not _MESSAGE_KEYS.isdisjoint(item) or ("type" in item and "content" in item)) for item in items
    )


def _start(text: str, at: int) -> int:
    """Where the next token begins."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _elements(text: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """Where each element of the array at ``start`` begins and ends, and where the array ends. The text is valid JSON."""
    spans: list[tuple[int, int]] = []
    at = _start(text, start + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        spans.append((at, end))
        at = _start(text, end)
        if text[at] == ",":
            at = _start(text, at + 1)
    return spans, at + 1


def _members(text: str, start: int) -> Iterable[tuple[Json, int]]:
    """Each value of the object at ``start`` and where it begins. The text is valid JSON."""
    at = _start(text, start + 1)
    while text[at] != "}":
        _, end = _DECODER.raw_decode(text, at)
        value_at = _start(text, _start(text, end) + 1)
        value, end = _DECODER.raw_decode(text, value_at)
        yield value, value_at
        at = _start(text, end)
        if text[at] == ",":
            at = _start(text, at + 1)


def _newest(text: str, messages: _Messages, max_bytes: int) -> str | None:
    """The text with the oldest messages left out. None where what surrounds them takes the room."""
    before, after = text[: messages.start], text[messages.end :]
    room = max_bytes - size(before) - size(after) - _MESSAGE_BYTES
    if room < max_bytes // 2:
        return None
    kept: list[str] = []
    for start, end in reversed(messages.elements):
        element = text[start:end]
        needed = size(element) + 1
        if needed > room:
            if not kept:
                shorter = _shorten_strings(element, room)
                if shorter is None:
                    return None
                kept.append(shorter)
            break
        room -= needed
        kept.append(element)
    left_out = messages.elements[: len(messages.elements) - len(kept)]
    if left_out:
        kept.append(_stand_in(len(left_out), size(text[left_out[0][0] : left_out[-1][1]]), messages.has_parts))
    return f"{before}[{','.join(reversed(kept))}]{after}"


def _stand_in(count: int, removed: int, has_parts: bool) -> str:
    note = f"[cut {count} older messages, {removed} bytes]"
    if has_parts:
        return f'{{"role":"system","parts":[{{"type":"text","content":"{note}"}}]}}'
    return f'{{"role":"system","content":"{note}"}}'


def _shorten_strings(text: str, max_bytes: int) -> str | None:
    """The JSON with its longest strings shortened to the same length. None where that can't be enough."""
    excess = size(text) - max_bytes
    if excess <= 0:
        return text
    worth_it = _MIN_STRING + _MARK_BYTES
    found = [(size(each[1]), *each.span(1)) for each in _LITERAL.finditer(text) if each.end(1) - each.start(1) > worth_it and each[2] is None]
    found.sort(reverse=True)
    cap = _cap([length for length, _, _ in found], excess)
    if cap is None:
        return None
    parts: list[str] = []
    done = 0
    for length, start, end in sorted((each for each in found if each[0] > cap + _MARK_BYTES), key=lambda each: each[1]):
        kept = _whole(text[start:end].encode(errors="surrogatepass")[:cap].decode(errors="ignore"))
        parts += (text[done:start], kept, mark(length - size(kept)))
        done = end
    parts.append(text[done:])
    return "".join(parts)


def _cap(lengths: list[int], excess: int) -> int | None:
    """To how many bytes the longest strings (falling) must be cut, marks included, to save ``excess``."""
    total = 0
    for count, length in enumerate(lengths, start=1):
        total += length
        cap = (total - excess) // count - _MARK_BYTES
        following = lengths[count] if count < len(lengths) else 0
        if cap >= max(_MIN_STRING, following - _MARK_BYTES):
            return cap
    return None


def _whole(literal: str) -> str:
    """The inside of a JSON string without an escape that was cut through, or half of a surrogate pair."""
    found = _WHOLE_ESCAPES.match(literal)
    return _HALF_PAIR.sub(r"\1", found[0] if found else "")

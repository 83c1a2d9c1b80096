"""Context words: whether one of a detector's words stands in the text before a match or in its key. Pure.

Owns how words are compared, and what of a text is read for them. It must not know what was matched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ALONE_MAX = 4
"""Words of up to this many bytes, and those with a space, must stand alone: `sin` is no word of `since`, `tax id` none of `tax ideas`.

Others may be the beginning of a compound: `steuer` of `Steuernummer`. None begins inside a word, which also makes the search fast: it looks at word starts only.
"""

REMEMBERED = 4096
"""Places whose context is kept while one text is searched: about 200 bytes each, 0.8 MiB."""

_HUMP = re.compile(rb"[A-Z](?<=[a-z][A-Z])")  # begins with a class: `re` skips to capitals
_SEPARATORS = bytes.maketrans(b"_-./[]\"'\n\t", b"          ")


def readable(context: bytes) -> bytes:
    """The text as words: humps of camelCase and separators become spaces, all in lower case, a space before. `userSsn_2` is ` user ssn 2`."""
    return b" " + _HUMP.sub(rb" \g<0>", context).translate(_SEPARATORS).lower()


class Context:
    """What stands before places of one text, and in its key, as words. Several detectors ask about the same place, so the last answers are kept."""

    __slots__ = ("_around", "_before", "_in_key", "_text", "_words_in")

    def __init__(self, text: bytes, words_in: bytes) -> None:
        self._text = text
        self._words_in = words_in
        self._around: bytes | None = None
        self._in_key: dict[re.Pattern[bytes], bool] = {}
        self._before: dict[tuple[int, int], bytes] = {}

    def has(self, words: re.Pattern[bytes], start: int, reach: int) -> bool:
        """Whether any of ``words`` stands in the key, or in the ``reach`` bytes before ``start``."""
        in_key = self._in_key.get(words)
        if in_key is None:
            if self._around is None:
                self._around = readable(self._words_in)
            in_key = self._in_key[words] = words.search(self._around) is not None
        return in_key or words.search(self._readable_before(start, reach)) is not None

    def _readable_before(self, start: int, reach: int) -> bytes:
        before = self._before.get((start, reach))
        if before is None:
            if len(self._before) >= REMEMBERED:
                self._before.clear()
            before = self._before[start, reach] = readable(self._text[max(0, start - reach) : start])
        return before


def word_pattern(words: Sequence[str]) -> re.Pattern[bytes]:
    """One expression that finds any of ``words`` in a `readable` text. A space in a word stands for any or no separator."""
    alone = [word for word in words if len(word.encode()) <= ALONE_MAX or " " in word]
    entries = [_expression(word) for word in words if word not in alone] + [f"{_expression(word)}s?(?![a-z])" for word in alone]
    return re.compile(f"[^a-z]{_tree(entries, 2)}".encode())


def _expression(word: str) -> str:
    return re.escape(word).replace("\\ ", " ?")


def _tree(entries: Sequence[str], depth: int) -> str:
    """Alternatives, grouped by their first letters: `re` tries one branch for each letter instead of one for each word."""
    groups: dict[str, list[str]] = {}
    for entry in entries:
        head = entry[:1] if depth and entry[:1].isalpha() else ""
        groups.setdefault(head, []).append(entry[len(head) :])
    return "(?:" + "|".join(head + _tree(rests, depth - 1) if head else "|".join(rests) for head, rests in groups.items()) + ")"

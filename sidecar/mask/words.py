"""Context words: whether one of a detector's words stands in the text before a match or in its key. Pure.

Owns how words are compared, and what of a text is read for them. It must not know what was matched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sidecar.mask.triggers import Trigger

ALONE_MAX = 4
"""Words of up to this many bytes, and those with a space, must stand alone: `sin` is no word of `since`, `tax id` none of `tax ideas`.

Others may be the beginning of a compound: `steuer` of `Steuernummer`. None begins inside a word, which also makes the search fast: it looks at word starts only.
"""

REMEMBERED = 4096
"""Places whose context is kept while one text is searched: about 200 bytes each, 0.8 MiB."""

_HUMP = re.compile(rb"[A-Z](?<=[a-z][A-Z])")  # begins with a class: `re` skips to capitals
_SEPARATOR = "[_./\\[\\]\"'\\n\\t -]?"
_SEPARATORS = bytes.maketrans(b"_-./[]\"'\n\t", b"          ")


def readable(context: bytes) -> bytes:
    """The text as words: humps of camelCase and separators become spaces, all in lower case, a space before. `userSsn_2` is ` user ssn 2`."""
    return b" " + _HUMP.sub(rb" \g<0>", context).translate(_SEPARATORS).lower()


class Context:
    """One text, what stands before its places, and what is said in its key, as words. Several detectors ask about the same place, so the last answers are kept."""

    __slots__ = ("_around", "_before", "_in_key", "_lower", "_words_in", "plain", "text")

    def __init__(self, text: bytes, words_in: bytes) -> None:
        self.text = text
        self.plain = text.isascii()
        self._words_in = words_in
        self._lower: bytes | None = None
        self._around: bytes | None = None
        self._in_key: dict[re.Pattern[bytes], bool] = {}
        self._before: dict[tuple[int, int], bytes] = {}

    @property
    def lower(self) -> bytes:
        """The text in lower case, ASCII only, so that offsets are the same."""
        if self._lower is None:
            self._lower = self.text.lower()
        return self._lower

    def has_in_key(self, words: re.Pattern[bytes]) -> bool:
        """Whether any of ``words`` stands in the key."""
        if not self._words_in:
            return False
        in_key = self._in_key.get(words)
        if in_key is None:
            if self._around is None:
                self._around = readable(self._words_in)
            in_key = self._in_key[words] = words.search(self._around) is not None
        return in_key

    def has(self, words: re.Pattern[bytes], start: int, reach: int) -> bool:
        """Whether any of ``words`` stands in the key, or in the ``reach`` bytes before ``start``."""
        return self.has_in_key(words) or words.search(self._readable_before(start, reach)) is not None

    def _readable_before(self, start: int, reach: int) -> bytes:
        before = self._before.get((start, reach))
        if before is None:
            if len(self._before) >= REMEMBERED:
                self._before.clear()
            before = self._before[start, reach] = readable(self.text[max(0, start - reach) : start])
        return before


def word_pattern(words: Sequence[str]) -> re.Pattern[bytes]:
    """One expression that finds any of ``words`` in a `readable` text. A space in a word stands for any or no separator."""
    alone = [word for word in words if len(word.encode()) <= ALONE_MAX or " " in word]
    entries = [_expression(word) for word in words if word not in alone] + [f"{_expression(word)}s?(?![a-z])" for word in alone]
    return re.compile(f"[^a-z]{tree(entries, 2)}".encode())


def word_triggers(words: Sequence[str]) -> list[Trigger]:
    """What fires in any text, as it is written, in which ``word_pattern`` finds one of ``words`` once it is readable; at times elsewhere too.

    Short words ask for an end: a hump (`ssnValue`) or what is no letter. Each match ends with its word or one byte later.
    """
    triggers: list[Trigger] = []
    humps: list[str] = []
    for word in words:
        raw = re.escape(word).replace("\\ ", _SEPARATOR)
        if len(word.encode()) > ALONE_MAX:
            triggers.append((raw, True))
            continue
        triggers.append((f"{raw}s?(?:[^a-z]|$)", True))
        if word[-1].isascii():
            humps.append("".join(f"[{letter.upper()}{letter}]" if "a" <= letter <= "z" else re.escape(letter) for letter in word))
    if humps:
        triggers.append((f"(?:{'|'.join(humps)})[Ss]?[A-Z]", False))
    return triggers


def _expression(word: str) -> str:
    return re.escape(word).replace("\\ ", " ?")


def tree(entries: Sequence[str], depth: int) -> str:
    """An expression for alternatives, grouped by their first letters: `re` tries one branch for each letter instead of one for each word."""
    groups: dict[str, list[str]] = {}
    for entry in entries:
        head = entry[:1] if depth and entry[:1].isalpha() else ""
        groups.setdefault(head, []).append(entry[len(head) :])
    return "(?:" + "|".join(head + tree(rests, depth - 1) if head else "|".join(rests) for head, rests in groups.items()) + ")"

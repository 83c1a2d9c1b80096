"""Builders of detectors for secrets: tokens with a prefix, and keys that only their provider's name gives away; what numbers need around them. Pure.

Owns what such formats have in common, so that a table has one short line for each provider. Examples are made here, from pieces, by
arithmetic: no text of this package looks like a live secret. It must not know any provider.

A prefix is enough to recognise a token that was cut, so most formats ask for a few characters after it and take as many as follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from sidecar.mask.detector import ALNUM, TOKEN, Detector, Pack, Validator
from sidecar.mask.validators import varied

HEX = "0-9a-f"
LOWER = "0-9a-z"
UPPER = "0-9A-Z"
ALL = "0-9A-Za-z"
URL = "0-9A-Za-z_-"
BASE64 = "0-9A-Za-z+/=_-"
DOTTED = "0-9A-Za-z._-"

NOWHERE: frozenset[int] = frozenset()
DISTINCT = 5
"""A prefix of so many bytes, or with a sign in it, means the token wherever it stands, even right after a letter (`\\n` in escaped text)."""


def klass(alphabet: str) -> str:
    """The character class, with a literal hyphen last, where it is no range."""
    ranges = re.findall(r"0-9|A-Z|a-z|a-f", alphabet)
    signs = re.sub(r"0-9|A-Z|a-z|a-f", "", alphabet)
    return "[" + "".join(ranges) + "".join(sorted(set(signs), key=lambda sign: (sign == "-", signs.index(sign)))) + "]"


START = "(?:^|[^0-9A-Za-z._-])"
"""What stands before a number, as the beginning of pattern and trigger, so that parts of floats, UUIDs and hexadecimal ids start no search at all."""
_DETAILS = frozenset(
    [
        "project",
        "session",
        "legacy",
        "service",
        "virtual",
        "named",
        "hex",
        "uuid",
        "fine",
        "grained",
        "runner",
        "collection",
        "config",
        "app",
        "admin",
        "auth",
        "wif",
        "cloud",
        "spaces",
        "signing",
        "kind",
        "oauth",
        "api",
    ]
)
"""Words of a detector's name that tell its format, not what an operator wants to read in its place."""


def label_of(name: str) -> str:
    """What a value becomes: provider and kind. `gitlab-runner-token` and `gitlab-named-token` both are GITLAB_TOKEN."""
    return "_".join(word for word in name.split("-") if word not in _DETAILS).upper()


def made(alphabet: str, length: int, seed: int = 7) -> str:
    """Text of a character class that looks drawn by chance, the same each time. It has a digit wherever the class has one."""
    characters = re.findall(klass(alphabet), "K7dQx2mVb9Rw4TzLf0HgJ8sNyC3pEa6UoBi5XkD1vGtMqWnZuPrYAlSjeFhIcO+/-_.=")
    word = [character for character in characters if character.isalnum()]
    state, out = seed * 7919 + length, []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % 2147483648
        out.append(word[(state >> 12) % len(word)])
    if length > 4 and "0" in f"{alphabet}"[:1]:
        out[3] = "7"
    return "".join(out)


def after(skip: int) -> Validator:
    """The value without its prefix looks drawn by chance."""

    def check(value: bytes) -> bool:
        return varied(value[skip:])

    return check


def token(
    name: str,
    prefixes: str | tuple[str, ...],
    alphabet: str = ALL,
    low: int = 16,
    high: int = 255,
    *,
    full: int = 0,
    tail: str = "",
    example: str = "",
    validate: Validator | None = None,
) -> Detector:
    """``low`` to ``high`` characters of ``alphabet`` after one of ``prefixes``, then the expression ``tail``. ``full`` is the usual length."""
    heads = (prefixes,) if isinstance(prefixes, str) else prefixes
    head = re_any(heads)
    distinct = all(len(prefix) >= DISTINCT or (not prefix.isalnum() and len(prefix) >= 4) for prefix in heads)
    body = example or made(alphabet, max(low, min(high, full or 40)), len(name))
    texts = tuple(f"{prefix}{body}" for prefix in heads)
    return Detector(
        name=name,
        label=label_of(name),
        pack=Pack.SECRETS,
        pattern=f"{head}{klass(alphabet)}{{{low},{high}}}{tail}",
        trigger=f"{head}{klass(alphabet)}{{{min(low, 8) if distinct else min(low, 16)}}}",
        reach=high + 64 * bool(tail) + 8,
        before=max(map(len, heads)) + 18,
        not_before=NOWHERE if distinct else TOKEN,
        not_after=ALNUM if low == high else NOWHERE,
        validate=validate or after(min(map(len, heads))),
        matches=(*texts, f"log: using {texts[0]} for this call", f'{{"auth": "{texts[-1]}"}}'),
        misses=(
            f"set it to {heads[0]}<your-key>",
            f"{heads[0]}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"[: len(heads[0]) + max(low, 16)],
            f"a {heads[0]} b",
        ),
    )


def exact(name: str, prefixes: str | tuple[str, ...], alphabet: str, length: int) -> Detector:
    """Exactly ``length`` characters after the prefix, and no letter or digit around: for short prefixes."""
    return token(name, prefixes, alphabet, length, length)


def re_any(texts: Iterable[str]) -> str:
    """An expression for any of the literal texts."""
    escaped = [re.sub(r"([.+*?()\[\]{}|^$\\])", r"\\\1", text) for text in texts]
    return escaped[0] if len(escaped) == 1 else f"(?:{'|'.join(escaped)})"


KEY_NAME = "(?:key|token|secret|passw(?:or)?d|pwd|pass|auth|credentials?|pat|sid|hash|seed|license|webhook|signature)"
OPERATOR = "[\"'`*\\\\]{0,3}[ \\t]{0,4}(?:[:=]{1,2}>?|[ \\t](?:is|to|=))[ \\t]{0,4}[\"'`\\\\]{0,3}"


def _first_of(words: str) -> str:
    """A text that the expression ``words`` matches: optional groups left out, `_` for a class."""
    return re.sub(r"\[[^\]]*\](?:\?|\{[^}]*\})?", "_", re.sub(r"\(\?:[^)]*\)\??", "", words).split("|", maxsplit=1)[0])


def named(name: str, words: str, alphabet: str, low: int, high: int = 0, *, validate: Validator | None = None) -> Detector:
    """A key without a prefix: the provider's name, a word such as key or token, an operator, the value. ``words`` are alternatives, `a|b`.

    One label for all: the provider stands beside it, and one detector may serve several.
    """
    top = high or low
    sample = made(alphabet, low, len(name))
    provider = _first_of(words)
    return Detector(
        name=name,
        label="API_KEY",
        pack=Pack.SECRETS,
        pattern=f"{any_of(words)}[a-z0-9_. -]{{0,24}}{KEY_NAME}[a-z0-9_]{{0,16}}{OPERATOR}({klass(alphabet)}{{{low},{top}}})",
        trigger=f"(?:{words})[a-z0-9_. -]{{0,24}}(?:key|token|secret|passw|pwd|pass|auth|cred|pat|sid|hash|seed|license|webhook|signature)",
        reach=top + 80,
        before=80,
        group=1,
        ignore_case=True,
        not_before=NOWHERE,
        not_after=ALNUM,
        validate=validate or varied,
        matches=(f"{provider.upper()}_API_KEY={sample}", f'"{provider}_token": "{sample}"', f"the {provider} api key is {sample}."),
        misses=(f"{provider} trace {sample}", f"{provider}_api_key=os.environ", f'"{provider}_tokens": 1234'),
    )


def with_form(
    pack: Pack, name: str, pattern: str, trigger: str, reach: int, matches: tuple[str, ...], misses: tuple[str, ...], group: int = 0, *, label: str = "",
    validate: Validator | None = None, words: tuple[str, ...] = (), words_reach: int = 48, ignore_case: bool = False, not_before: frozenset[int] = ALNUM,
    not_after: frozenset[int] = ALNUM, before: int | None = None, tail: str | None = None,
) -> Detector:  # fmt: skip
    """A detector with a form of its own; its label is its name, unless one is given."""
    return Detector(
        name,
        label or label_of(name),
        pack,
        pattern,
        trigger,
        reach,
        before=before,
        tail=tail,
        group=group,
        ignore_case=ignore_case,
        not_before=not_before,
        not_after=not_after,
        validate=validate,
        words=words,
        words_reach=words_reach,
        matches=matches,
        misses=misses,
    )


plain = partial(with_form, Pack.SECRETS, not_before=NOWHERE, not_after=NOWHERE)
"""A secret with a form of its own."""


def any_of(alternatives: str) -> str:
    """An expression for ``a|b``, grouped by first letters, so that `re` tries one branch for each letter. The same matches: what begins with another letter is never tried instead."""
    grouped: list[tuple[str, list[str]]] = []
    by_letter: dict[str, list[str]] = {}
    for part in _alternatives(alternatives):
        letter = part[:1] if part[:1].isascii() and part[:1].isalpha() and part[1:2] not in {"?", "{"} else ""
        if letter in by_letter:
            by_letter[letter].append(part[1:])
            continue
        grouped.append((letter, [part[len(letter) :]]))
        if letter:
            by_letter[letter] = grouped[-1][1]
    return "(?:" + "|".join(letter + (rests[0] if len(rests) == 1 else f"(?:{'|'.join(rests)})") for letter, rests in grouped) + ")"


def _alternatives(expression: str) -> list[str]:
    """What stands between the bars outside of groups and classes."""
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(expression):
        depth += (sign in "([") - (sign in ")]")
        if sign == "|" and depth == 0:
            parts.append(expression[start:at])
            start = at + 1
    return [*parts, expression[start:]]

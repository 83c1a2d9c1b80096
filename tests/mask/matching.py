"""Texts that an expression matches as a whole, made from the expression.

Reads what detectors may use (`sidecar.mask.detector.Detector`): no look-around, no back-references, every repeat bounded. It draws a text
in a fraction of a millisecond, which a strategy of hypothesis for the same expression takes fifty times as long for.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from re import _constants, _parser  # type: ignore[attr-defined]  # no stubs: the parsed form of an expression is not public
from typing import Any, TypeAlias

Count: TypeAlias = Callable[[int, int], int]
"""How often something is repeated, between a minimum and a maximum."""
_Tree: TypeAlias = Sequence[tuple[object, Any]]
"""Operations, each with what it is done to, as the parser of `re` makes them."""
_LINE_END = ord("\n")


def texts_of(expression: str, number: int, *, ignore_case: bool = False) -> list[bytes]:
    """The same each time: one with every repeat at its minimum, one with every repeat at its maximum, and ``number`` mixed ones."""
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    tree = _parser.parse(expression.encode(), flags)
    whole = re.compile(expression.encode(), flags)
    chance = random.Random(expression)

    def mixed(least: int, most: int) -> int:
        longest = most if chance.random() < 0.1 else min(most, least + 500)
        return chance.choice((least, longest, chance.randint(least, longest), chance.randint(least, min(longest, least + 3))))

    counts: list[Count] = [min, max, *[mixed] * number]
    texts = [bytes(_drawn(tree, chance, count)) for count in counts]
    if ignore_case:
        texts += [bytes(chance.choice((byte, *bytes([byte]).swapcase())) for byte in text) for text in texts]
    return [text for text in texts if whole.fullmatch(text)]


def _drawn(tree: _Tree, chance: random.Random, count: Count) -> Iterator[int]:
    for node in tree:
        match node:
            case (_constants.MAX_REPEAT, (int(least), int(most), inner)):
                times = count(least, most)
                if len(inner) == 1 and inner[0][0] is _constants.IN:
                    yield from chance.choices(_members(inner[0][1]), k=times)
                else:
                    for _ in range(times):
                        yield from _drawn(inner, chance, count)
            case (_constants.BRANCH, (_, branches)):
                yield from _drawn(chance.choice(branches), chance, count)
            case (_constants.SUBPATTERN, (*_, inner)):
                yield from _drawn(inner, chance, count)
            case (_constants.AT, _):
                pass
            case (_constants.ANY, _):
                yield chance.choice([byte for byte in range(256) if byte != _LINE_END])
            case (_constants.LITERAL, int(byte)):
                yield byte
            case (_constants.IN, items):
                yield chance.choice(_members(items))
            case _:
                raise NotImplementedError(f"detectors may not use {node[0]}")


def _members(items: _Tree) -> Sequence[int]:
    """The bytes of a class in brackets."""
    found: set[int] = set()
    negated = False
    for item in items:
        match item:
            case (_constants.NEGATE, _):
                negated = True
            case (_constants.LITERAL, int(byte)):
                found.add(byte)
            case (_constants.RANGE, (int(first), int(last))):
                found.update(range(first, last + 1))
            case (_constants.CATEGORY, category):
                found.update(byte for byte in range(256) if re.match(_CATEGORIES[category], bytes([byte])))
    return sorted(set(range(256)) - found if negated else found)


_CATEGORIES = {_constants.CATEGORY_SPACE: rb"\s", _constants.CATEGORY_DIGIT: rb"\d"}

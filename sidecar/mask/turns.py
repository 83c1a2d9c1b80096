"""Long work in turns: generators that yield whenever others may go on, and the way to run one at once. Pure.

A value of a megabyte is 20 to 80 ms of work. It must not know what the work is.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Turns: TypeAlias = Generator[None, None, T]
"""Work that yields when it has taken its turn, and returns its result in the end."""


def at_once(work: Turns[T]) -> T:
    """The result, without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result

"""Rule files as trees: maps, lists and values read as what they should be, with every problem and its path. Pure.

Owns what the rule files have in common: their words for a problem, the bound of a list, and globs. It must not know what a rule means.
Functions that find a problem add it to ``problems`` and go on, so that a file's author sees all of them at once; who gave the list
raises ConfigError when it is not empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from fnmatch import translate
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, TypeAlias, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

MAX_COMPARED = 256
"""Characters of a text that globs are compared with."""

Glob = Annotated[str, Meta(min_length=1, max_length=MAX_COMPARED)]
Globs: TypeAlias = Glob | Annotated[list[Glob], Meta(min_length=1, max_length=100)]
"""One or several, as a file gives them."""

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


def top(tree: object, file: str, keys: Sequence[str], problems: list[str]) -> Mapping[object, object]:
    """The file's own map; an empty file is an empty map, and so is what is no map. ``file`` is the name for the problem."""
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        problems.append(f"{file} file: expected a map with the {'keys' if len(keys) > 1 else 'key'} {', '.join(keys)}")
        return {}
    problems += [f"{key}: unknown key; known here: {', '.join(keys)}" for key in tree if key not in keys]
    return tree


def struct_of(kind: type[S], value: object, path: str, problems: list[str]) -> S | None:
    """A struct of a map, field by field; None when there is a problem in it."""
    if not isinstance(value, Mapping):
        problems.append(f"{path}: expected a map")
        return None
    before = len(problems)
    fields = _fields(kind)
    problems += [f"{path}.{key}: unknown key; known here: {', '.join(sorted(fields))}" for key in value if key not in fields]
    built: dict[str, object] = {}
    for key, each in fields.items():
        if key in value:
            built[each.name] = value_of(each.type, value[key], f"{path}.{key}", problems)
        elif each.required:
            problems.append(f"{path}.{key}: is required")
    return kind(**built) if len(problems) == before else None


def value_of(kind: object, value: object, path: str, problems: list[str]) -> object:
    """The value as ``kind``, any type that msgspec knows; None when there is a problem in it.

    Where a struct may stand, alone or beside other types, a map is read as that struct, field by field.
    """
    options = [each for each in _options(kind) if each is not NoneType]
    nested = next((each for each in options if isinstance(each, type) and issubclass(each, Struct)), None)
    if nested is not None and (isinstance(value, Mapping) or (len(options) == 1 and value is not None)):
        return struct_of(nested, value, path, problems)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        said, _, where = str(error).replace("`", "").partition(" - at $")
        words = next((each for each in options if isinstance(each, type) and issubclass(each, Enum)), ())
        known = f"; there are: {', '.join(str(each.value) for each in words)}" if words else ""
        problems.append(f"{path}{where}: {said}{known}")
        return None


def part(kind: type[S], tree: Mapping[object, object], key: str, problems: list[str]) -> S:
    """A section of the file, or what holds without it."""
    given = tree.get(key)
    return (None if given is None else struct_of(kind, given, key, problems)) or kind()


def entries(tree: Mapping[object, object], key: str, most: int, problems: list[str]) -> list[tuple[str, object]]:
    """The entries of a list, each with its path; none of a list with more than ``most``."""
    given = tree.get(key)
    if given is None:
        return []
    if not isinstance(given, list):
        problems.append(f"{key}: expected a list")
        return []
    if len(given) > most:
        problems.append(f"{key}: {len(given)} entries are more than the limit of {most}")
        return []
    return [(f"{key}[{position}]", each) for position, each in enumerate(given)]


def structs(kind: type[S], tree: Mapping[object, object], key: str, most: int, problems: list[str]) -> Iterator[tuple[str, S]]:
    """The good entries of a list, each with its path. One after the other, so that what the caller finds in an entry stands beside its own problems."""
    for path, entry in entries(tree, key, most, problems):
        built = struct_of(kind, entry, path, problems)
        if built is not None:
            yield path, built


def flag(tree: Mapping[object, object], key: str, default: bool, problems: list[str]) -> bool:
    """A switch of the file."""
    given = tree.get(key, default)
    if not isinstance(given, bool):
        problems.append(f"{key}: expected true or false")
        return default
    return given


def texts(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """One text or several, as a tuple."""
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)


class GlobSet:
    """Globs (``*``, ``?``, ``[seq]``), of which one has to fit. Case does not count, nor what comes after the first 256 characters of a text."""

    __slots__ = ("_pattern", "texts")

    def __init__(self, globs: str | Sequence[str]) -> None:
        self.texts = texts(globs)
        """As they were written."""
        self._pattern = re.compile("|".join(translate(each.lower()) for each in self.texts))

    def fits(self, text: str) -> bool:
        """Whether one of the globs fits the whole text; only ``*`` fits an empty one."""
        return self._pattern.fullmatch(text[:MAX_COMPARED].lower()) is not None


@cache
def _fields(kind: type[Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """By their names in a file. Remembered, because msgspec reads the annotations anew each time; there are as many as structs in the code."""
    return {each.encode_name: each for each in msgspec.structs.fields(kind)}


def _options(kind: object) -> tuple[object, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)

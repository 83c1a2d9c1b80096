from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from sidecar.ruletree import MAX_COMPARED, Globs, GlobSet, entries, flag, part, struct_of, structs, texts, top, value_of


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    colour: Colour = Colour.RED
    size: Annotated[int, Meta(ge=1)] | None = None


class Outer(Struct, frozen=True, forbid_unknown_fields=True, rename={"alias": "as"}):
    match: Globs | Inner
    inner: Inner | None = None
    alias: str = ""
    numbers: list[int] = []


def read(tree: object) -> tuple[Outer | None, list[str]]:
    problems: list[str] = []
    return struct_of(Outer, tree, "rules[3]", problems), problems


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"match": "a*"}, Outer(match="a*")),
        ({"match": ["a", "b"], "as": "c", "inner": None}, Outer(match=["a", "b"], alias="c")),
        ({"match": {"colour": "blue"}, "inner": {"size": 2}}, Outer(match=Inner(colour=Colour.BLUE), inner=Inner(size=2))),
    ],
)
def test_a_map_becomes_a_struct_with_the_structs_in_it(tree: object, expected: Outer) -> None:
    assert read(tree) == (expected, [])


def test_every_problem_of_a_struct_is_found_at_once_with_its_path() -> None:
    tree = {"alias": "x", "inner": {"size": 0, "colour": "green", "shape": 1}, "as": 4, "numbers": [1, "2"]}

    assert read(tree) == (
        None,
        [
            "rules[3].alias: unknown key; known here: as, inner, match, numbers",
            "rules[3].match: is required",
            "rules[3].inner.shape: unknown key; known here: colour, size",
            "rules[3].inner.colour: Invalid enum value 'green'; there are: red, blue",
            "rules[3].inner.size: Expected int >= 1",
            "rules[3].as: Expected str, got int",
            "rules[3].numbers[1]: Expected int, got str",
        ],
    )


def test_a_struct_beside_other_types_is_looked_into_where_a_map_stands() -> None:
    assert read({"match": {"color": "red"}}) == (None, ["rules[3].match.color: unknown key; known here: colour, size"])
    assert read({"match": 7}) == (None, ["rules[3].match: Expected str | object | array, got int"])


def test_what_should_be_a_map_and_is_none_is_a_problem() -> None:
    assert read([]) == (None, ["rules[3]: expected a map"])
    assert read({"match": "a", "inner": "b"}) == (None, ["rules[3].inner: expected a map"])


def test_a_value_is_read_as_a_type_or_is_a_problem() -> None:
    problems: list[str] = []

    assert value_of(float, 2, "probability", problems) == 2.0
    assert value_of(Colour, "red", "colour", problems) is Colour.RED
    assert problems == []
    assert value_of(Annotated[float, Meta(ge=0)], -1, "probability", problems) is None
    assert problems == ["probability: Expected float >= 0.0"]


@pytest.mark.parametrize(
    ("tree", "map_of_it", "problems"),
    [
        (None, {}, []),
        ({"rules": 1}, {"rules": 1}, []),
        ({"rules": 1, "rule": 2}, {"rules": 1, "rule": 2}, ["rule: unknown key; known here: rules, builtin"]),
        ([], {}, ["enrich file: expected a map with the keys rules, builtin"]),
    ],
)
def test_a_file_is_a_map_with_known_keys(tree: object, map_of_it: object, problems: list[str]) -> None:
    found: list[str] = []

    assert top(tree, "enrich", ("rules", "builtin"), found) == map_of_it
    assert found == problems


def test_a_section_that_is_left_out_empty_or_wrong_is_what_holds_without_it() -> None:
    problems: list[str] = []

    assert part(Inner, {}, "inner", problems) == part(Inner, {"inner": None}, "inner", problems) == Inner()
    assert part(Inner, {"inner": {"size": 3}}, "inner", problems) == Inner(size=3)
    assert problems == []
    assert part(Inner, {"inner": 3}, "inner", problems) == Inner()
    assert problems == ["inner: expected a map"]


@pytest.mark.parametrize(
    ("given", "found", "problems"),
    [
        (None, [], []),
        ([], [], []),
        ([7, None], [("rules[0]", 7), ("rules[1]", None)], []),
        ({}, [], ["rules: expected a list"]),
        ("a", [], ["rules: expected a list"]),
        ([1, 2, 3], [], ["rules: 3 entries are more than the limit of 2"]),
    ],
)
def test_a_list_is_bounded_and_its_entries_have_paths(given: object, found: object, problems: list[str]) -> None:
    said: list[str] = []

    assert entries({"rules": given}, "rules", 2, said) == found
    assert said == problems


def test_what_a_caller_finds_in_an_entry_stands_beside_its_own_problems() -> None:
    problems: list[str] = []
    tree: Mapping[object, object] = {"rules": [{"size": 0}, {"size": 5}, {"size": -1}, {"size": 6}]}

    for path, inner in structs(Inner, tree, "rules", 10, problems):
        problems.append(f"{path}: {inner.size}")

    assert problems == ["rules[0].size: Expected int >= 1", "rules[1]: 5", "rules[2].size: Expected int >= 1", "rules[3]: 6"]


def test_a_switch_is_true_or_false() -> None:
    problems: list[str] = []

    assert (flag({"on": False}, "on", True, problems), flag({}, "on", True, problems), problems) == (False, True, [])
    assert flag({"on": "yes"}, "on", True, problems)
    assert problems == ["on: expected true or false"]


def test_one_text_or_several_are_a_tuple() -> None:
    assert (texts(None), texts("ab"), texts(["a", "b"])) == ((), ("ab",), ("a", "b"))


@pytest.mark.parametrize(
    ("globs", "text", "fits"),
    [
        ("gpt-4*", "GPT-4o", True),
        ("GPT-4?", "gpt-4o", True),
        ("gpt-4?", "gpt-4", False),
        (["a", "b*"], "bc", True),
        (["a", "b*"], "ab", False),
        ("v[12]", "V2", True),
        ("a.c", "abc", False),
        ("*", "", True),
        ("a*", "a\nb", True),
        ("*z", "x" * MAX_COMPARED + "z", False),
        ("x*x", "x" * MAX_COMPARED + "z", True),
    ],
)
def test_globs_fit_whole_texts_of_any_case_up_to_a_bound(globs: str | list[str], text: str, fits: bool) -> None:
    assert GlobSet(globs).fits(text) is fits


def test_globs_keep_how_they_were_written() -> None:
    assert GlobSet(["GPT-4*", "o3"]).texts == ("GPT-4*", "o3")


_TREES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["match", "inner", "as", "numbers", "colour", "size"]) | st.integers(), inner, max_size=4)
    ),
)
_READERS: list[Callable[[object, list[str]], object]] = [
    lambda tree, problems: struct_of(Outer, tree, "x", problems),
    lambda tree, problems: value_of(Globs, tree, "x", problems),
    lambda tree, problems: value_of(Inner, tree, "x", problems),
]


@given(_TREES, st.sampled_from(_READERS))
def test_any_tree_is_read_or_is_a_problem(tree: object, reader: Callable[[object, list[str]], object]) -> None:
    problems: list[str] = []

    assert (reader(tree, problems) is None) == bool(problems)

"""Edits spliced into a text."""

from __future__ import annotations

from sidecar.mask.detector import Hit
from sidecar.mask.edits import Edit, apart, apply, disjoint
from sidecar.mask.json_path import ROOT, Path


def edit(start: int, end: int, *, escapes: int = 0, quoted: bool = False) -> Edit:
    return Edit(start, end, b"source", Hit(0, 6, 0), ROOT, escapes, quoted)


def rewrite(_text: bytes, _hit: Hit | None, _path: Path) -> bytes:
    return b'"x"'


def test_a_text_without_edits_is_itself() -> None:
    text = b"abc"

    assert apply(text, [], rewrite) is text


def test_replacements_are_escaped_for_where_they_stand() -> None:
    assert apply(b"0123456789", [edit(8, 9, quoted=True), edit(1, 3), edit(4, 5, escapes=1)], rewrite) == rb'0"x"3\"x\"567"\"x\""9'


def test_of_edits_that_overlap_the_longest_stands_for_all() -> None:
    longest = edit(2, 9, escapes=3)

    assert disjoint([edit(8, 10), edit(1, 3), longest, edit(10, 11)]) == [longest._replace(start=1, end=10), edit(10, 11)]


def test_weak_edits_count_where_they_overlap_no_other() -> None:
    assert apart([edit(0, 2), edit(2, 5), edit(7, 8)], [edit(4, 7)]) == [edit(0, 2), edit(7, 8)]

"""The walk through a document: its grammar, and what it asks about."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.detector import Hit
from sidecar.mask.edits import Edit
from sidecar.mask.json_path import ROOT, Path
from sidecar.mask.json_walk import COUNT_MAX, KeyVerdict, Scan, Walk, counted
from sidecar.mask.turns import Turns, at_once
from sidecar.mask.windows import WorkLimit
from tests.mask.looking import found_by


class Everything:
    """A reader that hides members named hide and takes note of every literal that it is asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def key(self, name: bytes, _path: Path | None) -> KeyVerdict:
        return {b"hide": KeyVerdict.HIDE, b"keep": KeyVerdict.KEEP}.get(name, KeyVerdict.SCAN)

    def hits(self, _scan: Scan, _shift: int, path: Path) -> Turns[list[Hit]]:
        yield
        self.asked.append((str(path), b"no string"))
        return []

    def text(self, _scan: Scan, text: bytes, _before: bytes, path: Path) -> Turns[list[Edit]]:
        yield
        self.asked.append((str(path), text))
        return []

    def document(self, _text: bytes, _path: Path, _depth: int) -> Turns[list[Edit] | None]:
        yield
        return None

    def is_across(self, _scan: Scan, _hit: Hit, _path: Path) -> bool:
        return False


def walked(text: bytes) -> tuple[bool, list[tuple[str, bytes]], list[tuple[int, int]]]:
    reader = Everything()
    walk = Walk(reader, text, ROOT, 0, found_by(lambda *_: [])(text), [Hit(0, len(text), 0)], escaped=True)
    return at_once(walk.run()), reader.asked, [(edit.start, edit.end) for edit in walk.edits]


def test_every_literal_is_asked_about_where_it_stands() -> None:
    whole, asked, hidden = walked(b'{"a": ["x", 12, {"b": null}], "hide": [1, "z"], "keep": "k"}')

    assert whole
    assert asked == [
        ("$", b"a"), ("$.a[0]", b"x"), ("$.a[1]", b"no string"), ("$.a[2]", b"b"), ("$.a[2].b", b"no string"), ("$", b"hide"), ("$", b"keep"),
    ]  # fmt: skip
    assert hidden == [(38, 46)]


@settings(max_examples=200, deadline=None)
@given(st.text('{}[]",:1 ae\\', max_size=14))
def test_what_is_whole_is_json(text: str) -> None:
    try:
        json.loads(text)
        valid = True
    except ValueError:
        valid = False
    whole = walked(text.encode())[0]

    assert whole or not valid


@pytest.mark.parametrize("text", [b'{"a": 1', b'{"a"}', b"[1,]", b"[1 2]", b'{"a": }', b"]", b'["a": 1]', b"{1: 2}"])
def test_what_is_no_json_to_its_end_is_noticed(text: bytes) -> None:
    assert not walked(text)[0]


def test_more_tokens_than_a_text_may_have_are_refused() -> None:
    counted(b"", COUNT_MAX)
    with pytest.raises(WorkLimit):
        counted(b"", COUNT_MAX + 1)

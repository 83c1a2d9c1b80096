"""Escapes taken off and put on."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mask.escapes import escape, unescape, unescaped


def test_a_range_stands_for_whole_escapes() -> None:
    way = unescape(rb"a\u00fcb\n")

    assert way.text == "aüb\n".encode()
    assert [way.raw(1, 2), way.raw(2, 3), way.raw(3, 5)] == [(1, 7), (1, 7), (7, 10)]
    assert [way.splits(1), way.splits(2), way.splits(7)] == [False, True, False]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["\\", '"', "n", "u0040", "\\ud83d\\ude00", "\\ud83d", "\\x41", "a", "é", "\\/", "'", "u00"]), max_size=12).map("".join)
)
def test_the_fast_and_the_exact_way_take_off_the_same_escapes(text: str) -> None:
    assert unescaped(text.encode()) == unescape(text.encode()).text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.booleans(), st.data())
def test_offsets_lead_back_to_what_stands_there(text: str, ascii_only: bool, data: st.DataObject) -> None:
    raw = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "replace")
    way = unescape(raw)
    start = data.draw(st.integers(0, len(way.text)))
    end = data.draw(st.integers(start, len(way.text)))
    raw_start, raw_end = way.raw(start, end)

    assert way.text[start:end] in unescape(raw[raw_start:raw_end]).text


@given(st.text())
def test_an_escaped_text_is_a_literal(text: str) -> None:
    encoded = text.encode("utf-8", "ignore")

    assert json.loads(b'"' + escape(encoded) + b'"').encode() == encoded

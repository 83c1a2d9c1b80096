from __future__ import annotations

import pytest

from sidecar.buffer.records import Filter, Group


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Filter(), True),
        (Filter(destination="a"), True),
        (Filter(destination="b"), False),
        (Filter(trace_id=b"t"), True),
        (Filter(trace_id=b"u"), False),
        (Filter(ids=frozenset({1, 2})), True),
        (Filter(ids=frozenset()), False),
        (Filter(destination="a", trace_id=b"u"), False),
    ],
)
def test_a_filter_takes_what_matches_everything_given(wanted: Filter, taken: bool) -> None:
    assert wanted.takes(1, "a", b"t") is taken


def test_an_empty_group_is_false() -> None:
    assert not Group()
    assert Group(hastened={b"t"})

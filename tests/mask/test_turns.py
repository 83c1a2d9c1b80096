"""Work in turns."""

from __future__ import annotations

import pytest

from sidecar.mask.turns import Turns, at_once


def work(pauses: int, *, fails: bool = False) -> Turns[str]:
    for _ in range(pauses):
        yield
    if fails:
        raise ValueError("no")
    return "done"


def test_work_at_once_has_the_same_result() -> None:
    assert [at_once(work(pauses)) for pauses in (0, 1, 9)] == ["done"] * 3


def test_an_error_passes() -> None:
    with pytest.raises(ValueError, match="no"):
        at_once(work(2, fails=True))

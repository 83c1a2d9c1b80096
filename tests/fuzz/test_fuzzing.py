"""Fuzzing itself: it finds, shrinks and keeps what breaks; and, in the acceptance run, a quarter of a minute for each target."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.fuzzing import Broken, changed, examples, fuzz, shrunk
from tests.fuzz.targets import TARGETS


def breaks_at_a_brace(data: bytes) -> None:
    if b"{" in data and len(data) > 3:
        raise ZeroDivisionError


def test_what_breaks_is_shrunk_and_kept(tmp_path: Path) -> None:
    with pytest.raises(Broken) as caught:
        fuzz("configuration", 60, breaks_at_a_brace, tmp_path)

    assert len(caught.value.data) == 4 and b"{" in caught.value.data
    (kept,) = tmp_path.glob("configuration/*")
    assert kept.read_bytes() == caught.value.data


def test_shrinking_stays_with_one_defect() -> None:
    def two_defects(data: bytes) -> None:
        if len(data) < 5:
            raise KeyError
        raise ZeroDivisionError

    assert len(shrunk(two_defects, bytes(100), ZeroDivisionError)) == 5


def test_changes_are_of_every_kind_and_bounded() -> None:
    chance = random.Random(3)
    made = [changed(chance, b"abcdefgh" * 10, b"XY" * 10) for _ in range(500)]

    assert len(set(made)) > 400
    assert any(b"XY" in each for each in made)
    assert {len(each) > 80 for each in made} == {True, False}


def test_examples_of_a_seed_are_always_the_same() -> None:
    assert examples("configuration", 7) == examples("configuration", 7) != examples("configuration", 8)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", TARGETS)
def test_a_quarter_of_a_minute_breaks_nothing(name: str) -> None:
    assert fuzz(name, 15, TARGETS[name]) > 20

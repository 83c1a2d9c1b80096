"""The self-test of detectors."""

from __future__ import annotations

from dataclasses import replace

from sidecar.mask.engine import choose_engine
from sidecar.mask.selftest import self_test
from sidecar.mask.windows import Limits
from tests.mask.test_windows import SMALL_TABLE


def problems(**change: object) -> list[str]:
    table = (replace(SMALL_TABLE[0], **change),)  # type: ignore[arg-type]  # named as the fields
    return self_test(choose_engine(table), table)


def test_detectors_that_find_their_examples_have_no_problems() -> None:
    assert self_test(choose_engine(SMALL_TABLE), SMALL_TABLE) == []


def test_what_is_not_found_or_found_twice_is_named_by_number_without_its_text() -> None:
    assert problems(matches=("bob@example.com", "nobody")) == ["email: match 2 is found 0 times, not 1"]
    assert problems(matches=("a@b.cd c@d.ef",)) == ["email: match 1 is found 2 times, not 1"]


def test_a_look_alike_that_is_found_is_a_problem() -> None:
    assert problems(misses=("bob@example.com",)) == ["email: miss 1 is found 1 times, not 0"]


def test_a_detector_without_an_example_is_a_problem() -> None:
    assert problems(matches=()) == ["email: has no example"]


def test_a_trigger_that_does_not_cover_its_pattern_is_a_problem() -> None:
    assert problems(trigger="never", misses=()) == ["email: match 1 is found 0 times, not 1"]


def test_an_example_beyond_the_work_limit_is_a_problem() -> None:
    engine = choose_engine(SMALL_TABLE[:1], limits=Limits(value_bytes=10))

    assert self_test(engine, SMALL_TABLE[:1])[0] == "email: match 1 is over the work limit (bytes)"


def test_a_pattern_that_is_none_is_a_problem() -> None:
    assert problems(pattern="a(") == ["email: not a regular expression (missing ), unterminated subpattern)"]

"""What once broke something, and what looks as if it might: tried in every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzzing import CORPUS
from tests.fuzz.targets import TARGETS

KEPT = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus_breaks_nothing(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_its_corpus() -> None:
    assert {path.parent.name for path in KEPT} == TARGETS.keys()

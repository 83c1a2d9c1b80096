"""The self-test of detectors: each finds its own examples and leaves its look-alikes alone.

Runs at start and in `sidecar validate`. It must not know policies; what it says names detectors and numbers of examples, never their text.
"""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.mask.detector import Detector
from sidecar.mask.engine import Engine
from sidecar.mask.windows import BadDetector, WorkLimit


def self_test(engine: Engine, detectors: Sequence[Detector]) -> list[str]:
    """Problems, one line each; empty when every one of ``detectors`` (the engine's table) finds each of its matches once and none of its misses."""
    problems: list[str] = []
    for index, detector in enumerate(detectors):
        try:
            engine.compile(index)
        except BadDetector as wrong:
            problems.append(str(wrong))
            continue
        if not detector.matches:
            problems.append(f"{detector.name}: has no example")
        for number, text in enumerate(detector.matches, 1):
            problems += _check(engine, index, f"{detector.name}: match {number}", text, 1)
        for number, text in enumerate(detector.misses, 1):
            problems += _check(engine, index, f"{detector.name}: miss {number}", text, 0)
    return problems


def _check(engine: Engine, index: int, what: str, text: str, expected: int) -> list[str]:
    try:
        found = sum(hit.detector == index for hit in engine.find(text.encode()))
    except WorkLimit as limit:
        return [f"{what} is over the work limit ({limit.reason})"]
    return [] if found == expected else [f"{what} is found {found} times, not {expected}"]

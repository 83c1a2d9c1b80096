"""Operators' own patterns, and what a rule may name."""

from __future__ import annotations

import pytest

from sidecar.mask.actions import Action
from sidecar.mask.detector import Detector, Pack
from sidecar.mask.policy_file import PatternEntry, named, own_detector, what_table

EMAIL = Detector("email", "EMAIL", Pack.PII, "x", "x", 1)
PHONES = tuple(Detector(f"phone-{place}", "PHONE", Pack.PII, "x", "x", 1) for place in ("uk", "us"))
TABLE = what_table((EMAIL, *PHONES), [PatternEntry("employee-id", "EMP-[0-9]{6}", "EMPLOYEE")])


def test_an_own_pattern_becomes_a_detector() -> None:
    detector = own_detector(PatternEntry("employee-id", "emp-[0-9]{6}", "EMPLOYEE", Action.HMAC, ["Staff"], ignore_case=True))

    assert (detector.name, detector.label, detector.reach, detector.words, detector.ignore_case) == ("employee-id", "EMPLOYEE", 10, ("staff",), True)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("email", {"email"}),
        ("pii", {"email", "phone-uk", "phone-us"}),
        ("phone-*", {"phone-uk", "phone-us"}),
        ("employee-id", {"employee-id"}),
        ("*", {"email", "phone-uk", "phone-us", "employee-id"}),
        ("secrets", set()),
        ("nothing", set()),
        ("p*", {"phone-uk", "phone-us"}),
    ],
)
def test_a_rule_names_packs_detectors_own_patterns_and_globs(what: str, names: set[str]) -> None:
    assert named(what, TABLE) == names

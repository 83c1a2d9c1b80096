"""The detectors that ship with the sidecar, all packs in one table."""

from __future__ import annotations

from sidecar.mask.detector import Detector
from sidecar.mask.packs import financial, national_ids, pii, secrets_ai, secrets_assigned, secrets_cloud, secrets_general, secrets_services

DETECTORS: tuple[Detector, ...] = (
    *secrets_general.DETECTORS,
    *secrets_assigned.DETECTORS,
    *secrets_ai.DETECTORS,
    *secrets_cloud.DETECTORS,
    *secrets_services.DETECTORS,
    *pii.DETECTORS,
    *financial.DETECTORS,
    *national_ids.DETECTORS,
)
"""In a stable order: policies and compiled databases are keyed by it."""


def labels() -> dict[str, tuple[str, ...]]:
    """Every label that the shipped detectors write, in order, with the names of its detectors.

    General ones say what a value is (PASSWORD, SECRET, TOKEN, CREDENTIALS, API_KEY), those of tokens with a prefix their provider as well (GITHUB_TOKEN).
    """
    named: dict[str, list[str]] = {}
    for detector in DETECTORS:
        named.setdefault(detector.label, []).append(detector.name)
    return {label: tuple(named[label]) for label in sorted(named)}

"""What masking did, without what it hid: counts for metrics, and for the span they were made on. Pure.

Owns the counters and the audit attributes. It must not see any value.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from google.protobuf.internal.containers import RepeatedScalarFieldContainer

from sidecar.mask.actions import Action
from sidecar.wire.attributes import KEY, VALUE, any_string, delimited, encode_string

MASKED_KEY = "langfuse.observation.metadata.masked"
"""JSON: how many values were hidden under each label, `{"EMAIL":2}`."""
POLICY_KEY = "langfuse.observation.metadata.masking_policy"
"""The digest of the policy that hid them."""
KEY_RULE = "key-rule"
"""Stands for the detector where a key or member name hid a value."""
FAILED_LABEL = "MASKING_FAILED"
CUT_LABEL = "CUT"

_OWN_VALUES = re.compile(rb'(?:\{(?:"[A-Z][A-Z0-9_]{0,39}":[0-9]{1,6},?)*\}|[0-9a-f]{8})')
_PREFIXES = (delimited(KEY, MASKED_KEY.encode()), delimited(KEY, POLICY_KEY.encode()))
_AUDIT_BYTES_MAX = 16 * 1024
"""Enough for 300 labels."""

Counts = Counter[tuple[str, str]]
"""Values hidden (in a dry run: that would be), by (detector, action)."""


class Tally:
    """What happened in one batch. ``counts`` and ``failures`` are the stage's own, shared by batches that take turns."""

    __slots__ = ("cost", "counts", "failures", "labels")

    def __init__(self, counts: Counts, failures: Counter[str]) -> None:
        self.counts = counts
        self.failures = failures
        self.labels: Counter[str] = Counter()
        """Of what has not been written to a span yet."""
        self.cost = 0
        """Work since the last turn of others, in bytes of clean text (8 ns each)."""

    def hidden(self, detector: str, action: Action, label: str) -> None:
        """One value was hidden."""
        self.counts[detector, action.value] += 1
        self.labels[label] += 1
        self.cost += _HIT_COST

    def cut(self) -> None:
        """The end of one value was removed, because the value is too long to be searched."""
        self.failures["bytes"] += 1
        self.labels[CUT_LABEL] += 1

    def failed(self, reason: str) -> None:
        """One value was hidden because masking it failed."""
        self.failures[reason] += 1
        self.labels[FAILED_LABEL] += 1
        self.cost += _FAILURE_COST


_HIT_COST = 1024
"""A hit costs about 8 us: window, validator, replacement."""
_FAILURE_COST = 1 << 20
"""Whoever reaches a limit has worked for up to 20 ms."""


def write_audit(attributes: RepeatedScalarFieldContainer[bytes], labels: Mapping[str, int], digest: str) -> None:
    """Say on a span how much was hidden; what it said of that itself is taken off."""
    if any(raw.startswith(_PREFIXES) for raw in attributes):
        attributes[:] = [raw for raw in attributes if not raw.startswith(_PREFIXES)]
    attributes.extend(audit_attributes(labels, digest))


def is_audit(raw: bytes) -> bool:
    """Whether a serialized attribute is one that masking wrote: then it is no text to mask, though its labels look like names of secrets."""
    if not raw.startswith(_PREFIXES) or len(raw) > _AUDIT_BYTES_MAX:
        return False
    prefix = _PREFIXES[raw.startswith(_PREFIXES[1])]
    text = _OWN_VALUES.search(raw, len(prefix))
    return text is not None and raw == prefix + delimited(VALUE, any_string(text[0]))


def audit_attributes(labels: Mapping[str, int], digest: str) -> Iterable[bytes]:
    """The two attributes, serialized."""
    return encode_string(MASKED_KEY, json.dumps(labels, sort_keys=True, separators=(",", ":"))), encode_string(POLICY_KEY, digest)

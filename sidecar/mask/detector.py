"""What a detector is: one format of sensitive text, as data. Values only.

Every engine finds the same: the trigger says where to look, the pattern what is there, the boundaries, validator and
context words whether it is meant. It must not know engines, policies or actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
DIGITS = frozenset(b"0123456789")
WORD = ALNUM | {ord("_")}
TOKEN = WORD | {ord("-")}

Validator = Callable[[bytes], bool]
"""Whether the masked group of a match is real: a checksum, a structure, entropy. Pure, linear, raises nothing."""


class Pack(StrEnum):
    """Detectors that are turned on and off together."""

    SECRETS = "secrets"
    PII = "pii"
    FINANCIAL = "financial"
    NATIONAL_IDS = "national-ids"


@dataclass(frozen=True, slots=True)
class Detector:
    r"""One format. Patterns are regular expressions over UTF-8 bytes, in the syntax that `re`, RE2 and Hyperscan share.

    No look-around, no back-references, no `\\b`, no Unicode classes, repeats bounded: boundaries are ``not_before`` and
    ``not_after``. Inline flags: only ``ignore_case``.
    """

    name: str
    """Lower case with dashes, unique: a metric label and the name in policies."""
    label: str
    """What a value becomes: `[LABEL]`; capitals, digits and underscores."""
    pack: Pack
    pattern: str
    """The whole format. It may match more than what is masked, see ``group``."""
    trigger: str
    """A short expression that matches somewhere inside every match of ``pattern``, cheap and rare. Fixed tail, no long repeats: every end offset is reported.
    It may look at the byte after the match too, or at the end of the text; where `$` may stand, a `"` must be taken as well, because that ends texts in JSON."""
    reach: int
    """Bytes around a trigger's end within which the whole match lies, on either side."""
    before: int | None = None
    """Bytes before a trigger's end in which the match starts; ``reach`` when None. Set it where the trigger stands near the start: windows get smaller.
    No match is longer than ``before + reach``."""
    tail: str | None = None
    """What follows the trigger in every match, so that ``pattern`` ends with trigger and tail: where it does not follow, no window is asked."""
    group: int = 0
    """The group of ``pattern`` that is masked; 0 is all of it."""
    ignore_case: bool = False
    """For pattern and trigger, ASCII only."""
    not_before: frozenset[int] = ALNUM
    """Bytes that must not stand right before the match."""
    not_after: frozenset[int] = ALNUM
    """Bytes that must not stand right after it."""
    validate: Validator | None = None
    words: tuple[str, ...] = ()
    """With words here one of them must stand within ``words_reach`` bytes before the match, or in the key or path of the value. Lower case.
    `sidecar.mask.words` compares them: it reads `_`, `-`, `.` and camelCase humps as spaces, and short ones must stand alone."""
    words_reach: int = 48
    matches: tuple[str, ...] = ()
    """Texts in which exactly this is found: the self-test."""
    misses: tuple[str, ...] = ()
    """Texts that look alike and are left alone."""


class Hit(NamedTuple):
    """Bytes ``start`` to ``end`` of a text are one sensitive value."""

    start: int
    end: int
    detector: int
    """Index in the engine's detector table."""

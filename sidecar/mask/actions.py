"""What a sensitive value becomes: nothing, a label, its last four characters, a keyed pseudonym, or itself. Pure.

Owns the actions, their order, and the forms of what is written in place of a value. It must not know which action a policy chooses.

    [EMAIL]                       label
    [CARD:1111]                   partial
    [EMAIL:k1:7f3a9c01d2e4b5a6]   hmac: key id, then 64 bits of keyed BLAKE2b

All of them stand in JSON strings without escapes, and no detector looks inside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from hashlib import blake2b

from sidecar.mask.hmac_keys import HmacKeys
from sidecar.mask.words import tree

LABEL = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
"""What may be a label."""
PARTIAL_MIN_CHARS = 12
"""Letters and digits that a value must have before four of them may be shown."""
PSEUDONYM_BYTES = 8
"""Two of a million people share a pseudonym with a chance of 3e-8."""
_FORM = r"\[%s(?::[0-9A-Za-z]{4}|:[a-z0-9]{1,16}:[0-9a-f]{16})?\]"
MASKED = re.compile((_FORM % LABEL.pattern).encode())
"""Any label of ours, for windows that must not look inside one."""
_ALNUM = re.compile(rb"[0-9A-Za-z]")


class Action(StrEnum):
    """How a value is hidden; ``keep`` hides nothing."""

    KEEP = "keep"
    PARTIAL = "partial"
    HMAC = "hmac"
    LABEL = "label"
    REMOVE = "remove"

    @property
    def strictness(self) -> int:
        """Where rules are united the higher one wins: what shows less of a value, and links less."""
        return _STRICTNESS[self]


_STRICTNESS = {action: place for place, action in enumerate(Action)}


def strictest(actions: Iterable[Action]) -> Action:
    """The action that hides most. ``actions`` must not be empty."""
    return max(actions, key=_STRICTNESS.__getitem__)


def replacement(action: Action, label: str, value: bytes, keys: HmacKeys) -> bytes | None:
    """What stands in place of ``value`` (UTF-8); ``value`` itself for ``keep``. None: the attribute goes, or inside a text the value becomes empty."""
    match action:
        case Action.KEEP:
            return value
        case Action.REMOVE:
            return None
        case Action.HMAC:
            return pseudonym(label, value, keys)
        case Action.PARTIAL if len(shown := _ALNUM.findall(value)) >= PARTIAL_MIN_CHARS:
            return b"[%s:%s]" % (label.encode(), b"".join(shown[-4:]))
    return b"[%s]" % label.encode()


def pseudonym(label: str, value: bytes, keys: HmacKeys, key_id: str | None = None) -> bytes:
    """The pseudonym of a value under the current key, or under one of the older ones; KeyError when there is no such key.

    Different labels give different pseudonyms for the same value, so that a number that is a card here and a phone there does not join.
    """
    key_id = key_id or keys.current
    digest = blake2b(value, digest_size=PSEUDONYM_BYTES, key=keys.key(key_id), person=blake2b(label.encode(), digest_size=16).digest())
    return b"[%s:%s:%s]" % (label.encode(), key_id.encode(), digest.hexdigest().encode())


def is_masked(text: bytes) -> bool:
    """Whether the whole text is a label of ours, whichever its name."""
    return MASKED.fullmatch(text) is not None


def own_labels(labels: Iterable[str]) -> re.Pattern[bytes]:
    """What ``is_masked`` takes, for these names only: what looks like a label but has another name may be a value."""
    return re.compile((_FORM % tree(sorted(map(re.escape, labels)), 3)).encode())

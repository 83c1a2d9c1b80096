"""What was looked at before and may stay as it is, and what is known of keys. Pure.

Owns two bounded generations, as the memo of attributes does. It must hold nothing that masking found, nor any long text: only entries that a policy and its
engine left alone, and it goes with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.mask.masker import Place
from sidecar.mask.policy import Scope

ENTRIES = 8192
"""In both generations, of all scopes: x (128 bytes + about 110 of Python's) = 2 MiB; keys 8192 x about 900 = 7 MiB at worst, mostly some hundred keys."""
ENTRY_BYTES_MAX = 128


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of an attribute's key."""

    place: Place
    masked: bytes | None
    """The key as it may leave the process; None: as it is."""


@dataclass(slots=True)
class Known:
    """What is known in one scope."""

    clean: set[bytes | tuple[str, bytes]] = field(default_factory=set)
    """Serialized entries that may stay, and texts beside the name of their place."""
    keys: dict[bytes, Key] = field(default_factory=dict)


class Memo:
    """Two generations: when the young one is full it becomes the old one, and what was not used since is dropped."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._half = max(1, entries // 2)
        self._count = 0
        self._young: dict[Scope, Known] = {}
        self._old: dict[Scope, Known] = {}

    def __len__(self) -> int:
        return sum(len(known.clean) + len(known.keys) for known in (*self._young.values(), *self._old.values()))

    def of(self, scope: Scope) -> Known:
        """What is known in a scope lately; for reading."""
        known = self._young.get(scope)
        if known is None:
            known = self._young[scope] = Known()
            self._grow()
        return known

    def is_clean(self, scope: Scope, entry: bytes | tuple[str, bytes]) -> bool:
        """Whether an entry that ``of`` does not name was clean a while ago; it is young again then."""
        old = self._old.get(scope)
        if old is None or entry not in old.clean:
            return False
        self.add_clean(scope, entry)
        return True

    def add_clean(self, scope: Scope, entry: bytes | tuple[str, bytes]) -> None:
        """Remember an entry of at most ``ENTRY_BYTES_MAX``."""
        self._grow()
        self.of(scope).clean.add(entry)

    def key(self, scope: Scope, name: bytes) -> Key | None:
        """What is known of a key."""
        known = self.of(scope).keys.get(name)
        if known is None and (old := self._old.get(scope)) and (known := old.keys.get(name)):
            self.add_key(scope, name, known)
        return known

    def add_key(self, scope: Scope, name: bytes, key: Key) -> None:
        """Remember a key of at most ``ENTRY_BYTES_MAX``."""
        self._grow()
        self.of(scope).keys[name] = key

    def _grow(self) -> None:
        self._count += 1
        if self._count > self._half:
            self._count = 1
            self._old, self._young = self._young, {}

"""The keys of pseudonyms. Pure.

Owns how keys are written and that nothing shows them. It must not know where the text comes from.

    a long random secret          one key, called k1
    k2:new secret                 or one key a line, each with its id: the first is used,
    k1:old secret                 older ones can still say which value a pseudonym stands for
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b

from sidecar.errors import ConfigError

DEFAULT_ID = "k1"
KEY_BYTES_MIN = 16
KEYS_MAX = 32
_LINE = re.compile(r"([a-z][a-z0-9]{0,15}):(.*)")


class HmacKeys:
    """Keys by id, and the current one. ``repr`` names the ids alone."""

    __slots__ = ("_keys", "current")

    def __init__(self, current: str, keys: Mapping[str, bytes]) -> None:
        """``keys`` hold any number of bytes; BLAKE2b takes 64, so each is hashed first."""
        self._keys = {key_id: blake2b(key).digest() for key_id, key in keys.items()}
        self.current = current
        if current not in self._keys:
            raise ValueError(f"the current key {current} is not among the keys")

    @property
    def ids(self) -> tuple[str, ...]:
        """All key ids, in the order of the text."""
        return tuple(self._keys)

    def key(self, key_id: str) -> bytes:
        """64 bytes; KeyError when there is no such key."""
        return self._keys[key_id]

    def __repr__(self) -> str:
        return f"HmacKeys(current={self.current}, ids={','.join(self._keys)})"


def parse_hmac_keys(text: str, where: str) -> HmacKeys:
    """The keys in a text. ``where`` is the setting that holds it; ConfigError names every problem by line, and no key."""
    problems: list[str] = []
    keys: dict[str, bytes] = {}
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) == 1 and not _LINE.fullmatch(lines[0][1]):
        lines = [(lines[0][0], f"{DEFAULT_ID}:{lines[0][1]}")]
    if len(lines) > KEYS_MAX:
        problems.append(f"{where}: {len(lines)} keys are more than the limit of {KEYS_MAX}")
    for number, line in lines[:KEYS_MAX]:
        found = _LINE.fullmatch(line)
        if found is None:
            problems.append(f"{where}: line {number}: expected id:key with an id such as k2")
            continue
        key_id, key = found[1], found[2].strip().encode("utf-8", "surrogateescape")
        if key_id in keys:
            problems.append(f"{where}: line {number}: the id {key_id} is given twice")
        if len(key) < KEY_BYTES_MIN:
            problems.append(f"{where}: line {number}: a key needs at least {KEY_BYTES_MIN} bytes; `openssl rand -hex 32` makes one")
        keys.setdefault(key_id, key)
    if not lines:
        problems.append(f"{where}: holds no key")
    if problems:
        raise ConfigError(problems)
    return HmacKeys(next(iter(keys)), keys)

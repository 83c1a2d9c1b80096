"""An agent's name as a label of metrics, read from the masked attributes that its span and those below it carry. Pure.

Owns that only masked text becomes a label, and how many names there are. It must not know traces.
"""

from __future__ import annotations

from sidecar.enrich.agent_names import TrackedNames
from sidecar.enrich.agents import NAME, tidied
from sidecar.enrich.notes import UNKNOWN
from sidecar.wire.attributes import KEY, decode, delimited

_NAME = delimited(KEY, NAME.encode())
MAX_REMEMBERED = 512
"""Names as they are serialized."""
MAX_REMEMBERED_BYTES = 512
"""Of one: a longer one is read anew each time. In all 512 * (512 + 128 characters of a label + 200) = 0.4 to 0.6 MB at worst."""


class AgentLabels:
    """Labels by what masked spans say of their agent, remembered."""

    def __init__(self, names: TrackedNames) -> None:
        self.names = names
        self._known: dict[bytes, str] = {}

    def of(self, said: tuple[bytes, ...]) -> str:
        """The label for an agent's masked attributes: its name, ``other`` when there are too many, ``unknown`` without one."""
        for raw in said:
            if raw.startswith(_NAME):
                return self._known.get(raw) or self._read(raw)
        return UNKNOWN

    def _read(self, raw: bytes) -> str:
        name = decode(raw)[1]
        if not isinstance(name, str) or not name:
            return UNKNOWN
        label = self.names.tracked(tidied(name))
        if len(raw) <= MAX_REMEMBERED_BYTES:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[raw] = label
        return label

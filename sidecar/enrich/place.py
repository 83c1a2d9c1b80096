"""What the sidecar knows of where and as what an agent runs: place, environment and release, written on its resource. Pure.

Owns adding them where the resource says nothing itself. The server reads an environment in the order
``langfuse.environment``, ``deployment.environment.name``, ``deployment.environment``, each from the span before the
resource; the last of them leaves every word of the agent's own in force.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.enrich.edit import encode_all
from sidecar.enrich.keys import ENVIRONMENTS, RELEASE
from sidecar.enrich.said import key_of
from sidecar.wire.shallow_pb2 import Resource

_SAME = {key.encode(): ENVIRONMENTS[-1].encode() for key in ENVIRONMENTS}
"""Keys that say the same: where one is, the other is not missing."""


class Place:
    """Attributes for the resources of every request."""

    def __init__(self, attributes: Mapping[str, str], environment: str, release: str) -> None:
        said = {key: text for key, text in attributes.items() if text}
        if environment:
            said.setdefault(ENVIRONMENTS[-1], environment)
        if release:
            said.setdefault(RELEASE, release)
        self._attributes = {key.encode(): raw for key, raw in encode_all(said).items()}

    def write(self, resource: Resource) -> None:
        """Add what the resource lacks. Raises nothing on a mended one."""
        if not self._attributes:
            return
        present = {_SAME.get(key, key) for key in map(key_of, resource.attributes)}
        resource.attributes.extend([raw for key, raw in self._attributes.items() if key not in present])

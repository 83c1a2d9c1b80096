"""Requests of our own that come back: a destination's base URL leads to this receiver.

Owns the recognition and its alarm. What is sent with the header is the forwarder's part.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from sidecar.errors import ForwardingLoop

INSTANCE_HEADER = "x-langfuse-sidecar-instance"
ALARM_EVERY_S = 60.0
"""A loop brings a request for every batch; one line a minute is enough."""


class EchoDetector:
    """Knows this process by its instance id."""

    def __init__(self, instance_id: str, log: logging.Logger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._instance_id = instance_id
        self._log = log
        self._monotonic = monotonic
        self._alarmed_at = -math.inf

    def check(self, instance: str | None) -> None:
        """Raise ForwardingLoop, with an ERROR in the log, when ``instance`` (the header's value) is our own."""
        if instance is None or instance != self._instance_id:
            return
        now = self._monotonic()
        if now - self._alarmed_at >= ALARM_EVERY_S:
            self._alarmed_at = now
            self._log.error("a destination sends our own requests back to this receiver: point its base_url at Langfuse, not at the sidecar")
        raise ForwardingLoop("this request was sent by this very sidecar: a destination's base_url leads back to it")

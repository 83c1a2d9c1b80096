"""The keys of one destination: from the configuration, or from a file that is read again when it changes."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

from sidecar.config import Destination
from sidecar.errors import StartError

SECRET_BYTES_MAX = 4 * 1024
"""Langfuse's secret keys have 42 characters."""


class Keys:
    """Holds the secret and never shows it. Raises StartError when the file can't be read at first."""

    def __init__(self, destination: Destination) -> None:
        self._public_key = destination.public_key
        self._path = Path(destination.secret_key_file) if destination.secret_key_file else None
        self._secret = destination.secret_key.reveal()
        self._seen: tuple[int, int, int] | None = None
        if self._path is not None:
            try:
                self._read(self._path)
            except OSError as error:
                raise StartError(
                    f"destination {destination.name}: secret_key_file {self._path} can't be read ({error.strerror}); check its path and permissions"
                ) from None
            if not self._secret:
                raise StartError(f"destination {destination.name}: secret_key_file {self._path} is empty; write the secret key into it")

    @property
    def from_file(self) -> bool:
        """True when the secret may change while the program runs."""
        return self._path is not None

    def authorization(self) -> str:
        """The value of the ``Authorization`` header: basic authentication (RFC 7617)."""
        return "Basic " + b64encode(f"{self._public_key}:{self._secret}".encode()).decode("ascii")

    def refresh(self) -> bool:
        """Read the file again if it changed; True when the secret is another one now.

        A file that is missing, unreadable or empty for a moment (it is being replaced) leaves the old secret.
        """
        if self._path is None:
            return False
        try:
            if _identity(self._path.stat()) == self._seen:
                return False
            before = self._secret
            self._read(self._path)
        except OSError:
            return False
        return self._secret != before

    def _read(self, path: Path) -> None:
        with path.open("rb") as file:
            seen = _identity(os.fstat(file.fileno()))
            text = file.read(SECRET_BYTES_MAX).decode("utf-8", "replace").strip()
        if text:
            self._secret, self._seen = text, seen


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    """What tells one version of a file from the next: also when a link is switched, as Kubernetes does with Secrets."""
    return stat.st_mtime_ns, stat.st_size, stat.st_ino

"""Credentials of clients: what opens a receiver.

Owns the comparison and the token file. It must never show a credential: not in errors, logs or repr.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from pathlib import Path

from sidecar.config import Auth
from sidecar.errors import StartError, Unauthenticated

PUBLIC_KEY_HEADER = "x-langfuse-public-key"
PUBLIC_KEY_CHARS_MAX = 256
"""Langfuse's own keys have 42 characters; self-hosted ones can be chosen."""
TOKEN_FILE_BYTES_MAX = 64 * 1024
"""A token is at most a few KiB; more is a mistaken path."""


class Guard:
    """Lets requests in by their ``Authorization`` header; with several credentials configured, any one opens.

    ``key`` is the path of the settings (``receivers.http.auth``), for errors. Without settings everyone comes
    in. Raises StartError when the token file can't be read or the section holds no credential.
    """

    def __init__(self, settings: Auth | None, key: str) -> None:
        self._settings = settings
        self._key = key
        self._salt = secrets.token_bytes(16)
        self._bearer: tuple[bytes, ...] = ()
        self._basic: tuple[bytes, ...] = ()
        self.reload()

    @property
    def challenge(self) -> str:
        """The value of ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""
        schemes = ['Bearer realm="langfuse-sidecar"'] if self._bearer else []
        schemes += ['Basic realm="langfuse-sidecar", charset="UTF-8"'] if self._basic else []
        return ", ".join(schemes)

    def reload(self) -> None:
        """Read the token file again. Raises StartError when that fails; the old token stays valid then."""
        settings = self._settings
        if settings is None:
            return
        tokens = [settings.bearer_token.reveal().encode()] if settings.bearer_token else []
        if settings.bearer_token_file:
            tokens.append(self._read_token(settings.bearer_token_file))
        basic = [f"{settings.basic.username}:{settings.basic.password.reveal()}".encode()] if settings.basic is not None else []
        if not tokens and not basic:
            raise StartError(f"{self._key}: needs bearer_token, bearer_token_file or basic; without any, leave it out")
        self._bearer = tuple(self._digest(token) for token in tokens)
        self._basic = tuple(self._digest(pair) for pair in basic)

    def check(self, authorization: str | None) -> None:
        """Raises Unauthenticated unless the header holds one of the credentials. Takes the same time wherever a wrong one differs."""
        if self._settings is None:
            return
        if not authorization:
            raise Unauthenticated(f"this receiver asks for credentials ({self._key}) and the request has no Authorization header")
        scheme, _, rest = authorization.partition(" ")
        given, known = rest.strip().encode("utf-8", "surrogateescape"), self._bearer
        if scheme.lower() == "basic":
            given, known = _decoded(given), self._basic
        elif scheme.lower() != "bearer":
            known = ()
        digest = self._digest(given)
        # Every credential is compared, so that time does not tell which one matched.
        if not any([hmac.compare_digest(digest, each) for each in known]):  # noqa: C419  (no short cut)
            raise Unauthenticated(f"the Authorization header holds none of the credentials of this receiver ({self._key})")

    def _digest(self, credential: bytes) -> bytes:
        return hashlib.blake2b(credential, key=self._salt, digest_size=32).digest()

    def _read_token(self, path: str) -> bytes:
        try:
            with Path(path).open("rb") as file:
                token = file.read(TOKEN_FILE_BYTES_MAX + 1).strip()
        except OSError as error:
            raise StartError(f"{self._key}.bearer_token_file: {path} can't be read ({error.strerror})") from None
        if not token or len(token) > TOKEN_FILE_BYTES_MAX:
            raise StartError(f"{self._key}.bearer_token_file: {path} must hold one token and is {'too large' if token else 'empty'}")
        return token


def public_key_of(header: str | None, authorization: str | None) -> str:
    """The Langfuse public key that a request names, or ``""``: ``x-langfuse-public-key``, else the user name of basic authentication.

    Langfuse's SDKs send both (the secret key is the password; it is not looked at here).
    """
    if header:
        return header.strip()[:PUBLIC_KEY_CHARS_MAX]
    if not authorization or authorization[:6].lower() != "basic ":
        return ""
    name, colon, _ = _decoded(authorization[6:].strip().encode("utf-8", "surrogateescape")).partition(b":")
    return name.decode("utf-8", "replace")[:PUBLIC_KEY_CHARS_MAX] if colon else ""


def _decoded(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""

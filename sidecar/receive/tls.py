"""TLS of the listeners: server contexts from the settings.

Owns reading certificates and keys. TLS 1.2 is the oldest version that is spoken.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from sidecar.config import Tls
from sidecar.errors import StartError


def server_context(settings: Tls | None, key: str) -> ssl.SSLContext | None:
    """The context of an HTTPS listener, or None without TLS.

    ``key`` is the path of the settings (``receivers.http.tls``), for errors. With a client CA, clients
    without a certificate that it signed are refused in the handshake. Raises StartError.
    """
    if settings is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:
        raise StartError(
            f"{key}: the certificate {settings.cert_file} and key {settings.key_file} can't be used ({_reason(error)}); "
            "both must be readable PEM files that belong together"
        ) from None
    if settings.client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(settings.client_ca_file)
        except OSError as error:
            raise StartError(f"{key}.client_ca_file: {settings.client_ca_file} can't be used ({_reason(error)}); it must be a PEM file") from None
    return context


def pem_files(settings: Tls, key: str) -> tuple[bytes, bytes, bytes | None]:
    """Private key, certificate chain and client CA as PEM bytes, for gRPC; checked first, because gRPC's own errors name no file."""
    server_context(settings, key)
    client_ca = Path(settings.client_ca_file).read_bytes() if settings.client_ca_file else None
    return Path(settings.key_file).read_bytes(), Path(settings.cert_file).read_bytes(), client_ca


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not valid PEM"
    return error.strerror or type(error).__name__

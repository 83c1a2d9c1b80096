"""Binding of listeners: TCP addresses and unix sockets.

Owns the checks before a bind and the words of what went wrong. It must not accept connections.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from sidecar.config import Endpoint
from sidecar.errors import StartError

UNIX_PATH_BYTES_MAX = 107
"""sockaddr_un.sun_path has 108 bytes on Linux, one of them the closing zero."""
UNIX_MODE = 0o600


def check_free(endpoint: Endpoint, key: str) -> None:
    """Raise StartError, naming the address and ``key``, when the endpoint can't be bound; remove a unix socket that nobody listens on."""
    if endpoint.path:
        _clear_unix_path(endpoint.path, key)
        return
    for sock in _tcp_sockets(endpoint, key):
        sock.close()


def listening_sockets(endpoint: Endpoint, key: str, backlog: int = 1024) -> list[socket.socket]:
    """Bound, listening, non-blocking sockets: one, or one for each address of a host name. Raises StartError."""
    sockets = [_unix_socket(endpoint.path, key)] if endpoint.path else list(_tcp_sockets(endpoint, key))
    for sock in sockets:
        sock.listen(backlog)
        sock.setblocking(False)
    return sockets


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Files and sockets made inside are for this user only (0600). For synchronous code: the mask belongs to the process."""
    before = os.umask(0o777 & ~UNIX_MODE)
    try:
        yield
    finally:
        os.umask(before)


def remove_socket(path: str) -> None:
    """Remove a unix socket of ours, if it is still there."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(Path(path).lstat().st_mode):
            Path(path).unlink()


def _tcp_sockets(endpoint: Endpoint, key: str) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(endpoint.host or None, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(f"{key}: {endpoint.host} is not an address of this machine ({error.strerror})") from None
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = _bind(family, kind, protocol, address, optional=bool(bound))
            if sock is not None:
                bound.append(sock)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise StartError(f"{key}: can't listen on {endpoint}: {_why(error)}") from None
    yield from bound


def _bind(family: int, kind: int, protocol: int, address: tuple[object, ...], *, optional: bool) -> socket.socket | None:
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError:
        if optional:
            return None  # a kernel without IPv6 still resolves ::1
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if optional and error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return sock


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there (is a sidecar or a collector running already?); stop it or choose another port"
    if error.errno == errno.EACCES:
        return "this user may not use that port; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return error.strerror or type(error).__name__


def _clear_unix_path(path: str, key: str) -> None:
    if len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
        raise StartError(f"{key}: unix://{path} is too long: the path of a unix socket has at most {UNIX_PATH_BYTES_MAX} bytes")
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(f"{key}: unix://{path} can't be used ({error.strerror})") from None
    if not stat.S_ISSOCK(mode):
        raise StartError(f"{key}: unix://{path} exists and is no socket; it was left alone. Choose another path or remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            remove_socket(path)
        except OSError as error:
            raise StartError(f"{key}: unix://{path} exists and can't be probed ({error.strerror}); remove it if nobody uses it") from None
        else:
            raise StartError(f"{key}: can't listen on unix://{path}: another process listens there")


def _unix_socket(path: str, key: str) -> socket.socket:
    _clear_unix_path(path, key)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with private_files():
            sock.bind(path)
    except OSError as error:
        sock.close()
        raise StartError(f"{key}: can't make the socket unix://{path} ({error.strerror}); its directory must exist and be writable") from None
    return sock

"""A TCP port of this machine that stays ours while nobody listens on it."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class HeldPort:
    """A port that refuses connections until someone listens on it, and that no other process or outgoing connection gets meanwhile.

    The holding socket is bound and never listens: Linux refuses connections to it, and lets others that set
    SO_REUSEADDR bind the same port beside it.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = bound(port)
        self.port: int = self._socket.getsockname()[1]

    def listen(self) -> socket.socket:
        """A new listening socket on this port; connections queue from now on."""
        listener = bound(self.port)
        listener.listen(128)
        return listener

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def bound(port: int) -> socket.socket:
    """A bound socket on loopback."""
    new = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    new.setblocking(False)
    try:
        new.bind((HOST, port))
    except OSError:
        new.close()
        raise
    return new

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.config import Endpoint
from sidecar.errors import StartError
from sidecar.receive.sockets import check_free, listening_sockets, private_files, remove_socket

KEY = "receivers.http.endpoint"


@contextlib.contextmanager
def listening(endpoint: Endpoint) -> Iterator[list[socket.socket]]:
    sockets = listening_sockets(endpoint, KEY)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


@contextlib.contextmanager
def stale_socket(path: Path) -> Iterator[None]:
    """A socket file that its process left behind."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    yield


def test_a_tcp_endpoint_listens() -> None:
    with listening(Endpoint("127.0.0.1", 0)) as (sock,), socket.create_connection(sock.getsockname()):
        assert sock.getsockname()[0] == "127.0.0.1"


def test_no_host_means_all_addresses() -> None:
    with listening(Endpoint("", 0)) as sockets:
        assert sockets[0].getsockname()[0] in ("0.0.0.0", "::")


def test_a_taken_port_is_named_with_its_setting_and_what_to_do() -> None:
    with listening(Endpoint("127.0.0.1", 0)) as (sock,):
        port = sock.getsockname()[1]
        for attempt in (check_free, listening_sockets):
            with pytest.raises(StartError, match=rf"receivers\.http\.endpoint: can't listen on 127\.0\.0\.1:{port}: another process"):
                attempt(Endpoint("127.0.0.1", port), KEY)


def test_a_free_port_stays_free_after_the_check() -> None:
    with listening(Endpoint("127.0.0.1", 0)) as (sock,):
        port = sock.getsockname()[1]
    check_free(Endpoint("127.0.0.1", port), KEY)
    with listening(Endpoint("127.0.0.1", port)):
        pass


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(StartError, match=r"receivers\.http\.endpoint"):
        listening_sockets(Endpoint(host, 4318), KEY)


def test_a_unix_socket_is_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "otlp.sock"
    before = os.umask(0)
    os.umask(before)
    with listening(Endpoint(path=str(path))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    after = os.umask(before)
    assert after == before


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "otlp.sock"
    with stale_socket(path), listening(Endpoint(path=str(path))), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    endpoint = Endpoint(path=str(tmp_path / "otlp.sock"))
    with listening(endpoint):
        with pytest.raises(StartError, match="another process listens there"):
            listening_sockets(endpoint, KEY)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(endpoint.path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(StartError, match="no socket"):
        listening_sockets(Endpoint(path=str(path)), KEY)
    remove_socket(str(path))
    assert path.read_text() == "mine"


def test_a_path_longer_than_the_kernel_takes_is_refused_with_the_limit(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="107 bytes"):
        listening_sockets(Endpoint(path=str(tmp_path / ("x" * 108))), KEY)


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="directory must exist"):
        listening_sockets(Endpoint(path=str(tmp_path / "missing" / "otlp.sock")), KEY)


def test_the_mask_is_put_back_even_after_an_error() -> None:
    before = os.umask(0o022)
    try:
        with pytest.raises(OSError, match="broken"), private_files():
            raise OSError("broken")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)

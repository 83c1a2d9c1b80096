from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from sidecar.config import Tls
from sidecar.errors import StartError
from sidecar.receive.tls import pem_files, server_context

KEY = "receivers.http.tls"


def files(folder: Path, *, client_ca: bool = False) -> Tls:
    """A certificate for localhost, its key and, when asked for, a client CA."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return Tls(cert_file=str(folder / "cert.pem"), key_file=str(folder / "key.pem"), client_ca_file=str(folder / "ca.pem") if client_ca else "")


def test_without_settings_there_is_no_tls() -> None:
    assert server_context(None, KEY) is None


def test_tls_1_2_is_the_oldest_version(tmp_path: Path) -> None:
    context = server_context(files(tmp_path), KEY)
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


def test_a_client_ca_makes_client_certificates_required(tmp_path: Path) -> None:
    context = server_context(files(tmp_path, client_ca=True), KEY)
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_the_pem_files_are_read_for_grpc(tmp_path: Path) -> None:
    key, chain, client_ca = pem_files(files(tmp_path, client_ca=True), KEY)
    assert b"PRIVATE KEY" in key
    assert b"CERTIFICATE" in chain
    assert client_ca is not None and b"CERTIFICATE" in client_ca
    assert pem_files(files(tmp_path), KEY)[2] is None


@pytest.mark.parametrize("spoiled", ["cert.pem", "key.pem", "ca.pem"])
@pytest.mark.parametrize("how", ["missing", "not PEM"])
def test_a_file_that_cannot_be_used_is_named_with_its_setting(tmp_path: Path, spoiled: str, how: str) -> None:
    settings = files(tmp_path, client_ca=True)
    path = tmp_path / spoiled
    path.unlink()
    if how == "not PEM":
        path.write_text("not a certificate")
    with pytest.raises(StartError, match=r"receivers\.http\.tls") as refused:
        server_context(settings, KEY)
    assert spoiled in str(refused.value)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    settings = files(tmp_path)
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    with pytest.raises(StartError, match="belong together"):
        server_context(settings, KEY)

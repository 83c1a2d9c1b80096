"""OTLP over HTTP: who comes in, how the receiver starts and how it leaves."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

import aiohttp
import pytest
import trustme

from sidecar.config import Auth, BasicAuth, Endpoint, HttpReceiver, Secret, Tls
from sidecar.errors import StartError
from tests.receive.rig import (
    AS_PROTOBUF,
    AUTHORITY,
    INSTANCE,
    PATHS,
    PROTOBUF,
    STRANGER,
    HttpRig,
    assert_refused,
    basic,
    client_context,
    http_rig,
    loopback,
    make_rig,
    on_http,
    run,
    tls_files,
)
from tests.spans import request, span
from tests.waiting import until


def test_wrong_credentials_are_401_with_a_challenge_before_the_body_is_read() -> None:
    async def scene(http: HttpRig) -> None:
        for path in PATHS:
            for sent in ({}, {"Authorization": "Bearer wrong"}):
                answer = await http.post(path, AS_PROTOBUF, **sent)
                assert_refused(answer, 401, 16)
                assert answer.headers["WWW-Authenticate"] == 'Bearer realm="langfuse-sidecar"'
        assert (await http.post(body=AS_PROTOBUF, Authorization="Bearer token")).status == 200
        assert http.buffer.names == {"chat": 1}

    on_http(scene, auth=Auth(bearer_token=Secret("token")))


def test_basic_credentials_open_too() -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.post(body=AS_PROTOBUF, Authorization=basic("agent", "password"))
        assert answer.status == 200

    on_http(scene, auth=Auth(basic=BasicAuth(username="agent", password=Secret("password"))))


def test_without_own_credentials_any_authorization_is_accepted_and_names_the_project() -> None:
    async def scene(http: HttpRig) -> None:
        headers = [
            {"Authorization": basic("pk-lf-1", "sk-lf-1")},
            {"Authorization": basic("pk-lf-1", "sk"), "x-langfuse-public-key": "pk-lf-2"},
            {"Authorization": "Bearer whatever"},
        ]
        for number, sent in enumerate(headers):
            body = request(span(name=f"span {number}")).SerializeToString()
            assert (await http.post("/api/public/otel/v1/traces", body, **sent)).status == 200
        assert http.route.public_keys == ["pk-lf-1", "pk-lf-2", None]

    on_http(scene)


def test_our_own_request_coming_back_is_508_with_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(http: HttpRig) -> None:
        for _ in range(2):
            assert_refused(await http.post(body=AS_PROTOBUF, X_Langfuse_Sidecar_Instance=INSTANCE), 508, 9)
        assert (await http.post(body=AS_PROTOBUF, X_Langfuse_Sidecar_Instance="another one")).status == 200

    on_http(scene)
    alarms = [record for record in caplog.records if record.name == "sidecar.receive" and record.levelno == logging.ERROR]
    assert len(alarms) == 1
    assert "base_url" in alarms[0].getMessage()


def test_a_taken_port_refuses_to_start_and_names_the_setting() -> None:
    async def scene(http: HttpRig) -> None:
        with pytest.raises(StartError, match=rf"receivers\.http\.endpoint: can't listen on 127\.0\.0\.1:{http.endpoint.port}"):
            async with http_rig(HttpReceiver(endpoint=http.endpoint)):
                pytest.fail("it started")

    on_http(scene)


def test_a_unix_socket_serves_and_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "otlp.sock"

    async def scene(http: HttpRig) -> None:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.post("http://sidecar/v1/traces", data=AS_PROTOBUF, headers={"Content-Type": PROTOBUF}) as response,
        ):
            assert response.status == 200
        assert path.stat().st_mode & 0o777 == 0o600

    on_http(scene, HttpReceiver(endpoint=Endpoint(path=str(path))))
    assert not path.exists()


def test_leaving_finishes_what_is_in_flight_and_takes_nothing_more() -> None:
    async def play() -> None:
        rig = make_rig()
        rig.buffer.gate.clear()
        async with aiohttp.ClientSession() as session:
            async with http_rig(rig=rig) as http:
                http.session, own = session, http.session
                first = asyncio.create_task(http.post(body=AS_PROTOBUF))
                await until(lambda: rig.buffer.waiting == 1)
                reader, idle = await http.connect()
                asyncio.get_running_loop().call_later(0.05, rig.buffer.gate.set)
            assert (await first).status == 200
            assert await reader.read() == b""
            with pytest.raises(aiohttp.ClientError):
                await http.post(body=AS_PROTOBUF)
            await own.close()
        assert rig.buffer.names == {"chat": 1}
        idle.close()

    run(play())


def test_a_body_under_way_may_finish_while_the_receiver_leaves() -> None:
    async def play() -> None:
        rig = make_rig()
        async with http_rig(rig=rig) as http:
            reader, writer = await http.connect()
            writer.write(f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {len(AS_PROTOBUF)}\r\n\r\n".encode())
            writer.write(AS_PROTOBUF[:10])
            await until(lambda: rig.budget.bytes == 10)
            asyncio.get_running_loop().call_later(0.05, writer.write, AS_PROTOBUF[10:])
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in answer
        assert rig.buffer.names == {"chat": 1}
        writer.close()

    run(play())


def test_leaving_cancels_what_does_not_finish_in_time() -> None:
    async def play() -> None:
        rig = make_rig()
        rig.buffer.gate.clear()
        async with http_rig(rig=rig, drain_s=0.05) as http:
            first = asyncio.create_task(http.post(body=AS_PROTOBUF))
            await until(lambda: rig.buffer.waiting == 1)
        with pytest.raises(aiohttp.ClientError):
            await first
        rig.buffer.gate.set()
        await asyncio.sleep(0)
        assert rig.buffer.appends == []

    run(play())


def test_after_leaving_no_further_data_reaches_the_intake_although_senders_go_on() -> None:
    async def play() -> None:
        rig = make_rig()
        acknowledged: list[str] = []

        async def send(http: HttpRig, sender: int) -> None:
            for number in range(100_000):
                name = f"{sender}-{number}"
                try:
                    answer = await http.post(body=request(span(name=name)).SerializeToString())
                except (aiohttp.ClientError, RuntimeError):
                    return
                assert answer.status == 200
                acknowledged.append(name)

        async with aiohttp.ClientSession() as session:
            async with http_rig(rig=rig) as http:
                http.session, own = session, http.session
                senders = [asyncio.create_task(send(http, number)) for number in range(4)]
                await until(lambda: len(acknowledged) >= 50)
            kept = rig.buffer.names
            await asyncio.gather(*senders)
            await own.close()
        assert rig.buffer.names == kept
        assert set(acknowledged) <= set(kept)

    run(play())


@pytest.mark.parametrize(
    ("is_mutual", "trusted", "identity", "works"),
    [
        (False, AUTHORITY, None, True),
        (False, None, None, False),
        (True, AUTHORITY, AUTHORITY, True),
        (True, AUTHORITY, None, False),
        (True, AUTHORITY, STRANGER, False),
    ],
    ids=["tls", "client lacks the CA", "mutual tls", "client lacks a certificate", "client's certificate of another CA"],
)
def test_tls_lets_in_exactly_whom_it_should(
    tmp_path: Path, is_mutual: bool, trusted: trustme.CA | None, identity: trustme.CA | None, works: bool
) -> None:
    async def scene(http: HttpRig) -> None:
        url, headers = f"https://{http.endpoint}/v1/traces", {"Content-Type": PROTOBUF}
        try:
            async with http.session.post(url, data=AS_PROTOBUF, headers=headers, ssl=client_context(trusted, identity)) as response:
                assert response.status == 200
                assert works
        except (aiohttp.ClientError, ssl.SSLError):
            assert not works
        assert http.buffer.names == ({"chat": 1} if works else {})
        plain = await http.raw(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.startswith(b"HTTP/1.1 200")

    on_http(scene, loopback(tls=tls_files(tmp_path, AUTHORITY, client_ca=AUTHORITY if is_mutual else None)))


def test_a_client_that_does_not_begin_its_handshake_is_cut(tmp_path: Path) -> None:
    async def scene(http: HttpRig) -> None:
        assert await http.raw(b"") == b""

    on_http(scene, loopback(header_timeout_s=0.05, tls=tls_files(tmp_path, AUTHORITY)))


def test_a_certificate_that_cannot_be_used_refuses_to_start(tmp_path: Path) -> None:
    settings_with_tls = loopback(tls=Tls(cert_file=str(tmp_path / "no.pem"), key_file=str(tmp_path / "no.key")))
    with pytest.raises(StartError, match=r"receivers\.http\.tls"):
        on_http(nothing, settings_with_tls)


async def nothing(_: HttpRig) -> None:
    """A scene without an act."""

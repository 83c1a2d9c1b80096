"""OTLP over gRPC: how the receiver starts, how it leaves, and TLS."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import grpc
import pytest
import trustme
from grpc import aio

from sidecar.config import Endpoint, GrpcReceiver, Tls
from sidecar.errors import StartError
from sidecar.receive.auth import Guard
from sidecar.receive.grpc import run_grpc
from tests.receive.grpc_rig import BODY, TRACES, GrpcRig, grpc_rig, loopback, on_grpc
from tests.receive.rig import AUTHORITY, INSTANCE, LOG, PROTOBUF, STRANGER, http_rig, make_rig, run, tls_files
from tests.spans import request, span
from tests.waiting import until


def test_a_taken_port_refuses_to_start_and_names_the_setting() -> None:
    async def scene(target: GrpcRig) -> None:
        with pytest.raises(StartError, match=rf"receivers\.grpc\.endpoint: can't listen on 127\.0\.0\.1:{target.endpoint.port}"):
            async with grpc_rig(GrpcReceiver(endpoint=target.endpoint)):
                pytest.fail("it started")

    on_grpc(scene)


def test_a_unix_socket_serves_for_this_user_only_and_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "otlp.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def scene(target: GrpcRig) -> None:
        assert await target.export() == b""
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(StartError, match="another process listens"):
            async with grpc_rig(GrpcReceiver(endpoint=target.endpoint)):
                pytest.fail("it started")
        assert await target.export() == b""

    on_grpc(scene, GrpcReceiver(endpoint=Endpoint(path=str(path))))
    assert not path.exists()


def test_leaving_finishes_what_is_in_flight_and_takes_nothing_more() -> None:
    async def play() -> None:
        rig = make_rig()
        rig.buffer.gate.clear()
        guard = Guard(None, "receivers.grpc.auth")
        async with run_grpc(loopback(), rig.intake, guard, rig.budget, LOG, instance_id=INSTANCE) as endpoint:
            channel = aio.insecure_channel(f"localhost:{endpoint.port}")
            call = asyncio.ensure_future(channel.unary_unary(TRACES)(BODY))
            await until(lambda: rig.buffer.waiting == 1)
            asyncio.get_running_loop().call_later(0.05, rig.buffer.gate.set)
        assert await call == b""
        assert rig.buffer.names == {"chat": 1}
        with pytest.raises(aio.AioRpcError):
            await channel.unary_unary(TRACES)(BODY)
        await channel.close()

    run(play())


def test_leaving_cancels_what_does_not_finish_in_time() -> None:
    async def play() -> None:
        rig = make_rig()
        rig.buffer.gate.clear()
        guard = Guard(None, "receivers.grpc.auth")
        async with run_grpc(loopback(), rig.intake, guard, rig.budget, LOG, instance_id=INSTANCE, drain_s=0.05) as endpoint:
            channel = aio.insecure_channel(f"localhost:{endpoint.port}")
            call = asyncio.ensure_future(channel.unary_unary(TRACES)(BODY))
            await until(lambda: rig.buffer.waiting == 1)
        rig.buffer.gate.set()
        with pytest.raises(aio.AioRpcError):
            await call
        assert rig.buffer.appends == []
        await channel.close()

    run(play())


def test_after_leaving_no_further_data_reaches_the_intake_although_senders_go_on() -> None:
    async def play() -> None:
        rig = make_rig()
        acknowledged: list[str] = []
        guard = Guard(None, "receivers.grpc.auth")

        async def send(channel: aio.Channel, sender: int) -> None:
            for number in range(100_000):
                name = f"{sender}-{number}"
                try:
                    await channel.unary_unary(TRACES)(request(span(name=name)).SerializeToString())
                except aio.AioRpcError:
                    return
                acknowledged.append(name)

        async with run_grpc(loopback(), rig.intake, guard, rig.budget, LOG, instance_id=INSTANCE) as endpoint:
            channel = aio.insecure_channel(f"localhost:{endpoint.port}")
            senders = [asyncio.create_task(send(channel, number)) for number in range(4)]
            await until(lambda: len(acknowledged) >= 50)
        kept = rig.buffer.names
        await asyncio.gather(*senders)
        await channel.close()
        assert rig.buffer.names == kept
        assert set(acknowledged) <= set(kept)

    run(play())


def test_http_and_grpc_share_one_intake_and_its_repeats() -> None:
    async def play() -> None:
        rig = make_rig()
        async with http_rig(rig=rig) as http, grpc_rig(rig=rig) as target:
            bodies = [request(span(name=f"span {number}")).SerializeToString() for number in range(40)]
            answers = await asyncio.gather(
                *(http.post(body=body, content_type=PROTOBUF) for body in bodies[:20]), *(target.export(body) for body in bodies[20:])
            )
            assert all(answer == b"" or getattr(answer, "status", 0) == 200 for answer in answers)
            assert sum(rig.buffer.names.values()) == 40
            assert await target.export(bodies[0]) == b""
            assert rig.buffer.ledger == {"received": 41, "stored": 40, "duplicate": 1}

    run(play())


def client_credentials(trusted: trustme.CA | None, identity: trustme.CA | None) -> grpc.ChannelCredentials:
    roots = None if trusted is None else trusted.cert_pem.bytes()
    if identity is None:
        return grpc.ssl_channel_credentials(roots)
    issued = identity.issue_cert("agent")
    return grpc.ssl_channel_credentials(roots, issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())


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
    async def play() -> None:
        secured = loopback(tls=tls_files(tmp_path, AUTHORITY, client_ca=AUTHORITY if is_mutual else None))
        async with grpc_rig(secured, credentials=client_credentials(trusted, identity)) as target:
            if works:
                assert await target.export() == b""
            else:
                assert (await target.refused()).code is grpc.StatusCode.UNAVAILABLE
            assert target.buffer.names == ({"chat": 1} if works else {})

    run(play())


def test_a_certificate_that_cannot_be_used_refuses_to_start(tmp_path: Path) -> None:
    async def play() -> None:
        async with grpc_rig(loopback(tls=Tls(cert_file=str(tmp_path / "no.pem"), key_file=str(tmp_path / "no.key")))):
            pytest.fail("it started")

    with pytest.raises(StartError, match=r"receivers\.grpc\.tls"):
        run(play())

"""OTLP over HTTP: sizes, and clients that are slow, broken or hostile."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.receive.rig import AS_PROTOBUF, JSON, MIB, PACK, PATHS, PROTOBUF, HttpRig, assert_refused, loopback, make_rig, on_http
from tests.spans import many, request, span
from tests.waiting import until


def filled(size: int) -> bytes:
    """A request of exactly ``size`` bytes: an unknown field fills it up."""
    base = AS_PROTOBUF
    padding = size - len(base) - 7
    length = bytes((padding & 0x7F | 0x80, padding >> 7 & 0x7F | 0x80, padding >> 14 & 0x7F | 0x80, padding >> 21))
    body = base + b"\xd2\xbe\x00"[:3] + length + bytes(padding)
    assert len(body) == size
    return body


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_413(encoding: str) -> None:
    async def scene(http: HttpRig) -> None:
        assert (await http.post(body=PACK[encoding](filled(MIB)), Content_Encoding=encoding)).status == 200
        assert_refused(await http.post(body=PACK[encoding](filled(MIB + 1)), Content_Encoding=encoding), 413, 8)
        assert http.outcomes("http") == {("traces", "ok"): 1, ("traces", "too_large"): 1}

    on_http(scene, loopback(max_body_mib=1))


@pytest.mark.parametrize("path", PATHS)
def test_a_length_over_the_limit_is_413_before_the_body_is_read(path: str) -> None:
    async def scene(http: HttpRig) -> None:
        reader, writer = await http.connect()
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 99999999999\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
        writer.close()

    on_http(scene)


def test_a_chunked_body_over_the_limit_is_413_while_it_comes() -> None:
    async def scene(http: HttpRig) -> None:
        async def chunks() -> object:
            for _ in range(40):
                yield bytes(100_000)

        async with http.session.post(f"http://{http.endpoint}/v1/traces", data=chunks(), headers={"Content-Type": PROTOBUF}) as response:
            assert response.status == 413
        assert http.budget.bytes == 0

    on_http(scene, loopback(max_body_mib=1))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_decompression_bomb_is_413_and_gives_its_bytes_back(encoding: str) -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.post(body=PACK[encoding](bytes(50 * MIB)), Content_Encoding=encoding)
        assert_refused(answer, 413, 8)
        assert http.budget.bytes == 0

    on_http(scene, loopback(max_body_mib=4))


def test_a_body_over_the_in_flight_budget_takes_its_turn_and_passes() -> None:
    async def scene(http: HttpRig) -> None:
        big = many(traces=2, spans_per_trace=50, bytes_per_span=4000).SerializeToString()
        small = [request(span(name=f"span {number}")).SerializeToString() for number in range(20)]
        answers = await asyncio.gather(http.post(body=big), *(http.post(body=body) for body in small))
        assert {answer.status for answer in answers} == {200}
        assert sum(http.buffer.names.values()) == 120
        assert http.budget.bytes == 0

    on_http(scene, rig=lambda: make_rig(in_flight_bytes=64 * 1024))


def test_without_room_in_the_budget_a_request_is_503_with_retry_after() -> None:
    async def scene(http: HttpRig) -> None:
        async with http.budget.take(1000), http.budget.take(1000), http.budget.take(1000), http.budget.take(1000):
            answer = await http.post(body=AS_PROTOBUF)
            assert_refused(answer, 503, 14)
            assert answer.headers["Retry-After"] == "1"
        assert (await http.post(body=AS_PROTOBUF)).status == 200

    on_http(scene, rig=lambda: make_rig(in_flight_bytes=4000))


@pytest.mark.parametrize("sent", [b"", b"POST", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_client_that_does_not_finish_its_head_is_cut(sent: bytes) -> None:
    async def scene(http: HttpRig) -> None:
        assert await http.raw(sent) == b""
        assert http.outcomes("http") == {("other", "timeout"): 1}

    on_http(scene, loopback(header_timeout_s=0.05))


def test_a_client_that_drips_its_head_is_cut_too() -> None:
    async def scene(http: HttpRig) -> None:
        reader, writer = await http.connect()
        writer.write(b"POST /v1/traces HTTP/1.1\r\n")
        closed = asyncio.create_task(reader.read())
        while not closed.done():
            writer.write(b"X")
            await asyncio.wait((closed,), timeout=0.01)
        writer.close()
        assert http.outcomes("http") == {("other", "timeout"): 1}

    on_http(scene, loopback(header_timeout_s=0.1))


def test_the_head_of_a_second_request_has_its_own_deadline() -> None:
    async def scene(http: HttpRig) -> None:
        reader, writer = await http.connect()
        writer.write(f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 0\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"POST /v1/traces HT")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        assert http.outcomes("http") == {("traces", "ok"): 1, ("other", "timeout"): 1}

    on_http(scene, loopback(header_timeout_s=0.1))


def test_an_idle_connection_outlives_the_deadline_of_heads() -> None:
    async def scene(http: HttpRig) -> None:
        reader, writer = await http.connect()
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 0\r\n\r\n".encode()
        writer.write(head)
        await reader.readuntil(b"\r\n\r\n")
        assert await http.raw(b"") == b""  # another connection lives through a whole deadline meanwhile
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()

    on_http(scene, loopback(header_timeout_s=0.05))


@pytest.mark.parametrize("sent", [b"", b"half"])
def test_a_client_that_does_not_finish_its_body_is_answered_408_and_cut(sent: bytes) -> None:
    async def scene(http: HttpRig) -> None:
        answer = await http.raw(f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 100\r\n\r\n".encode() + sent)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body)["code"] == 4
        assert http.budget.bytes == 0

    on_http(scene, loopback(body_timeout_s=0.05))


def test_a_client_that_goes_away_in_its_body_leaves_nothing_behind() -> None:
    async def scene(http: HttpRig) -> None:
        _, writer = await http.connect()
        writer.write(f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 9999\r\n\r\nhalf".encode())
        await until(lambda: http.budget.bytes == 4)
        writer.close()
        await until(lambda: http.outcomes("http") == {("traces", "disconnected"): 1})
        assert http.budget.bytes == 0
        assert http.buffer.appends == []

    on_http(scene)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n" + b"X: x\r\n" * 1000 + b"\r\n",
        b"POST /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_not_http_or_has_an_oversized_head_is_400_with_a_status(sent: bytes) -> None:
    async def scene(http: HttpRig) -> None:
        head, _, body = (await http.raw(sent)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.") and b" 400 " in head.split(b"\r\n")[0]
        assert json.loads(body)["code"] == 3

    on_http(scene)


def test_a_body_that_breaks_its_chunks_is_400() -> None:
    async def scene(http: HttpRig) -> None:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: {PROTOBUF}\r\n\r\n"
        answer = await http.raw(head.encode() + b"zz\r\nnot a size")
        assert b" 400 " in answer.split(b"\r\n")[0]

    on_http(scene, loopback(body_timeout_s=5))

"""One exchange with a server, over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from sidecar import __version__
from sidecar.errors import ConfigError
from sidecar.forward.client import ANSWER_READ_BYTES_MAX, Body, Client, open_client, trust
from sidecar.forward.keys import Keys
from sidecar.forward.verdict import ANSWER_BYTES_MAX, Answer, Failure, FailureKind
from sidecar.wire.rows import Row
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, fake_langfuse
from tests.fakes.listener import HeldPort
from tests.fakes.proxy import proxy
from tests.forward.rig import INSTANCE, destination, rows, run
from tests.waiting import until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def body(count: int = 3, padding: int = 0) -> Body:
    return Body(
        [Row(i, each.destination, each.trace_id, each.spans, each.raw_bytes, each.body, 0) for i, each in enumerate(rows(count, padding=padding))]
    )


def opaque(size: int) -> Body:
    return Body([Row(i, "main", b"", 1, 1, bytes(64 * 1024), 0) for i in range(size // (64 * 1024))])


@asynccontextmanager
async def client(url: str, timeout_s: float = 5, ca_file: str = "") -> AsyncIterator[Client]:
    target = destination(url, ca_file=ca_file)
    async with open_client(target, Keys(target), INSTANCE, timeout_s=timeout_s, concurrency=2) as opened:
        yield opened


@asynccontextmanager
async def served(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server of raw bytes; gives its address."""
    done: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        done.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    scheme = "https" if context else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in done:
            task.cancel()
        await asyncio.gather(*done, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")).partition(b":")[2])
    return head, await reader.readexactly(length)


def answering(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer)

    return serve


def test_a_request_carries_what_langfuse_asks_for() -> None:
    async def main() -> None:
        seen: list[tuple[bytes, bytes]] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await read_request(reader))
            writer.write(OK)
            await reader.read()

        sent = body()
        async with served(serve) as url, client(url + "/langfuse/") as one:
            assert await one.post(sent) == Answer(200, "application/json", None, b"{}")

        head, received = seen[0]
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        assert lines[0] == "POST /langfuse/api/public/otel/v1/traces HTTP/1.1"
        assert headers["content-type"] == "application/x-protobuf"
        assert headers["content-encoding"] == "gzip"
        assert headers["content-length"] == str(sent.size)
        assert headers["authorization"] == "Basic " + b64encode(f"{PUBLIC_KEY}:{SECRET_KEY}".encode()).decode()
        assert headers["x-langfuse-ingestion-version"] == "4"
        assert (headers["x-langfuse-sdk-name"], headers["x-langfuse-sdk-version"]) == ("langfuse-sidecar", __version__)
        assert headers["x-langfuse-sidecar-instance"] == INSTANCE
        assert headers["user-agent"] == f"langfuse-sidecar/{__version__}"
        assert received == b"".join(each.body for each in rows(3))
        assert sent.out

    run(main())


def test_a_large_body_in_pieces_is_decoded_by_the_server_as_one_request() -> None:
    async def main() -> None:
        async with fake_langfuse() as fake, client(fake.url) as one:
            answer = await one.post(body(400, padding=4000))

            assert isinstance(answer, Answer)
            assert answer.status == 200
            assert fake.seen.requests[0].body_bytes > 2**19
            assert len(fake.seen.received) == 400

    run(main())


def test_a_connection_is_used_again() -> None:
    async def main() -> None:
        async with fake_langfuse() as fake, proxy("127.0.0.1", int(fake.url.rpartition(":")[2])) as between, client(between.url) as one:
            for _ in range(3):
                await one.post(body())

            assert between.connections == 1

    run(main())


def test_no_redirect_is_followed() -> None:
    async def main() -> None:
        async with fake_langfuse() as fake, fake_langfuse() as other, client(fake.url) as one:
            fake.script.redirect_next(1, other.url)
            answer = await one.post(body())

            assert isinstance(answer, Answer)
            assert answer.status == 301
            assert other.seen.requests == []

    run(main())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def main() -> None:
        async with fake_langfuse() as fake, client(fake.url) as one:
            assert isinstance(await one.post(body()), Answer)

    run(main())


def test_only_the_beginning_of_a_long_answer_is_kept() -> None:
    async def main() -> None:
        long = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b"{" + b" " * (4 * ANSWER_READ_BYTES_MAX)
        async with served(answering(long)) as url, client(url) as one:
            answer = await one.post(body())

            assert isinstance(answer, Answer)
            assert len(answer.body) == ANSWER_BYTES_MAX

    run(main())


def test_an_answer_that_breaks_off_after_its_status_still_counts() -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()

        async with served(serve) as url, client(url) as one:
            answer = await one.post(body())

            assert isinstance(answer, Answer)
            assert answer.status == 200

    run(main())


def test_a_server_that_answers_before_it_has_read_the_body_is_heard() -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            await reader.read()

        async with served(serve) as url, client(url) as one:
            answers = [await one.post(opaque(16 * 2**20)) for _ in range(3)]

            assert {isinstance(each, Answer) and each.status for each in answers} == {413}

    run(main())


def test_a_refused_connection_is_said() -> None:
    async def main() -> None:
        with HeldPort() as held:
            async with client(f"http://127.0.0.1:{held.port}") as one:
                failure = await one.post(body())

        assert isinstance(failure, Failure)
        assert (failure.kind, failure.body_was_out) == (FailureKind.REFUSED, False)

    run(main())


def test_a_name_that_does_not_resolve_is_said() -> None:
    async def main() -> None:
        async with client("http://no-such-host.invalid") as one:
            failure = await one.post(body())

        assert isinstance(failure, Failure)
        assert (failure.kind, failure.body_was_out) == (FailureKind.DNS, False)

    run(main())


@pytest.mark.parametrize("after_body", [True, False])
def test_a_reset_says_whether_the_body_was_out(after_body: bool) -> None:
    async def main() -> None:
        async with fake_langfuse() as fake, client(fake.url) as one:
            fake.script.reset_next(1, after_body=after_body)
            failure = await one.post(body() if after_body else opaque(16 * 2**20))

            assert failure == Failure(FailureKind.RESET, body_was_out=after_body, mid_body=not after_body, detail=failure.detail)  # type: ignore[union-attr]

    run(main())


def test_silence_after_the_body_is_a_timeout_with_the_body_out() -> None:
    async def main() -> None:
        async with fake_langfuse() as fake, client(fake.url, timeout_s=0.1) as one:
            fake.script.hang_next(1)
            failure = await one.post(body())

            assert failure == Failure(FailureKind.TIMEOUT, body_was_out=True)

    run(main())


def test_a_stalled_upload_is_a_timeout_within_the_body() -> None:
    async def main() -> None:
        async with (
            fake_langfuse() as fake,
            proxy("127.0.0.1", int(fake.url.rpartition(":")[2])) as between,
            client(between.url, timeout_s=0.2) as one,
        ):
            between.stall()
            failure = await one.post(opaque(32 * 2**20))

            assert failure == Failure(FailureKind.TIMEOUT, mid_body=True)

    run(main())


def test_a_server_that_speaks_no_http_is_said() -> None:
    async def main() -> None:
        async with served(answering(b"SSH-2.0-OpenSSH_9.6\r\n")) as url, client(url) as one:
            failure = await one.post(body())

            assert isinstance(failure, Failure)
            assert failure.kind is FailureKind.NOT_HTTP

    run(main())


@pytest.fixture
def authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context whose certificate a private CA signed, and the CA's file."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return context, tmp_path / "ca.pem"


def test_a_private_ca_is_trusted_when_it_is_configured(authority: tuple[ssl.SSLContext, Path]) -> None:
    async def main() -> None:
        context, ca_file = authority
        async with served(answering(OK), context) as url, client(url, ca_file=str(ca_file)) as one:
            assert isinstance(await one.post(body()), Answer)

    run(main())


def test_an_unknown_ca_is_refused_before_anything_is_sent(authority: tuple[ssl.SSLContext, Path]) -> None:
    async def main() -> None:
        context, _ = authority
        async with served(answering(OK), context) as url, client(url) as one:
            failure = await one.post(body())

            assert isinstance(failure, Failure)
            assert (failure.kind, failure.body_was_out, failure.mid_body) == (FailureKind.TLS, False, False)
            assert "certificate" in failure.detail

    run(main())


def test_a_certificate_for_another_name_is_refused(authority: tuple[ssl.SSLContext, Path]) -> None:
    async def main() -> None:
        context, ca_file = authority
        async with served(answering(OK), context) as url, client(url.replace("127.0.0.1", "localhost"), ca_file=str(ca_file)) as one:
            failure = await one.post(body())

            assert isinstance(failure, Failure)
            assert failure.kind is FailureKind.TLS

    run(main())


def test_without_a_ca_file_certificates_are_verified_against_known_authorities() -> None:
    context = trust("")

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_ca_file_without_certificates_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")

    async def main() -> None:
        with pytest.raises(ConfigError, match=r"destination main: ca_file .*ca.pem holds no usable certificates"):
            async with client("https://127.0.0.1", ca_file=str(tmp_path / "ca.pem")):
                pass

    run(main())


def test_a_new_secret_is_used_by_the_next_request(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "secret"
        file.write_text("sk-wrong")
        async with fake_langfuse() as fake:
            target = destination(fake.url, secret_key_file=str(file))
            keys = Keys(target)
            async with open_client(target, keys, INSTANCE, timeout_s=5, concurrency=1) as one:
                before = await one.post(body())
                file.write_text(SECRET_KEY)
                keys.refresh()
                after = await one.post(body())

        assert [isinstance(each, Answer) and each.status for each in (before, after)] == [401, 200]

    run(main())


def test_a_body_of_rows_has_no_text() -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            body().decode()

    run(main())


def test_secrets_do_not_show_in_what_a_request_leaves_behind() -> None:
    async def main() -> None:
        async with client("http://127.0.0.1:1") as one:
            failure = await one.post(body())

            assert SECRET_KEY not in repr((failure, one, vars(one)))

    run(main())


def test_connections_close_with_the_client() -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(OK)
            await reader.read()
            closed.set()

        async with served(serve) as url:
            async with client(url) as one:
                await one.post(body())
            await until(closed.is_set, "the connection's end")

    run(main())


def test_an_answer_in_chunks_is_read() -> None:
    async def main() -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            await request.read()
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for part in (b'{"name":', b'"otel"}'):
                await response.write(part)
            return response

        server = web.Server(handle, auto_decompress=False)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        async with client(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as one:
            answer = await one.post(body())
        listener.close()
        await server.shutdown(1)

        assert answer == Answer(200, "application/json", None, b'{"name":"otel"}')

    run(main())

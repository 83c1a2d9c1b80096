"""The connection to one Langfuse: a POST of a body of rows gives an Answer or a Failure, never an exception.

It owns the TLS settings, the headers and the limits of an exchange. It follows no redirect (a body and keys
must not go where nobody configured), reads no proxy or .netrc from the environment (what goes out, goes to
the configured address), keeps no cookies, and judges nothing: that is verdict.py's.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import certifi
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from sidecar import __version__
from sidecar.config import Destination
from sidecar.errors import ConfigError
from sidecar.forward.batch import pieces, size_of
from sidecar.forward.keys import Keys
from sidecar.forward.verdict import ANSWER_BYTES_MAX, Answer, Failure, FailureKind
from sidecar.wire.rows import Row

TRACES_PATH = "/api/public/otel/v1/traces"
INSTANCE_HEADER = "x-langfuse-sidecar-instance"
CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 15.0
"""Below the idle limits of common load balancers (60 s), so that they seldom close a connection under a request."""
ANSWER_READ_BYTES_MAX = 64 * 1024
"""Langfuse answers with its queue's job, a few KiB. After a longer answer the connection is closed instead of read to the end."""
DETAIL_CHARS_MAX = 200


class Body(payload.Payload):
    """A request body: the rows' bytes in pieces. It knows how far it got."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(rows, content_type="application/x-protobuf")
        self.rows = rows
        self._size = size_of(rows)
        self.started = False
        self.out = False
        """The last byte was handed to the transport: from here on the rows may have arrived."""

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002  (the base class's signature)
        """Write all of it, waiting whenever the socket is full; ``content_length`` is the size, which was known before."""
        await self.write(writer)

    async def write(self, writer: AbstractStreamWriter) -> None:
        assert isinstance(writer, StreamWriter)
        self.started, left = True, self._size or 0
        for piece in pieces(self.rows):
            left -= len(piece)
            await writer.write(piece, drain=left > 0)
        self.out = True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002  (the base class's signature)
        """No text; the base class asks for the method."""
        raise TypeError("a body of rows has no text")

    def failure(self, kind: FailureKind, detail: str) -> Failure:
        """What a failure means, given how far the body got. ``detail`` is the system's text: no payload, no secret."""
        return Failure(kind, body_was_out=self.out, mid_body=self.started and not self.out, detail=detail[:DETAIL_CHARS_MAX])


class Client:
    """Sends to one destination. Made by ``open_client``."""

    def __init__(self, session: aiohttp.ClientSession, url: str, keys: Keys) -> None:
        self._session, self._url, self._keys = session, url, keys

    async def post(self, body: Body) -> Answer | Failure:
        """One exchange, within the session's time limits."""
        headers = {"Authorization": self._keys.authorization()}
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                beginning = await _beginning(response)
                if response.status >= 300:
                    response.close()  # a server that answers before it has read the body closes the connection; the next request must not meet that
                return Answer(response.status, response.headers.get("Content-Type", ""), response.headers.get("Retry-After"), beginning)
        except aiohttp.ClientConnectorDNSError as error:
            return body.failure(FailureKind.DNS, error.strerror or "")
        except aiohttp.ClientSSLError as error:
            return body.failure(FailureKind.TLS, _ssl_text(error.os_error))
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, ConnectionRefusedError)
            return body.failure(FailureKind.REFUSED if refused else FailureKind.UNREACHABLE, error.strerror or "")
        except TimeoutError:
            return body.failure(FailureKind.TIMEOUT if body.started else FailureKind.CONNECT_TIMEOUT, "")
        except aiohttp.ClientResponseError as error:
            return body.failure(FailureKind.NOT_HTTP, type(error).__name__)
        except (aiohttp.ClientError, OSError) as error:
            return body.failure(FailureKind.RESET, type(error).__name__)
        except Exception as error:  # noqa: BLE001  (a defect of the HTTP library must not end the intake beside it)
            return body.failure(FailureKind.UNEXPECTED, type(error).__name__)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of the answer's body. Once its status is known, a broken body changes nothing."""
    kept, size = bytearray(), 0
    try:
        while size < ANSWER_READ_BYTES_MAX and (chunk := await response.content.read(ANSWER_READ_BYTES_MAX - size)):
            size += len(chunk)
            kept += chunk[: ANSWER_BYTES_MAX - len(kept)]
    except (aiohttp.ClientError, OSError):
        pass
    return bytes(kept)


def _ssl_text(error: BaseException) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else getattr(error, "reason", None) or type(error).__name__


def trust(ca_file: str) -> ssl.SSLContext:
    """Certificates are always verified: against ``ca_file``, the system's store, or certifi's where the system has none.

    Raises OSError (ssl.SSLError is one) when the file holds no certificates.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    paths = ssl.get_default_verify_paths()
    if not ca_file and not (paths.cafile or paths.capath):
        context.load_verify_locations(certifi.where())
    return context


@asynccontextmanager
async def open_client(destination: Destination, keys: Keys, instance_id: str, *, timeout_s: float, concurrency: int) -> AsyncIterator[Client]:
    """A client whose connections close with the block. Raises ConfigError when ``ca_file`` holds no certificates."""
    url = destination.base_url.rstrip("/") + TRACES_PATH
    try:
        verified = trust(destination.ca_file) if urlsplit(url).scheme == "https" else True
    except OSError as error:
        raise ConfigError(
            [f"destination {destination.name}: ca_file {destination.ca_file} holds no usable certificates ({error.strerror})"]
        ) from None
    headers = {
        "Content-Encoding": "gzip",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"langfuse-sidecar/{__version__}",
        "x-langfuse-ingestion-version": "4",
        "x-langfuse-sdk-name": "langfuse-sidecar",
        "x-langfuse-sdk-version": __version__,
        INSTANCE_HEADER: instance_id,
    }
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=verified, limit=concurrency, keepalive_timeout=KEEP_ALIVE_S),
        timeout=aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Client(session, url, keys)

"""The unix socket through which operators reach the buffer of a running process, and its client.

One request a connection: a line of JSON. The answer is lines of JSON, then ``{"end": true}`` or ``{"error": text}``. A body
longer than a line's bound goes on in ``{"part": base64, "more": bool}`` lines. The socket lies beside the file, for its
owner only; who may read the file may use it, nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sidecar.buffer.buffer import Buffer
from sidecar.buffer.commands import Request, answer, parse
from sidecar.errors import BufferError, BufferFull, BufferUnwritable  # noqa: A004  (the tree's name is the field's)

MAX_REQUEST_BYTES = 256 * 1024
"""10,000 ids of up to 20 digits and some words."""
PART_CHARS = 512 * 1024
"""Base64 of one line; half of what asyncio's reader is given for a line."""
MAX_CONNECTIONS = 4
REQUEST_TIMEOUT_S = 10.0
"""For the request's line; an answer may take as long as its reader."""
MAX_ADDRESS_BYTES = 107 if sys.platform == "linux" else 103
"""sockaddr_un holds 108 bytes on Linux and 104 on macOS and the BSDs, with a final zero."""


@asynccontextmanager
async def serve_control(buffer: Buffer, log: logging.Logger) -> AsyncIterator[None]:
    """Serve the buffer's operators while the block runs. Without a socket (no room in the path, none on this file system) it only warns."""
    path = socket_path(buffer.path)
    if path is None:
        yield
        return
    try:
        listener = _listen(path)
    except OSError as error:
        log.warning("no control socket: `sidecar buffer` commands need this process stopped", extra={"path": str(path), "reason": str(error)})
        yield
        return
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        try:
            await _serve(buffer, reader, writer, crowded=len(tasks) > MAX_CONNECTIONS, log=log)
        finally:
            if task is not None:
                tasks.discard(task)

    server = await asyncio.start_unix_server(accept, sock=listener, limit=MAX_REQUEST_BYTES)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        path.unlink(missing_ok=True)


async def ask(path: str, request: Mapping[str, object]) -> AsyncGenerator[dict[str, object], None]:
    """Send a request to the process that holds the buffer at ``path``; yields its answers.

    Raises BufferError with what that process says, or if it can't be reached.
    """
    target = socket_path(path)
    if target is None:
        raise BufferError("a buffer in memory can only be reached by its own process")
    try:
        with _address(target) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=2 * PART_CHARS)
    except OSError as error:
        raise BufferUnwritable(
            f"the process that holds {path} can't be reached at {target} ({error.strerror}): run this as the same user, or stop that process first"
        ) from error
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        async for tree in _answers(reader):
            yield tree
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def socket_path(path: str) -> Path | None:
    """Where the control socket of a buffer lies; None for one in memory."""
    return None if path == ":memory:" else Path(str(Path(path).resolve()) + ".sock")


async def _answers(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, object]]:
    try:
        while True:
            tree = await _line(reader)
            if "error" in tree:
                raise BufferError(str(tree["error"]))
            if "end" in tree:
                return
            if tree.pop("more", False):
                parts = [str(tree["body"])]
                more = True
                while more:
                    part = await _line(reader)
                    parts.append(str(part.get("part", "")))
                    more = part.get("more") is True
                tree["body"] = "".join(parts)
            yield tree
    except (OSError, ValueError, asyncio.LimitOverrunError) as error:
        raise BufferError("the process that holds the buffer ended in the middle of its answer") from error


async def _line(reader: asyncio.StreamReader) -> dict[str, object]:
    line = await reader.readline()
    tree = json.loads(line) if line.endswith(b"\n") else None
    if not isinstance(tree, dict):
        raise ValueError("not an answer")  # noqa: TRY004  (bytes from outside, not a caller's mistake)
    return tree


async def _serve(buffer: Buffer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, crowded: bool, log: logging.Logger) -> None:
    try:
        request = await _request(reader, crowded=crowded)
        log.info("operator command", extra={"command": request.command.value, "kind": request.kind})
        async for result in answer(buffer, request):
            await _send(writer, result)
        await _send(writer, {"end": True})
    except (ValueError, BufferError, BufferFull, TimeoutError) as error:
        with contextlib.suppress(OSError):
            await _send(writer, {"error": str(error) or "no request came"})
    except OSError:
        pass  # the operator has gone
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _request(reader: asyncio.StreamReader, *, crowded: bool) -> Request:
    if crowded:
        raise BufferFull("too many operators at once: try again")
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        line = await reader.readline()
    tree = json.loads(line)
    if not isinstance(tree, dict):
        raise ValueError("a request is a JSON object")  # noqa: TRY004  (bytes from outside, not a caller's mistake)
    return parse(tree)


async def _send(writer: asyncio.StreamWriter, tree: dict[str, object]) -> None:
    body = tree.get("body")
    if isinstance(body, str) and len(body) > PART_CHARS:
        parts = [body[start : start + PART_CHARS] for start in range(0, len(body), PART_CHARS)]
        lines: list[dict[str, object]] = [{**tree, "body": parts[0], "more": True}]
        lines += [{"part": part, "more": index < len(parts) - 1} for index, part in enumerate(parts[1:], 1)]
    else:
        lines = [tree]
    for line in lines:
        writer.write(json.dumps(line).encode() + b"\n")
        await writer.drain()


def _listen(path: Path) -> socket.socket:
    """A listening socket that only its owner may use. The buffer's lock is held, so a socket that lies here is a dead process's."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        # on Linux the file takes its mode from the unbound socket, so that it is never open to others; chmod is for the rest
        with contextlib.suppress(OSError):
            os.fchmod(listener.fileno(), 0o600)
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """The path as an address: through /proc where it is too long for one. Raises OSError."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir():
        raise OSError(36, f"a socket's path may have {MAX_ADDRESS_BYTES} bytes here: choose a shorter buffer.path")
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)

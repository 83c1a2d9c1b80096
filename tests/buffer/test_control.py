from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path

import pytest

from sidecar.buffer.control import MAX_CONNECTIONS, PART_CHARS, REQUEST_TIMEOUT_S, ask, serve_control, socket_path
from sidecar.errors import BufferError, BufferUnwritable  # noqa: A004  (the tree's name is the field's)
from tests.buffer.builders import LOG, append, buffer, row, run
from tests.waiting import until


async def answers(path: Path, **request: object) -> list[dict[str, object]]:
    return [result async for result in ask(str(path), request)]


def test_an_operator_reaches_the_running_process_over_a_private_socket(tmp_path: Path) -> None:
    async def body() -> None:
        before = os.umask(0)
        try:
            async with buffer(tmp_path / "b.db") as found, serve_control(found, LOG):
                os.umask(before)
                await found.append(append(row(spans=4)))
                assert stat.S_IMODE((tmp_path / "b.db.sock").stat().st_mode) == 0o600
                assert (await answers(tmp_path / "b.db", command="inspect"))[0]["pending_spans"] == 4
                assert await answers(tmp_path / "b.db", command="purge", kind="pending") == [{"purged_spans": 4}]
        finally:
            os.umask(before)
        assert not (tmp_path / "b.db.sock").exists()

    run(body())


def test_a_body_of_any_size_comes_through_in_parts(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found, serve_control(found, LOG):
            await found.append(append(row(os.urandom(3 * PART_CHARS)), row(b"small")))
            big, small = await answers(tmp_path / "b.db", command="export", kind="pending")
            assert len(str(big["body"])) == 4 * PART_CHARS
            assert "more" not in big and small["id"] == 2

    run(body())


def test_a_mistake_is_answered_in_words(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found, serve_control(found, LOG):
            with pytest.raises(BufferError, match="the commands are"):
                await answers(tmp_path / "b.db", command="explode")
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "b.db.sock"))
            writer.write(b"[]\n")
            assert b"JSON object" in await reader.readline()
            writer.close()
            await writer.wait_closed()
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "b.db.sock"))
            writer.write(b"x" * 1_000_000)
            writer.write_eof()
            assert b"error" in await reader.readline()
            writer.close()

    run(body())


def test_a_path_that_is_too_long_for_a_socket_works_all_the_same(tmp_path: Path) -> None:
    async def body() -> None:
        path = tmp_path / ("deep" * 30) / "b.db"
        async with buffer(path) as found, serve_control(found, LOG):
            assert (await answers(path, command="inspect"))[0]["pending_spans"] == 0

    run(body())


def test_without_a_socket_the_process_runs_on_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            (tmp_path / "b.db.sock").mkdir()
            async with serve_control(found, LOG):
                await found.append(append(row()))

    with caplog.at_level(logging.WARNING):
        run(body())
    assert "no control socket" in caplog.text


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "b.db.sock").write_text("left over")
        async with buffer(tmp_path / "b.db") as found, serve_control(found, LOG):
            assert len(await answers(tmp_path / "b.db", command="inspect")) == 1

    run(body())


def test_a_process_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    with pytest.raises(BufferUnwritable, match="can't be reached"):
        run(answers(tmp_path / "b.db", command="inspect"))


def test_a_crowd_of_operators_is_turned_away_and_silent_ones_do_not_hold_up_the_stop(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            async with serve_control(found, LOG):
                silent = [await asyncio.open_unix_connection(str(tmp_path / "b.db.sock")) for _ in range(MAX_CONNECTIONS)]
                refused: list[str] = []

                async def knock() -> None:
                    while not refused:
                        try:
                            await answers(tmp_path / "b.db", command="inspect")
                        except BufferError as error:
                            refused.append(str(error))

                task = asyncio.create_task(knock())
                await until(lambda: bool(refused))
                await task
                assert "too many" in refused[0]
            for _, writer in silent:
                writer.close()
                await writer.wait_closed()

    run(body(), timeout_s=REQUEST_TIMEOUT_S / 2)


def test_an_answer_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    async def body() -> None:
        async def broken(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'{"id": 1, "body": "", "more": true}\n')
            writer.close()

        server = await asyncio.start_unix_server(broken, str(tmp_path / "b.db.sock"))
        with pytest.raises(BufferError, match="middle of its answer"):
            await answers(tmp_path / "b.db", command="inspect")
        server.close()
        await server.wait_closed()

    run(body())


def test_a_buffer_in_memory_has_no_socket(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(":memory:") as found, serve_control(found, LOG):
            assert socket_path(found.path) is None

    run(body())

"""SIGKILL at any moment: what was acknowledged is found again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from sidecar.buffer.leases import Lane, LeaseLimit
from sidecar.buffer.opening import opened
from tests.buffer.builders import LOG, NOW_MS, append, assert_balanced, buffer, row, settings

KILLS = 25


async def child(path: str, run_number: int) -> None:
    """Append from eight tasks and deliver a part, and say so on standard output after each acknowledgement."""

    def say(word: str, number: int) -> None:
        os.write(1, f"{word} {number}\n".encode())

    async with buffer(path, cache_mib=0.05) as found:

        async def appending(worker: int) -> None:
            for index in range(1_000_000):
                number = (run_number * 8 + worker) * 1_000_000 + index
                await found.append(append(row(number.to_bytes(8, "big") * 200, spans=2)))
                say("kept", number)

        async def delivering() -> None:
            limit = LeaseLimit(20_000, 1 << 30, 1 << 30)
            for turn in range(1_000_000):
                lease = await found.lease("default", Lane.FRESH if turn % 2 else Lane.BACKLOG, limit)
                if lease is None:
                    await asyncio.sleep(0)
                    continue
                if turn % 5 == 0:
                    await found.release(lease)
                    continue
                for leased in lease.rows:
                    say("sent", int.from_bytes(leased.body[:8], "big"))
                await found.delivered(lease)

        async with asyncio.TaskGroup() as tasks:
            for worker in range(8):
                tasks.create_task(appending(worker))
            tasks.create_task(delivering())


def test_no_acknowledged_row_is_missing_after_25_kills(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    rng = random.Random(7)
    kept: set[int] = set()
    sent: set[int] = set()
    for run_number in range(KILLS):
        command = [sys.executable, "-m", "tests.buffer.test_crash", str(path), str(run_number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(rng.randrange(1, 300))]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        for line in lines:
            word, number = line.split()
            (kept if word == b"kept" else sent).add(int(number))

    with opened(settings(path), lambda: NOW_MS, LOG, verify=True) as buffer_file:
        assert (buffer_file.clean, buffer_file.set_aside) == (False, None)
        assert_balanced(buffer_file.core)
        found = buffer_file.core.db.execute("SELECT body FROM rows").fetchall()
    rows = {int.from_bytes(body[:8], "big") for (body,) in found}
    assert len(found) == len(rows)
    assert len(kept) > 500
    assert len(sent) > 50
    assert kept - rows - sent == set()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(child(sys.argv[1], int(sys.argv[2])))

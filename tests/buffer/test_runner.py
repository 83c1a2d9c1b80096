from __future__ import annotations

import sqlite3
import threading

import pytest

from sidecar.buffer.runner import RunnerFactory, hybrid, inline, threaded
from tests.buffer.builders import run


def where(factory: RunnerFactory) -> tuple[bool, bool]:
    """Whether quick and waiting calls run on the loop's own thread."""
    db = sqlite3.connect(":memory:", check_same_thread=False)

    async def body() -> tuple[bool, bool]:
        async with factory(db) as runner:
            quick = await runner.run(threading.get_ident)
            waiting = await runner.run_waiting(threading.get_ident)
        return quick == threading.get_ident(), waiting == threading.get_ident()

    try:
        found = run(body())
        assert db.execute("SELECT 1").fetchone() == (1,)  # the connection is still its owner's
        return found
    finally:
        db.close()


@pytest.mark.parametrize(("factory", "expected"), [(inline, (True, True)), (hybrid, (True, False)), (threaded, (False, False))])
def test_calls_run_where_the_runner_says(factory: RunnerFactory, expected: tuple[bool, bool]) -> None:
    assert where(factory) == expected


@pytest.mark.parametrize("factory", [inline, hybrid, threaded])
def test_an_error_reaches_the_caller(factory: RunnerFactory) -> None:
    db = sqlite3.connect(":memory:", check_same_thread=False)

    def fail() -> None:
        raise LookupError("as it was")

    async def body() -> None:
        async with factory(db) as runner:
            with pytest.raises(LookupError, match="as it was"):
                await runner.run(fail)
            with pytest.raises(LookupError, match="as it was"):
                await runner.run_waiting(fail)

    run(body())
    db.close()

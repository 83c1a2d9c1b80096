"""Waiting for the first of several things."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.waiting import Changes, first, to_the_end
from tests.fakes.clock import FakeClock
from tests.forward.rig import run


def test_first_returns_with_the_first_and_ends_the_others() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def other() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        await first(asyncio.sleep(0), other())

        assert ended.is_set()

    run(main())


def test_first_raises_what_the_first_raised() -> None:
    async def fails() -> None:
        raise ValueError("broken")

    async def main() -> None:
        with pytest.raises(ValueError, match="broken"):
            await first(fails(), asyncio.Event().wait())

    run(main())


def test_a_step_to_the_end_finishes_before_the_cancellation_follows() -> None:
    async def main() -> None:
        may_finish, finished = asyncio.Event(), asyncio.Event()

        async def step() -> None:
            await may_finish.wait()
            finished.set()

        task = asyncio.create_task(to_the_end(step()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        may_finish.set()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert finished.is_set()

    run(main())


def test_a_step_that_fails_after_the_cancellation_does_not_take_its_place() -> None:
    async def main() -> None:
        may_finish = asyncio.Event()

        async def step() -> None:
            await may_finish.wait()
            raise ValueError("broken")

        task = asyncio.create_task(to_the_end(step()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        may_finish.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

        assert isinstance(caught.value.__cause__, ValueError)

    run(main())


def test_a_step_that_fails_raises_what_it_raised() -> None:
    async def fails() -> None:
        raise ValueError("broken")

    async def main() -> None:
        with pytest.raises(ValueError, match="broken"):
            await to_the_end(fails())

    run(main())


def test_a_rest_ends_with_its_time() -> None:
    async def main() -> None:
        clock = FakeClock()
        rest = asyncio.create_task(Changes(clock).rest(5))
        await clock.settle()
        await clock.advance(4.9)
        assert not rest.done()
        await clock.advance(0.1)

        assert rest.done()

    run(main())


@pytest.mark.parametrize("seconds", [5.0, float("inf")])
def test_a_rest_ends_with_a_change(seconds: float) -> None:
    async def main() -> None:
        clock = FakeClock()
        changes = Changes(clock)
        rest = asyncio.create_task(changes.rest(seconds))
        await clock.settle()
        changes.notify()
        await clock.settle()

        assert rest.done()
        assert clock.sleeping() == []

    run(main())


def test_a_change_between_look_and_wait_is_not_missed() -> None:
    async def main() -> None:
        changes = Changes(FakeClock())
        following = changes.next
        changes.notify()

        assert following.is_set()

    run(main())

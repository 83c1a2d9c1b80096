"""The fake clock: time passes only when told to."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.clock import START_MS, FakeClock
from tests.forward.rig import run
from tests.waiting import until


def test_both_times_advance_together() -> None:
    async def main() -> None:
        clock = FakeClock()
        await clock.advance(1.5)

        assert (clock.monotonic(), clock.wall_ms()) == (1.5, START_MS + 1500)

    run(main())


def test_sleepers_wake_in_order_each_at_its_time() -> None:
    async def main() -> None:
        clock, woken = FakeClock(), []

        async def sleep(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((seconds, clock.monotonic()))

        async with asyncio.TaskGroup() as group:
            for seconds in (3, 1, 2):
                group.create_task(sleep(seconds))
            await clock.settle()
            assert clock.sleeping() == [1, 2, 3]
            await clock.advance(2.5)
            assert woken == [(1, 1), (2, 2)]
            await clock.advance(1)

        assert woken[-1] == (3, 3)

    run(main())


def test_a_sleep_that_a_woken_task_begins_counts_from_its_waking() -> None:
    async def main() -> None:
        clock, ticks = FakeClock(), []

        async def tick() -> None:
            for _ in range(5):
                await clock.sleep(1)
                ticks.append(clock.monotonic())

        task = asyncio.create_task(tick())
        await clock.settle()
        await clock.advance(10)
        await task

        assert ticks == [1, 2, 3, 4, 5]

    run(main())


def test_a_cancelled_sleeper_is_gone() -> None:
    async def main() -> None:
        clock = FakeClock()
        task = asyncio.create_task(clock.sleep(5))
        await clock.settle()
        task.cancel()
        await clock.settle()

        assert clock.sleeping() == []
        await clock.advance(10)

    run(main())


def test_a_sleeper_of_a_given_length_is_waited_for() -> None:
    async def main() -> None:
        clock = FakeClock()
        tasks = [asyncio.create_task(clock.sleep(each)) for each in (1, 60)]

        assert await clock.wait_for_sleeper(at_least_s=30) == 60
        for task in tasks:
            task.cancel()

    run(main())


def test_waiting_for_what_never_happens_names_it() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError, match="the moon"):
            await until(lambda: False, "the moon", deadline_s=0.01)

    run(main())

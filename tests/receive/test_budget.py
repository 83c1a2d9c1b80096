from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import pytest

from sidecar.errors import Overloaded
from sidecar.receive.budget import InFlight

T = TypeVar("T")


def run(coroutine: Coroutine[object, object, T]) -> T:
    return asyncio.run(coroutine)


def test_bytes_are_held_while_the_context_is_open_and_given_back_after() -> None:
    async def scene() -> None:
        budget = InFlight(1000)
        async with budget.take(200):
            assert budget.bytes == 200
        assert budget.bytes == 0

    run(scene())


def test_a_request_without_room_is_refused_with_a_time_to_come_back() -> None:
    async def scene() -> None:
        budget = InFlight(400)
        async with budget.take(100), budget.take(100), budget.take(100), budget.take(100):
            with pytest.raises(Overloaded) as refused:
                async with budget.take(1):
                    pytest.fail("there was no room")
            assert refused.value.retry_after_s == 1.0
            assert budget.bytes == 400
        async with budget.take(1):
            assert budget.bytes == 1

    run(scene())


def test_a_share_grows_and_shrinks_as_bytes_arrive() -> None:
    async def scene() -> None:
        budget = InFlight(1000)
        async with budget.take() as share:
            for size in (10, 250, 30):
                await share.resize(size)
                assert budget.bytes == size
        assert budget.bytes == 0

    run(scene())


def test_a_growth_without_room_is_refused_and_leaves_the_others_alone() -> None:
    async def scene() -> None:
        budget = InFlight(400)
        async with budget.take(100), budget.take(100), budget.take(100), budget.take(60), budget.take(40) as share:
            with pytest.raises(Overloaded):
                await share.resize(41)
            assert budget.bytes == 400

    run(scene())


def test_a_body_larger_than_the_whole_budget_gets_in_alone() -> None:
    async def scene() -> None:
        budget = InFlight(400)
        async with budget.take(5000):
            assert budget.bytes == 5000
            async with budget.take(100):
                assert budget.bytes == 5100

    run(scene())


def test_large_bodies_take_turns_in_the_order_of_their_arrival() -> None:
    async def scene() -> None:
        budget = InFlight(400)
        order: list[int] = []

        async def large(number: int) -> None:
            async with budget.take(101 + number):
                order.append(number)
                assert budget.bytes == 101 + number
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(large(number))
        assert order == [0, 1, 2, 3, 4]
        assert budget.bytes == 0

    run(scene())


def test_a_large_body_whose_turn_does_not_come_in_time_is_refused() -> None:
    async def scene() -> None:
        budget = InFlight(400, turn_wait_s=0.01)
        async with budget.take(101):
            with pytest.raises(Overloaded, match="take turns"):
                async with budget.take(102):
                    pytest.fail("the turn was taken")
        async with budget.take(102):
            assert budget.bytes == 102

    run(scene())


def test_a_body_that_grows_large_gives_its_small_bytes_back_and_takes_a_turn() -> None:
    async def scene() -> None:
        budget = InFlight(400)
        async with budget.take(100) as share:
            await share.resize(1000)
            async with budget.take(100), budget.take(100), budget.take(100), budget.take(100):
                assert budget.bytes == 1400

    run(scene())


def test_an_announced_large_size_takes_the_turn_before_its_bytes_are_there() -> None:
    async def scene() -> None:
        budget = InFlight(400, turn_wait_s=0.01)
        async with budget.take() as share:
            await share.expect(101)
            assert budget.bytes == 0
            with pytest.raises(Overloaded):
                async with budget.take(101):
                    pytest.fail("the turn was taken")

    run(scene())


def test_an_announced_small_size_holds_nothing() -> None:
    async def scene() -> None:
        budget = InFlight(400)
        async with budget.take() as share:
            await share.expect(100)
            assert budget.bytes == 0

    run(scene())


def test_a_cancelled_wait_for_a_turn_leaves_the_turn_to_others() -> None:
    async def scene() -> None:
        budget = InFlight(400)

        async def large() -> None:
            async with budget.take(200):
                pass

        async with budget.take(101):
            waiting = asyncio.create_task(large())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait((waiting,))
        await large()
        assert budget.bytes == 0

    run(scene())

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import Overloaded
from sidecar.receive.repeats import Repeats, fingerprint


class ManualClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def wall_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Commits:
    """Counts commits; each waits for ``gate`` and fails with ``error``, if there is one."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.count = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        if is_open:
            self.gate.set()

    async def __call__(self) -> int:
        self.count += 1
        mine = self.count
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return mine


def test_a_body_that_was_committed_is_a_repeat() -> None:
    async def scene() -> None:
        repeats: Repeats[int] = Repeats(ManualClock())
        commits = Commits()
        assert await repeats.once("a", commits) == (1, False)
        assert await repeats.once("a", commits) == (1, True)
        assert await repeats.once("b", commits) == (2, False)
        assert commits.count == 2

    asyncio.run(scene())


def test_a_repeat_is_forgotten_after_five_minutes() -> None:
    async def scene() -> None:
        clock = ManualClock()
        repeats: Repeats[int] = Repeats(clock)
        commits = Commits()
        await repeats.once("a", commits)
        clock.now_s = 300.0
        assert await repeats.once("a", commits) == (1, True)
        clock.now_s = 300.1
        assert await repeats.once("a", commits) == (2, False)
        assert len(repeats) == 1

    asyncio.run(scene())


def test_a_repeat_of_a_commit_under_way_awaits_it_and_commits_nothing() -> None:
    async def scene() -> None:
        repeats: Repeats[int] = Repeats(ManualClock())
        commits = Commits(is_open=False)
        first, second = (asyncio.create_task(repeats.once("a", commits)) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not second.done()
        commits.gate.set()
        assert await first == (1, False)
        assert await second == (1, True)
        assert commits.count == 1

    asyncio.run(scene())


def test_a_repeat_shares_the_failure_of_the_commit_under_way_and_a_later_one_tries_again() -> None:
    async def scene() -> None:
        repeats: Repeats[int] = Repeats(ManualClock())
        commits = Commits(is_open=False)
        commits.error = Overloaded("full")
        tasks = [asyncio.create_task(repeats.once("a", commits)) for _ in range(3)]
        await asyncio.sleep(0)
        commits.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results == [commits.error] * 3
        commits.error = None
        assert await repeats.once("a", commits) == (2, False)

    asyncio.run(scene())


def test_when_the_first_is_cancelled_the_repeat_commits_by_itself() -> None:
    async def scene() -> None:
        repeats: Repeats[int] = Repeats(ManualClock())
        commits = Commits(is_open=False)
        first, second, third = (asyncio.create_task(repeats.once("a", commits)) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait((first,))
        commits.gate.set()
        assert sorted((await second, await third)) == [(2, False), (2, True)]
        assert first.cancelled()

    asyncio.run(scene())


def test_a_cancelled_repeat_leaves_the_first_alone() -> None:
    async def scene() -> None:
        repeats: Repeats[int] = Repeats(ManualClock())
        commits = Commits(is_open=False)
        first, second = (asyncio.create_task(repeats.once("a", commits)) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait((second,))
        commits.gate.set()
        assert await first == (1, False)

    asyncio.run(scene())


def test_entries_are_bounded_and_the_oldest_give_way() -> None:
    async def scene() -> None:
        repeats: Repeats[int] = Repeats(ManualClock(), entries_max=10)
        commits = Commits()
        for number in range(100):
            await repeats.once(number, commits)
        assert len(repeats) == 10
        assert (await repeats.once(99, commits))[1]
        assert not (await repeats.once(0, commits))[1]

    asyncio.run(scene())


@pytest.mark.parametrize("other", [(b"body2", "json", None), (b"body", "protobuf", None), (b"body", "json", "pk-lf-1"), (b"", "json", None)])
def test_body_encoding_and_public_key_make_a_request_another_one(other: tuple[bytes, str, str | None]) -> None:
    assert fingerprint(b"body", "json", None) == fingerprint(bytes(bytearray(b"body")), "json", None)
    assert fingerprint(*other) != fingerprint(b"body", "json", None)

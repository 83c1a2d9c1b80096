from __future__ import annotations

import base64
from pathlib import Path

import pytest

from sidecar.buffer.buffer import Buffer
from sidecar.buffer.commands import MAX_IDS, Command, Request, answer, parse
from sidecar.buffer.leases import Buried
from sidecar.buffer.records import Filter, Kind
from tests.buffer.builders import append, buffer, lease_all, row, run


def test_a_request_is_read_with_all_its_options() -> None:
    tree = {"command": "export", "kind": "dead", "destination": "d", "trace_id": "0A" * 16, "ids": [1, 2], "limit": 3}

    assert parse(tree) == Request(Command.EXPORT, Kind.DEAD, Filter("d", b"\n" * 16, frozenset({1, 2})), 3)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "the commands are"),
        ({"command": "drop"}, "the commands are"),
        ({"command": "export"}, "say what to export"),
        ({"command": "purge"}, "say what to purge"),
        ({"command": "purge", "kind": "everything"}, "the kinds"),
        ({"command": "inspect", "sql": "x"}, "unknown option: sql"),
        ({"command": "replay", "ids": ["1"]}, "numbers"),
        ({"command": "replay", "ids": list(range(MAX_IDS + 1))}, "at most"),
        ({"command": "export", "kind": "dead", "limit": 0}, "at least 1"),
        ({"command": "export", "kind": "dead", "trace_id": "ab"}, "32 hexadecimal"),
        ({"command": "export", "kind": "dead", "trace_id": "zz"}, "32 hexadecimal"),
        ({"command": "export", "kind": "dead", "destination": 5}, "a name"),
    ],
)
def test_a_wrong_request_is_told_in_the_operators_terms(tree: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(tree)


async def answers(found: Buffer, **tree: object) -> list[dict[str, object]]:
    return [result async for result in answer(found, parse(tree))]


def test_every_command_answers(tmp_path: Path) -> None:
    async def body() -> None:
        async with buffer(tmp_path / "b.db") as found:
            await found.append(append(*(row(bytes([index]), trace=index) for index in range(100))))
            assert (await answers(found, command="inspect"))[0]["pending_spans"] == 100
            assert len(await answers(found, command="export", kind="pending")) == 100
            assert len(await answers(found, command="export", kind="pending", limit=70)) == 70
            (one,) = await answers(found, command="export", kind="pending", trace_id=(5).to_bytes(16, "big").hex())
            assert (base64.b64decode(str(one["body"])), one["state"], one["intact"]) == (b"\x05", "sealed", True)
            (lease,) = await lease_all(found)
            await found.settle(lease, {leased.id: Buried("refused", "no") for leased in lease.rows})
            (letter,) = await answers(found, command="export", kind="dead", limit=1)
            assert (letter["reason"], letter["answer"]) == ("refused", "no")
            assert await answers(found, command="replay", ids=[1, 2]) == [{"replayed_spans": 2}]
            assert await answers(found, command="purge", kind="dead") == [{"purged_spans": 98}]

    run(body())

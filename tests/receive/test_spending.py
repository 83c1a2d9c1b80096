"""What was spent of the budgets, over restarts."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from sidecar.enrich.agents import AgentRules, parse_agents
from sidecar.enrich.measured import Spent
from sidecar.receive.spending import FILE_BYTES_MAX, SUFFIX, WRITE_S, Spending, keep_spending
from tests.buffer.builders import run
from tests.fakes.clock import FakeClock
from tests.waiting import until

LOG = logging.getLogger("sidecar.budgets")
RULES = parse_agents({"agents": [{"match": "pricing", "budget": {"usd_per_day": 10}}]})
RETAIL = ("agent", "pricing")


def spending(buffer: Path | str, clock: FakeClock | None = None, rules: AgentRules = RULES) -> Spending:
    return Spending(rules, clock or FakeClock(), LOG, str(buffer))


def spent(of: Spending) -> float:
    (line,) = of.lines()
    return line.spent


def test_a_restart_keeps_what_was_spent(tmp_path: Path) -> None:
    async def life(usd: float) -> float:
        clock = FakeClock()
        one = spending(tmp_path / "buffer.db", clock)
        async with keep_spending(one, clock):
            one.add({RETAIL: Spent(usd, 7)})
        return spent(one)

    assert [run(life(usd)) for usd in (1.0, 0.5, 0.25)] == [1.0, 1.5, 1.75]
    assert [path.name for path in tmp_path.iterdir()] == [f"buffer.db{SUFFIX}"]
    assert stat.S_IMODE((tmp_path / f"buffer.db{SUFFIX}").stat().st_mode) == 0o600


def test_it_is_written_every_ten_seconds_and_only_when_something_was_spent(tmp_path: Path) -> None:
    path = tmp_path / f"buffer.db{SUFFIX}"

    async def scenario() -> None:
        clock = FakeClock()
        one = spending(tmp_path / "buffer.db", clock)
        async with keep_spending(one, clock):
            await clock.wait_for_sleeper()
            await clock.advance(WRITE_S)
            await clock.wait_for_sleeper()
            assert not path.exists()
            one.add({RETAIL: Spent(1.0, 0)})
            await clock.advance(WRITE_S)
            await until(path.exists, "the file")
            other = spending(tmp_path / "buffer.db", clock)
            other.read()
            assert spent(other) == 1.0

    run(scenario())


def test_beside_a_buffer_in_memory_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def scenario() -> float:
        clock = FakeClock()
        one = spending(":memory:", clock)
        async with keep_spending(one, clock):
            one.add({RETAIL: Spent(1.0, 0)})
        return spent(one)

    assert run(scenario()) == 1.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"agent": 7}', b'{"agent": {"pricing": {"day": [1]}}}', b"[" * FILE_BYTES_MAX])
def test_a_file_that_cannot_be_read_counts_as_nothing_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    (tmp_path / f"buffer.db{SUFFIX}").write_bytes(content)
    one = spending(tmp_path / "buffer.db")

    one.read()

    assert spent(one) == 0.0
    assert [record.getMessage() for record in caplog.records] == ["what was spent of the budgets can't be read and counts as nothing"]


def test_where_it_cannot_be_written_memory_counts_on_and_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = spending(tmp_path / "missing" / "buffer.db")

    async def scenario() -> None:
        for _ in range(3):
            one.add({RETAIL: Spent(1.0, 0)})
            await one.write()
        (tmp_path / "missing").mkdir()
        await one.write()

    run(scenario())

    assert spent(one) == 3.0
    assert (tmp_path / "missing" / f"buffer.db{SUFFIX}").exists()
    assert len(caplog.records) == 1


def test_new_rules_are_followed(tmp_path: Path) -> None:
    one = spending(tmp_path / "buffer.db")
    one.add({RETAIL: Spent(1.0, 0)})

    one.use(parse_agents({"agents": [{"match": "pricing", "budget": {"usd_per_day": 2}}]}))

    (line,) = one.lines()
    assert (line.spent, line.limit) == (1.0, 2.0)

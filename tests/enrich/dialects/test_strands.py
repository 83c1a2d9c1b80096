"""Strands Agents."""

from __future__ import annotations

from tests.enrich.views import facts


def test_strands_counts_the_first_token_in_milliseconds() -> None:
    found = facts({"gen_ai.operation.name": "chat", "gen_ai.server.time_to_first_token": 27}, scope="strands.telemetry.tracer")
    assert found.time_to_first_token_s == 0.027

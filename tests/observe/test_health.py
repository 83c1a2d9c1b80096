"""Readiness."""

from __future__ import annotations

from sidecar.observe.health import Health, Phase


def test_a_starting_and_a_draining_process_refuse() -> None:
    health = Health()
    starting = health.refusals()
    health.phase = Phase.DRAINING

    assert (starting, health.refusals()) == (["starting"], ["draining"])


def test_a_ready_process_refuses_only_while_a_check_says_why() -> None:
    health = Health()
    health.phase = Phase.READY
    reasons: list[str] = []
    health.add_check(lambda: reasons[0] if reasons else None)
    before = health.refusals()
    reasons.append("the disk is full")

    assert (before, health.refusals()) == ([], ["the disk is full"])

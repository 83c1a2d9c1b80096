"""What a destination tells operators."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from sidecar.forward.breaker import FAILURES_TO_OPEN, Breaker
from sidecar.forward.journal import REPEAT_S, Journal
from sidecar.forward.verdict import Answer, Delivered, Failure, FailureKind, PauseReason, Retry
from sidecar.observe.metrics import Metrics
from tests.forward.rig import NAME, Highest, Lines, logger

REFUSED = Failure(FailureKind.REFUSED, detail="Connect call failed")
RETRY = Retry(None, "connection_refused")


class Told:
    """A journal beside its breaker."""

    def __init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry())
        log, lines = logger()
        self.lines: Lines = lines
        self.journal = Journal(NAME, self.metrics, log)
        self.breaker = Breaker(Highest(), initial_s=1, max_s=60, pause_probe_s=310)

    def fail(self, now_s: float) -> None:
        permit = self.breaker.admit(now_s)
        assert permit is not None
        self.breaker.failed(permit, now_s, None)
        self.journal.retry(RETRY, REFUSED, now_s)
        self.journal.follow(self.breaker, now_s)

    def pause(self, now_s: float, reason: PauseReason, status: int) -> None:
        permit = self.breaker.admit(now_s)
        assert permit is not None
        self.journal.not_taken(Answer(status))
        self.breaker.pause(permit, now_s, reason)
        self.journal.follow(self.breaker, now_s)

    def answer(self, now_s: float) -> None:
        permit = self.breaker.admit(now_s)
        assert permit is not None
        self.breaker.answered(permit)
        self.journal.follow(self.breaker, now_s)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"destination": NAME, **labels})


def test_an_outage_is_one_line_down_and_one_line_up_with_its_duration() -> None:
    told = Told()
    for _ in range(FAILURES_TO_OPEN):
        told.fail(0)
    told.answer(100)

    assert told.lines.events == [
        "a batch was not taken and will be sent again",
        "destination is down; spans are kept in the buffer",
        "destination is up",
    ]
    assert told.lines.fields("destination is down; spans are kept in the buffer")["reason"] == "connection_refused: Connect call failed"
    assert told.lines.fields("destination is up")["down_s"] == 100


def test_what_repeats_is_logged_rarely_with_a_count() -> None:
    told = Told()
    for now_s in (0, 10, 20, REPEAT_S, REPEAT_S + 1):
        told.journal.retry(RETRY, REFUSED, now_s)

    assert len(told.lines.events) == 2
    assert told.lines.fields("a batch was not taken and will be sent again")["times"] == 3


def test_a_pause_is_one_error_with_a_hint() -> None:
    told = Told()
    told.pause(0, PauseReason.UNAUTHORIZED, 401)
    told.pause(400, PauseReason.UNAUTHORIZED, 401)

    assert [record.levelno for record in told.lines.records] == [logging.ERROR]
    fields = told.lines.fields("destination is paused; spans are kept in the buffer")
    assert (fields["reason"], fields["answer"]) == ("unauthorized", "status 401")
    assert "public_key" in str(fields["hint"])


def test_the_metric_of_a_pause_follows_its_reason() -> None:
    told = Told()
    told.pause(0, PauseReason.UNAUTHORIZED, 401)
    told.pause(400, PauseReason.SUSPENDED, 403)
    during = told.sample("sidecar_forward_paused", reason="suspended")
    told.answer(2000)

    assert told.sample("sidecar_forward_paused", reason="unauthorized") == 0
    assert during == 1
    assert told.sample("sidecar_forward_paused", reason="suspended") == 0
    assert told.lines.fields("destination is up")["down_s"] == 2000


def test_the_breaker_state_is_a_metric_from_the_start() -> None:
    told = Told()
    before = told.sample("sidecar_forward_breaker_state")
    for _ in range(FAILURES_TO_OPEN):
        told.fail(0)

    assert (before, told.sample("sidecar_forward_breaker_state")) == (0, 2)


def test_retries_are_counted_even_when_they_are_not_logged() -> None:
    told = Told()
    for _ in range(5):
        told.journal.retry(RETRY, REFUSED, 0)

    assert told.sample("sidecar_forward_retries_total") == 5


def test_counters_of_a_destination_are_there_before_anything_happens() -> None:
    registry = CollectorRegistry()
    Journal("default", Metrics(registry), logging.getLogger("sidecar.test"))

    for name in ("delivered_spans", "delivered_bytes", "retries", "ambiguous_spans", "buried_spans"):
        assert registry.get_sample_value(f"sidecar_forward_{name}_total", {"destination": "default"}) == 0


def test_answers_of_the_last_half_minute_are_timed_once_there_are_a_few() -> None:
    journal = Told().journal
    for number in range(4):
        journal.exchange(RETRY, 2.0, number)
    assert journal.export_p95_s(4) is None
    journal.exchange(RETRY, 2.0, 4)

    assert journal.export_p95_s(4) == pytest.approx(2.0, rel=0.07)
    assert journal.export_p95_s(35) is None


def test_a_destination_is_throttled_until_it_answers_something_else() -> None:
    journal = Told().journal
    seen = []
    happenings: list[Callable[[], None]] = [
        lambda: journal.retry(RETRY, Answer(429), 0),
        lambda: journal.exchange(Delivered(), 0.1, 1),
        lambda: journal.retry(RETRY, Answer(429), 2),
        lambda: journal.retry(RETRY, REFUSED, 3),
    ]
    for tell in happenings:
        tell()
        seen.append(journal.is_throttled)

    assert seen == [True, False, True, False]

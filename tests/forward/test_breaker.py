"""The breaker as a state machine."""

from __future__ import annotations

import random
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.forward.breaker import FAILURES_TO_OPEN, PAUSE_PROBE_MAX_S, Breaker, Permit, State
from sidecar.forward.verdict import PauseReason
from tests.forward.rig import Highest


def breaker() -> Breaker:
    return Breaker(Highest(), initial_s=1, max_s=60, pause_probe_s=310)


def admitted(one: Breaker, now_s: float = 0.0) -> Permit:
    permit = one.admit(now_s)
    assert permit is not None
    return permit


def opened(now_s: float = 0.0) -> Breaker:
    one = breaker()
    for _ in range(FAILURES_TO_OPEN):
        one.failed(admitted(one, now_s), now_s, None)
    assert one.state is State.OPEN
    return one


def test_a_new_breaker_lets_everything_through() -> None:
    assert breaker().wait_s(0) == 0
    assert breaker().is_closed()


def test_single_failures_among_successes_open_nothing() -> None:
    one = breaker()
    for _ in range(20):
        one.failed(admitted(one), 0, None)
        one.answered(admitted(one))

    assert one.is_closed()


def test_a_failure_holds_back_new_work_and_a_success_frees_it() -> None:
    one = breaker()
    one.failed(admitted(one), 0, None)
    held_s = one.wait_s(0)
    one.answered(admitted(one))

    assert (held_s, one.wait_s(0)) == (1, 0)


def test_failures_in_a_row_open_it() -> None:
    one = opened(now_s=5)

    assert one.admit(5) is None
    assert one.down_since_s == 5


def test_a_server_that_asks_to_wait_is_left_alone_at_once() -> None:
    one = breaker()
    one.failed(admitted(one), 0, 30)

    assert one.state is State.OPEN
    assert 30 <= one.wait_s(0) <= 31


def test_an_open_breaker_that_is_due_gives_leave_for_one_probe() -> None:
    one = opened()
    now_s = one.wait_s(0)

    assert one.admit(now_s) is not None
    assert one.state is State.HALF_OPEN
    assert one.wait_s(now_s) == inf
    assert one.admit(now_s) is None


def test_an_answered_probe_closes_it() -> None:
    one = opened()
    one.answered(admitted(one, 100))

    assert one.is_closed()
    assert one.down_since_s is None


def test_a_failed_probe_opens_it_for_longer() -> None:
    one = opened(now_s=0)
    first_s = one.wait_s(0)
    one.failed(admitted(one, 100), 100, None)

    assert one.state is State.OPEN
    assert one.wait_s(100) == 2 * first_s
    assert one.down_since_s == 0


def test_a_probe_that_was_not_sent_can_be_had_again() -> None:
    one = opened()
    one.withdraw(admitted(one, 100))

    assert one.admit(100) is not None


def test_what_became_of_an_older_request_says_nothing_about_a_paused_destination() -> None:
    one = breaker()
    older, newer = admitted(one), admitted(one)
    one.pause(newer, 0, PauseReason.UNAUTHORIZED)
    one.answered(older)

    assert one.paused is PauseReason.UNAUTHORIZED


def test_a_pause_is_probed_after_more_than_the_servers_memory_and_then_ever_later() -> None:
    one, now_s, waits = breaker(), 0.0, []
    one.pause(admitted(one), now_s, PauseReason.UNAUTHORIZED)
    for _ in range(6):
        waits.append(one.wait_s(now_s))
        now_s += waits[-1]
        one.pause(admitted(one, now_s), now_s, PauseReason.UNAUTHORIZED)

    assert [round(each) for each in waits] == [341, 682, 1364, 2728, 3960, 3960]
    assert max(waits) <= PAUSE_PROBE_MAX_S * 1.1


def test_an_answered_probe_ends_a_pause() -> None:
    one = breaker()
    one.pause(admitted(one), 0, PauseReason.UNAUTHORIZED)
    one.answered(admitted(one, 400))

    assert one.is_closed()
    assert one.paused is None


def test_resume_probes_at_once_and_starts_the_schedule_anew() -> None:
    one, now_s = breaker(), 0.0
    for _ in range(4):
        one.pause(admitted(one, now_s), now_s, PauseReason.UNAUTHORIZED)
        now_s += one.wait_s(now_s)
    one.resume()

    assert one.wait_s(now_s) == 0
    one.pause(admitted(one, now_s), now_s, PauseReason.UNAUTHORIZED)
    assert round(one.wait_s(now_s)) == 341


def test_resume_leaves_a_closed_breaker_as_it_is() -> None:
    one = breaker()
    one.resume()

    assert one.is_closed()


def test_an_outage_within_a_pause_keeps_the_pause() -> None:
    one = breaker()
    one.pause(admitted(one), 0, PauseReason.UNAUTHORIZED)
    one.failed(admitted(one, 400), 400, None)

    assert one.paused is PauseReason.UNAUTHORIZED
    assert one.wait_s(400) == 1


def test_a_permit_is_honoured_while_the_state_is_the_one_that_it_was_given_in() -> None:
    breaker = Breaker(Highest(), initial_s=1, max_s=60, pause_probe_s=310)
    first, second = breaker.admit(0), breaker.admit(0)
    assert first is not None and second is not None and breaker.honours(second)

    breaker.failed(first, 0, hint_s=5)

    assert not breaker.honours(second)


class AnyOrder(RuleBasedStateMachine):
    """Requests begin and end in any order, time passes, keys change."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(random.Random(0), initial_s=1, max_s=60, pause_probe_s=310)
        self.now_s = 0.0
        self.out: list[tuple[Permit, bool]] = []
        """Permits that are out, and whether each is the probe."""

    @rule()
    def begin(self) -> None:
        before, wait_s = self.breaker.state, self.breaker.wait_s(self.now_s)
        permit = self.breaker.admit(self.now_s)
        assert (permit is None) == (before is not State.CLOSED and wait_s > 0)
        if permit is not None:
            self.out.append((permit, before is State.OPEN))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(["answered", "failed", "hint", "pause", "withdraw"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        permit, _ = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        match outcome:
            case "answered":
                self.breaker.answered(permit)
            case "failed" | "hint":
                self.breaker.failed(permit, self.now_s, 20.0 if outcome == "hint" else None)
            case "pause":
                self.breaker.pause(permit, self.now_s, PauseReason.FORBIDDEN)
            case _:
                self.breaker.withdraw(permit)

    @rule(seconds=st.floats(0, 5000))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def resume(self) -> None:
        self.breaker.resume()
        if self.breaker.state is State.OPEN:
            assert self.breaker.wait_s(self.now_s) == 0

    @invariant()
    def there_is_a_way_on(self) -> None:
        """Half-open has its probe out; open has an end; closed is neither down nor paused."""
        match self.breaker.state:
            case State.HALF_OPEN:
                assert sum(probe for _, probe in self.out) >= 1
            case State.OPEN:
                assert self.breaker.wait_s(self.now_s) < inf
                assert self.breaker.down_since_s is not None
            case State.CLOSED:
                assert self.breaker.down_since_s is None
                assert self.breaker.paused is None


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

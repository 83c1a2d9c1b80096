from __future__ import annotations

from sidecar.buffer.raises import KEPT, Raises
from tests.buffer.builders import row


def test_a_row_has_passed_the_highest_threshold_that_was_raised_over_it() -> None:
    raises = Raises()
    raises.add(10, {0: 50, 1: 20})
    raises.add(5, {0: 60})

    assert raises.applied(4, row(randomness=70)).threshold == 60
    assert raises.applied(9, row(randomness=70)).threshold == 50
    assert raises.applied(10, row(randomness=70)).threshold == 0
    assert raises.applied(4, row(randomness=70, priority=1)).threshold == 20
    assert raises.applied(4, row(randomness=70, priority=2)).threshold == 0


def test_a_threshold_is_never_lowered_nor_put_above_the_rows_own_randomness() -> None:
    raises = Raises()
    raises.add(10, {0: 50})
    higher, spared = row(randomness=70, threshold=65), row(randomness=49)

    assert raises.applied(1, higher) is higher
    assert raises.applied(1, spared) is spared


def test_the_oldest_raises_are_forgotten() -> None:
    raises = Raises()
    raises.add(10, {0: 50})
    for _ in range(KEPT):
        raises.add(10, {0: 1})

    assert raises.applied(1, row(randomness=70)).threshold == 1

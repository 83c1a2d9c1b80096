from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.buffer.ledger import Ledger, Move, Transition, from_json, to_json

moves = st.lists(st.builds(Move, st.sampled_from(Transition), st.integers(0, 1000), st.sampled_from(["", "a", "b"])), max_size=30)


@given(moves)
def test_any_sequence_of_transitions_keeps_both_identities(sequence: list[Move]) -> None:
    ledger = Ledger()
    pending = 0
    for move in sequence:
        ledger.apply(ledger.after([move]))
        pending += move.transition.value.pending * move.spans

    assert ledger.imbalances(pending) == []


@given(moves)
def test_moves_together_count_as_much_as_one_by_one(sequence: list[Move]) -> None:
    together, single = Ledger(), Ledger()
    together.apply(together.after(sequence))
    for move in sequence:
        single.apply(single.after([move]))

    assert together.totals == single.totals


@given(moves)
def test_no_count_ever_goes_down(sequence: list[Move]) -> None:
    ledger = Ledger()
    for move in sequence:
        changed = ledger.after([move])
        assert all(value >= ledger.totals.get(key, 0) for key, value in changed.items())
        ledger.apply(changed)


def test_a_count_without_its_cause_is_an_imbalance() -> None:
    assert len(Ledger({("stored", ""): 3}).imbalances(2)) == 2


def test_a_negative_move_is_refused() -> None:
    with pytest.raises(ValueError, match="DELIVER"):
        Ledger().after([Move(Transition.DELIVER, -1)])


@given(moves, st.booleans())
def test_a_checkpoint_says_what_it_was_made_from(sequence: list[Move], broken: bool) -> None:
    ledger = Ledger()
    ledger.apply(ledger.after(sequence))

    found, mark = from_json(to_json(ledger, broken=broken))

    assert (found.totals, mark) == (ledger.totals, broken)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1, "totals": [["nowhere", "", 1]]}',
        '{"version": 1, "totals": [["stored", "", -1]]}',
        '{"version": 1, "totals": [["stored", "", "1"]]}',
    ],
)
def test_anything_else_is_no_checkpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(text)

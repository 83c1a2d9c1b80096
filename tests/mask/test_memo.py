"""The memory of what was clean."""

from __future__ import annotations

from sidecar.mask.memo import Key, Memo
from tests.mask.masking import masker_of
from tests.mask.test_masker import place_of

MASKER = masker_of({"rules": [{"where": {"agent": "a"}, "what": "email", "action": "keep"}]})
HERE, THERE = MASKER.policy.scope("a", None), MASKER.policy.scope("b", None)
KEY = Key(place_of(MASKER, "note"), None)


def test_what_is_clean_in_one_scope_is_not_in_another() -> None:
    memo = Memo()
    memo.add_clean(HERE, b"entry")
    memo.add_key(HERE, b"note", KEY)

    assert b"entry" in memo.of(HERE).clean
    assert b"entry" not in memo.of(THERE).clean
    assert not memo.is_clean(THERE, b"entry")
    assert memo.key(HERE, b"note") is KEY
    assert memo.key(THERE, b"note") is None


def test_it_stays_bounded_and_keeps_what_is_used() -> None:
    memo = Memo(entries=100)
    memo.add_key(HERE, b"note", KEY)
    memo.add_clean(HERE, b"used")
    for number in range(1000):
        memo.add_clean(HERE if number % 2 else THERE, b"%d" % number)
        assert b"used" in memo.of(HERE).clean or memo.is_clean(HERE, b"used")
        assert memo.key(HERE, b"note") is KEY
        assert len(memo) <= 102

    assert not memo.is_clean(THERE, b"0")

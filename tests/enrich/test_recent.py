"""Recent remembers what was used lately, within its bound."""

from __future__ import annotations

from sidecar.enrich.recent import Recent


def test_what_was_put_is_found_and_nothing_else() -> None:
    recent: Recent[str, int] = Recent(4)
    recent.put("a", 1)
    assert (recent.get("a"), recent.get("b"), len(recent)) == (1, None, 1)


def test_the_bound_holds_and_what_is_used_stays() -> None:
    recent: Recent[int, int] = Recent(8)
    recent.put(-1, -1)
    for number in range(100):
        recent.put(number, number)
        assert recent.get(-1) == -1
        assert len(recent) <= 8
    assert (recent.get(99), recent.get(1)) == (99, None)


def test_a_bound_of_one_still_remembers() -> None:
    recent: Recent[str, int] = Recent(1)
    recent.put("a", 1)
    assert recent.get("a") == 1

"""The facts."""

from __future__ import annotations

from sidecar.enrich.facts import Facts, Kind, Usage


def test_the_total_is_the_sum_of_all_buckets_because_they_are_disjoint() -> None:
    names = Usage.__struct_fields__

    usage = Usage(**{name: 10**i for i, name in enumerate(names)})

    assert usage.total == sum(10**i for i in range(len(names)))


def test_a_span_that_says_nothing_has_no_facts() -> None:
    facts = Facts("semconv")

    assert facts.kind is Kind.SPAN
    assert not facts.is_call
    assert [getattr(facts, name) for name in ("agent_name", "usage", "cost_usd", "input", "output", "error")] == [None] * 6


def test_a_kind_and_its_word_are_the_same_key() -> None:
    by_word: dict[str, Kind] = {kind: kind for kind in Kind}
    assert by_word["tool"] is Kind.TOOL
    assert hash(Kind.TOOL) == hash("tool")


def test_spans_do_not_share_their_cost_details() -> None:
    first, second = Facts("semconv"), Facts("semconv")

    first.cost_details["input"] = 1.0

    assert second.cost_details == {}

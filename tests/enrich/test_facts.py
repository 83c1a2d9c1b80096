"""The facts."""

from __future__ import annotations

from dataclasses import fields

from sidecar.enrich.facts import Facts, Kind, Usage


def test_the_total_is_the_sum_of_all_buckets_because_they_are_disjoint() -> None:
    names = [each.name for each in fields(Usage)]

    usage = Usage(**{name: 10**i for i, name in enumerate(names)})

    assert usage.total == sum(10**i for i in range(len(names)))


def test_a_span_that_says_nothing_has_no_facts() -> None:
    facts = Facts("semconv")

    assert facts.kind is Kind.SPAN
    assert not facts.is_call
    assert [getattr(facts, name) for name in ("agent_name", "usage", "cost_usd", "input", "output", "error")] == [None] * 6

"""Infrastructure and plain spans."""

from __future__ import annotations

from sidecar.enrich.facts import Kind
from tests.enrich.views import facts


def test_spans_of_http_and_database_libraries_are_infrastructure_even_without_attributes() -> None:
    assert facts(scope="opentelemetry.instrumentation.fastapi").kind is Kind.INFRA
    assert facts(scope="@opentelemetry/instrumentation-pg").kind is Kind.INFRA


def test_spans_of_hand_made_tracers_are_plain_spans() -> None:
    assert facts({"app.ticket": "T-1"}, scope="acme.support", name="handle ticket").kind is Kind.SPAN


def test_a_hand_made_span_may_follow_the_conventions_in_its_name_alone() -> None:
    found = facts(scope="acme.support", name="invoke_agent support")
    assert (found.kind, found.agent_name) == (Kind.AGENT, "support")

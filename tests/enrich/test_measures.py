"""What a span counts for."""

from __future__ import annotations

import json

import pytest

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.facts import Content, Error, ErrorKind, Facts, Kind, Usage
from sidecar.enrich.measures import OPERATIONS, TOKEN_TYPES, measure_of
from sidecar.enrich.model_facts import Known
from sidecar.enrich.orchestration import Signal, SignalKind
from sidecar.trace.measure import Measure
from sidecar.wire.shallow_pb2 import Span
from tests import spans
from tests.enrich.views import view

MODEL = Known({}, "gpt-4o", "openai")
USAGE = Usage(1, 2, 3, 4, 5, 6, 7, 8)
DECISION = Signal(SignalKind.DECISION, "discount", confidence=0.75)
HANDOFF = Signal(SignalKind.HANDOFF, "to billing")


def call(**facts: object) -> Facts:
    return Facts("genai", kind=Kind.GENERATION, is_call=True, usage=USAGE, **facts)  # type: ignore[arg-type]  # any field


def shallow(start_ns: int = spans.START_NS, end_ns: int = spans.START_NS + spans.DURATION_NS) -> Span:
    return Span(trace_id=spans.TRACE_ID, name=b"a secret name", start_time_unix_nano=start_ns, end_time_unix_nano=end_ns)


def measured(facts: Facts, price_usd: float | None = None, signals: tuple[Signal, ...] = (), budgets: tuple[str, ...] = ()) -> Measure | None:
    return measure_of(shallow(), facts, MODEL, price_usd, signals, budgets)


def test_a_call_counts_with_model_tokens_cost_and_times() -> None:
    assert measured(call(time_to_first_token_s=0.25), 0.5, budgets=("gpt-*",)) == Measure(
        spans.TRACE_ID, "generation", "gpt-4o", "openai", 1.5, 0.25, (1, 2, 3, 4, 5, 6, 7, 8), 0.5, budgets=("gpt-*",)
    )


def test_token_counts_stand_in_the_order_of_their_types() -> None:
    found = measured(call())

    assert found is not None and dict(zip(TOKEN_TYPES, found.tokens, strict=True)) == {name: getattr(USAGE, name) for name in TOKEN_TYPES}


def test_a_call_whose_clock_went_backwards_took_no_time() -> None:
    found = measure_of(shallow(10, 5), call(), MODEL, None, (), ())

    assert found is not None and found.duration_s == 0


def test_a_call_can_be_a_decision() -> None:
    found = measured(call(), 0.5, (DECISION,))

    assert found is not None and (found.operation, found.cost_usd, found.signals, found.confidence) == ("generation", 0.5, ("decision",), 0.75)


@pytest.mark.parametrize(
    ("own", "price", "cost"),
    [(0.125, 0.5, 0.125), (None, 0.5, 0.5), (None, None, 0.0), (float("inf"), 0.5, 0.0), (-1.0, None, 0.0), (float("nan"), 1.0, 0.0)],
)
def test_the_providers_own_cost_wins_and_nonsense_costs_nothing(own: float | None, price: float | None, cost: float) -> None:
    found = measured(call(cost_usd=own), price)

    assert found is not None and found.cost_usd == cost


def test_a_call_that_failed_counts_with_the_kind_of_its_error() -> None:
    found = measured(call(error=Error(ErrorKind.RATE_LIMIT, "RateLimitError", "a secret message")))

    assert found is not None and found.error == "rate_limit"


def test_what_repeats_a_call_or_adds_calls_up_counts_for_nothing() -> None:
    assert measured(Facts("genai", kind=Kind.GENERATION, usage=USAGE, cost_usd=1.0)) is None


@pytest.mark.parametrize("kind", Kind)
def test_besides_calls_only_operations_count_and_they_cost_nothing(kind: Kind) -> None:
    found = measured(Facts("genai", kind=kind, usage=USAGE, cost_usd=1.0), 1.0)

    assert found == (Measure(spans.TRACE_ID, kind.value, duration_s=1.5) if kind in OPERATIONS else None)


def test_a_plain_span_with_a_signal_counts_for_the_signal_alone() -> None:
    assert measured(Facts("plain"), 1.0, (DECISION, HANDOFF)) == Measure(spans.TRACE_ID, signals=("decision", "handoff"), confidence=0.75)


def test_the_confidence_is_that_of_the_last_decision() -> None:
    found = measured(Facts("plain"), None, (DECISION, DECISION._replace(confidence=0.5), HANDOFF))

    assert found is not None and found.confidence == 0.5


def test_a_run_of_a_tool_counts_the_bytes_that_went_in_and_out() -> None:
    attributes: spans.Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup",
        "gen_ai.tool.call.arguments": json.dumps({"id": "é"}),
        "gen_ai.tool.call.result": "größer",
    }
    seen = view(attributes, error="timeout")

    found = measure_of(shallow(), read_facts(seen), MODEL, None, (), ())

    assert found is not None
    assert (found.operation, found.duration_s, found.input_bytes, found.output_bytes) == ("tool", 1.5, len(json.dumps({"id": "é"})), 8)
    assert found.error


def test_a_lone_surrogate_and_a_clock_that_went_backwards_do_no_harm() -> None:
    facts = Facts("plain", kind=Kind.TOOL, input=Content("\ud800", ("x",)))

    found = measure_of(shallow(10, 5), facts, MODEL, None, (), ())

    assert found is not None and (found.duration_s, found.input_bytes, found.output_bytes) == (0.0, 3, 0)


def test_no_text_of_the_span_is_in_a_measure() -> None:
    secret = "sk-live-4242424242424242"
    facts = call(
        agent_name=secret,
        tool_name=secret,
        model_requested=secret,
        provider=secret,
        error=Error(ErrorKind.OTHER, secret, secret),
        input=Content(secret, (secret,)),
    )

    assert secret not in repr(measured(facts, 1.0, (Signal(SignalKind.DECISION, secret, secret, 0.5, secret, secret),)))

"""Model, tokens and cost: every call counts once."""

from __future__ import annotations

import json

import pytest

from sidecar.enrich.facts import Error, ErrorKind, Facts, Kind, Usage
from sidecar.enrich.shape import Extra
from sidecar.enrich.usage_shape import usage_json
from tests.enrich.shaping import Price, call, shaped
from tests.spans import Attributes, span

USAGE, COST = "langfuse.observation.usage_details", "langfuse.observation.cost_details"
SEMCONV_CALL: dict[str, str | int | float] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
}


def test_the_usage_of_a_call_is_written_in_disjoint_buckets_whose_sum_is_the_total() -> None:
    usage = Usage(input=1, output=2, cache_read=4, cache_write=8, cache_write_1h=16, reasoning=32, input_audio=64, output_audio=128)

    after = shaped(span(), call(usage=usage)).after

    assert after.usage == {
        "input": 1,
        "output": 2,
        "input_cached_tokens": 4,
        "input_cache_creation": 8,
        "input_cache_creation_1h": 16,
        "output_reasoning_tokens": 32,
        "input_audio_tokens": 64,
        "output_audio_tokens": 128,
    }
    assert after.tokens == usage.total


def test_empty_buckets_are_left_out_but_for_input_and_output() -> None:
    assert json.loads(usage_json(Usage(output=5))) == {"input": 0, "output": 5}


def test_exclusive_input_tokens_which_the_server_would_reduce_by_the_cached_ones_are_right() -> None:
    said: Attributes = {**SEMCONV_CALL, "gen_ai.usage.input_tokens": 930, "gen_ai.usage.cache_read.input_tokens": 1152}

    result = shaped(span(attributes=said), call(usage=Usage(input=930, output=20, cache_read=1152)))

    assert result.before.usage["input"] == 0
    assert result.after.usage == {"input": 930, "output": 20, "input_cached_tokens": 1152}


def test_explicit_usage_is_not_overwritten() -> None:
    result = shaped(span(attributes={USAGE: '{"input":7,"output":3}'}), call())

    assert result.after.usage == {"input": 7, "output": 3}


def test_explicit_usage_that_is_no_object_hides_the_tokens_and_is_replaced() -> None:
    result = shaped(span(attributes={**SEMCONV_CALL, USAGE: "[1, 2]"}), call())

    assert result.before.usage == {}
    assert result.after.usage == {"input": 100, "output": 20}


def test_the_model_is_written_where_the_server_would_not_find_it() -> None:
    assert shaped(span(attributes={"mlflow.llm.model": '"gpt-4o"'}), call()).after.model == "gpt-4o"


def test_the_model_is_not_repeated_where_the_server_finds_it() -> None:
    assert "langfuse.observation.model.name" not in shaped(span(attributes=SEMCONV_CALL), call()).attributes


def test_the_model_that_answered_wins_over_another_one_that_the_server_would_take() -> None:
    result = shaped(span(attributes={"gen_ai.request.model": "deployment-7"}), call(model_requested="deployment-7"))

    assert (result.before.model, result.after.model) == ("deployment-7", "gpt-4o")


def test_an_explicit_model_is_not_overwritten() -> None:
    assert shaped(span(attributes={"langfuse.observation.model.name": "mine"}), call()).after.model == "mine"


def test_the_server_skips_model_usage_and_cost_of_invoke_agent_so_a_call_of_that_name_gives_the_name_up() -> None:
    result = shaped(span(attributes={**SEMCONV_CALL, "gen_ai.operation.name": "invoke_agent"}), call())

    assert (result.before.model, result.before.usage) == (None, {})
    assert (result.after.model, result.after.usage, result.after.type) == ("gpt-4o", {"input": 100, "output": 20}, "GENERATION")
    assert result.after.metadata["gen_ai.operation.name"] == "invoke_agent"


def test_an_agent_span_of_that_name_needs_nothing() -> None:
    result = shaped(span(attributes={**SEMCONV_CALL, "gen_ai.operation.name": "invoke_agent"}), Facts("semconv", kind=Kind.AGENT))

    assert (result.after.usage, result.after.total_cost) == ({}, None)
    assert USAGE not in result.attributes


@pytest.mark.parametrize(
    "said",
    [
        {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20, "gen_ai.request.model": "gpt-4o"},
        {"llm.token_count.prompt": 100, "llm.token_count.completion": 20, "llm.model_name": "gpt-4o"},
        {"gen_ai.response.model": "gpt-4o", "gen_ai.usage.cost": 0.5},
        {"llm.cost.total": 0.5},
        {"model": "gpt-4o", "input": "who?"},
    ],
    ids="+".join,
)
@pytest.mark.parametrize("kind", [Kind.AGENT, Kind.CHAIN, Kind.TOOL, Kind.SPAN, Kind.INFRA])
def test_a_span_that_is_no_call_counts_nothing_and_is_not_tokenised(said: dict[str, str | int | float], kind: Kind) -> None:
    result = shaped(span(attributes=said), Facts("x", kind=kind))

    assert result.before.tokens or result.before.total_cost or result.before.is_tokenised
    assert (result.after.tokens, result.after.total_cost, result.after.is_tokenised) == (0, 0, False)


def test_empty_usage_alone_would_not_do_because_the_server_then_counts_tokens_itself() -> None:
    said = {"gen_ai.request.model": "gpt-4o", USAGE: "{}"}

    assert shaped(span(attributes=said), Facts("x", kind=Kind.AGENT)).before.is_tokenised


def test_the_second_record_of_a_call_counts_nothing_and_keeps_its_explicit_numbers_in_metadata() -> None:
    said = {"langfuse.observation.model.name": "gpt-4o", USAGE: '{"input":100,"output":20}', COST: '{"total":0.1}'}

    result = shaped(span(attributes=said), Facts("langfuse", kind=Kind.GENERATION))

    assert (result.after.tokens, result.after.total_cost) == (0, 0)
    assert result.after.metadata["usage_details"] == said[USAGE]
    assert result.after.metadata["cost_details"] == said[COST]


def test_numbers_that_an_agent_span_was_given_on_purpose_stay() -> None:
    result = shaped(span(attributes={USAGE: '{"input":7}', COST: '{"total":0.1}'}), Facts("langfuse", kind=Kind.AGENT))

    assert (result.after.usage, result.after.total_cost) == ({"input": 7}, 0.1)


def test_a_span_about_which_the_server_would_count_nothing_gets_nothing() -> None:
    assert {USAGE, COST}.isdisjoint(shaped(span(attributes={"http.method": "GET"}), Facts("infra", kind=Kind.INFRA)).attributes)


def test_a_worked_out_cost_is_written_with_a_total_and_its_source() -> None:
    price = Price(0.00045, {"input": 0.00025, "output": 0.0002})

    after = shaped(span(), call(), Extra(price)).after

    assert after.total_cost == 0.00045
    assert after.cost == {"input": 0.00025, "output": 0.0002, "total": 0.00045}
    assert after.metadata["cost_source"] == "price table of 2026-11-01: openai/gpt-4o"


def test_the_providers_own_cost_wins() -> None:
    after = shaped(span(), call(cost_usd=0.75, cost_details={"input": 0.5, "input_cached_tokens": 0.25}), Extra(Price(9.0, {"input": 9.0}))).after

    assert (after.total_cost, after.metadata["cost_source"]) == (0.75, "provider")
    assert after.cost == {"input": 0.5, "input_cached_tokens": 0.25, "total": 0.75}


def test_an_explicit_cost_is_not_overwritten() -> None:
    assert shaped(span(attributes={COST: '{"total":0.25}'}), call(cost_usd=9.0), Extra(Price(9.0, {}))).after.cost == {"total": 0.25}


def test_an_explicit_cost_without_a_total_that_the_server_would_ignore_gets_its_sum() -> None:
    result = shaped(span(attributes={COST: '{"input":0.5,"output":0.25,"input_cached_tokens":0.25}'}), call())

    assert (result.before.total_cost, result.after.total_cost) == (None, 1.0)


def test_an_explicit_cost_of_input_and_output_alone_stays_because_the_server_adds_them() -> None:
    said = {COST: '{"input":0.5,"output":0.25}'}

    result = shaped(span(attributes=said), call())

    assert result.attributes[COST] == said[COST]
    assert result.after.total_cost == 0.75


@pytest.mark.parametrize(
    "said", ["{broken", '{"a":' * 20_000, '{"a": 1e999, "b": 1}', '{"a": true, "b": "x"}'], ids=["broken", "deep", "huge", "no numbers"]
)
def test_an_explicit_cost_that_can_not_be_added_up_stays_as_it_is(said: str) -> None:
    assert shaped(span(attributes={COST: said}), call()).attributes[COST] == said


def test_a_cost_of_zero_that_means_unknown_does_not_stop_the_server_from_pricing() -> None:
    result = shaped(span(attributes={**SEMCONV_CALL, "gen_ai.usage.cost": 0.0}), call())

    assert result.before.total_cost == 0
    assert result.after.total_cost == pytest.approx(100 * 2.5e-6 + 20 * 1e-5)


def test_a_failed_call_without_tokens_is_not_tokenised_by_the_server() -> None:
    error = Error(ErrorKind.RATE_LIMIT, "RateLimitError", "slow down")

    result = shaped(span(attributes={"gen_ai.request.model": "gpt-4o"}, error="slow down"), call(usage=None, error=error))

    assert result.before.is_tokenised
    assert (result.after.is_tokenised, result.after.total_cost) == (False, 0)


def test_an_answered_call_without_tokens_is_left_to_the_servers_tokeniser() -> None:
    assert shaped(span(attributes={"gen_ai.request.model": "gpt-4o"}), call(usage=None)).after.is_tokenised

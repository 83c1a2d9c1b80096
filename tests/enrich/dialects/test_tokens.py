"""Counts settle into disjoint buckets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.dialects.tokens import MAX_TOKENS, Counts, counts_in, settle
from sidecar.enrich.facts import Usage

NUMBERS = st.none() | st.integers(-5, 5000) | st.just(MAX_TOKENS + 1)


def test_no_count_is_no_usage() -> None:
    assert settle(Counts()) is None
    assert settle(Counts(cache_read=5)) is None


def test_zero_everywhere_is_no_usage() -> None:
    assert settle(Counts(input=0, output=0, total=0)) is None


def test_cached_input_is_inside_the_input_by_the_conventions() -> None:
    assert settle(Counts(input=2082, output=10, cache_read=1152)) == Usage(input=930, output=10, cache_read=1152)


def test_more_cached_than_input_means_that_the_input_leaves_it_out() -> None:
    assert settle(Counts(input=930, output=10, cache_read=1152)) == Usage(input=930, output=10, cache_read=1152)


def test_a_total_that_adds_the_cached_tokens_means_that_the_input_leaves_them_out() -> None:
    assert settle(Counts(input=2000, output=10, cache_read=500, total=2510)) == Usage(input=2000, output=10, cache_read=500)


def test_a_dialect_that_knows_decides() -> None:
    assert settle(Counts(input=2000, output=10, cache_read=500, exclusive=True)) == Usage(input=2000, output=10, cache_read=500)
    assert settle(Counts(input=400, output=10, cache_read=500, exclusive=False)) == Usage(output=10, cache_read=500)


def test_writes_for_an_hour_are_a_bucket_of_their_own() -> None:
    assert settle(Counts(input=3000, output=1, cache_write=1000, cache_write_1h=400)) == Usage(
        input=2000, output=1, cache_write=600, cache_write_1h=400
    )


def test_a_write_for_an_hour_alone_is_a_write() -> None:
    assert settle(Counts(input=3000, output=1, cache_write_1h=400)) == Usage(input=2600, output=1, cache_write_1h=400)


def test_reasoning_is_inside_the_output() -> None:
    assert settle(Counts(input=1, output=220, reasoning=192)) == Usage(input=1, output=28, reasoning=192)


@pytest.mark.parametrize(
    "counts",
    [
        Counts(input=33, output=143, reasoning=64, reasoning_outside=True),
        Counts(input=33, output=143, reasoning=64, total=240),
        Counts(input=33, output=143, total=240, gap_is_reasoning=True),
    ],
    ids=["the dialect knows", "the total adds it", "only the total has it"],
)
def test_geminis_thoughts_are_outside_the_output(counts: Counts) -> None:
    assert settle(counts) == Usage(input=33, output=143, reasoning=64)


def test_more_reasoning_than_output_means_that_the_output_leaves_it_out() -> None:
    assert settle(Counts(input=1, output=20, reasoning=192)) == Usage(input=1, output=20, reasoning=192)


def test_audio_is_taken_out_of_both_sides() -> None:
    assert settle(Counts(input=100, output=50, input_audio=60, output_audio=20)) == Usage(input=40, output=30, input_audio=60, output_audio=20)


@settings(max_examples=150, deadline=None)
@given(st.builds(Counts, *[NUMBERS] * 9, st.none() | st.booleans(), st.booleans(), st.booleans()))
def test_whatever_the_counts_are_no_bucket_is_negative_and_none_is_absurd(counts: Counts) -> None:
    usage = settle(counts)
    if usage is not None:
        buckets = [getattr(usage, name) for name in Usage.__struct_fields__]
        assert min(buckets) >= 0
        assert max(buckets) <= MAX_TOKENS
        assert usage.total > 0


@pytest.mark.parametrize(
    ("tree", "usage"),
    [
        (
            {
                "prompt_tokens": 2000,
                "completion_tokens": 220,
                "total_tokens": 2220,
                "prompt_tokens_details": {"cached_tokens": 768},
                "completion_tokens_details": {"reasoning_tokens": 192},
            },
            Usage(input=1232, output=28, cache_read=768, reasoning=192),
        ),
        (
            {
                "input_tokens": 575,
                "output_tokens": 39,
                "input_token_details": {"cache_read": 100, "audio": 5},
                "output_token_details": {"reasoning": 9},
            },
            Usage(input=470, output=30, cache_read=100, reasoning=9, input_audio=5),
        ),
        (
            {
                "input_tokens": 2057,
                "output_tokens": 81,
                "cache_read_input_tokens": 4352,
                "cache_creation": {"ephemeral_1h_input_tokens": 1024},
                "cache_creation_input_tokens": 1024,
            },
            Usage(input=2057, output=81, cache_read=4352, cache_write_1h=1024),
        ),
        (
            {"promptTokenCount": 33, "candidatesTokenCount": 143, "thoughtsTokenCount": 64, "totalTokenCount": 240},
            Usage(input=33, output=143, reasoning=64),
        ),
    ],
    ids=["OpenAI chat", "LangChain", "Anthropic", "Gemini"],
)
def test_usage_objects_of_providers_are_read_by_their_names(tree: dict[str, object], usage: Usage) -> None:
    assert settle(counts_in(tree)) == usage


def test_a_usage_object_may_hold_anything() -> None:
    deep: dict[str, object] = {"input": 7}
    for _ in range(50):
        deep = {"more": deep}
    assert settle(counts_in({"input": True, "output": "9", "total": -1, "prompt_tokens": 1.5, "x": [1], "completion": None, "deep": deep})) is None

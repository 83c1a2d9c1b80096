"""What calls cost. The rates in this file were compared by hand with the table of 2026-11-20; a new table is reviewed by its differences here."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.facts import Usage
from sidecar.enrich.price_table import PriceTable
from sidecar.enrich.prices import NAMES, USAGE_KEYS, PriceBook, Priced, Reason, Unpriced

TABLE = (Path(__file__).parent.parent.parent / "sidecar/enrich/prices.json").read_bytes()
BOOK = PriceBook.load(TABLE)
M = 1_000_000


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 10**9


NOW_NS = at("2026-11-20T12:00")


def priced(model: str, provider: str | None, usage: Usage, at_ns: int = NOW_NS, service_tier: str | None = None) -> Priced:
    found = BOOK.price(BOOK.name(model, provider), usage, at_ns, service_tier)
    assert isinstance(found, Priced), found
    return found


def reason(model: str | None, provider: str | None = None, usage: Usage | None = None) -> Reason:
    found = BOOK.price(BOOK.name(model, provider), usage or Usage(input=1), NOW_NS)
    assert isinstance(found, Unpriced), found
    return found.reason


def per_million(model: str, provider: str | None, bucket: str, **more: int) -> float:
    """USD of a million tokens of one bucket, as 1,000 calls of 1,000 tokens cost (so that no context length is passed)."""
    usage = Usage(**{bucket: 1000}, **more)
    return round(priced(model, provider, usage).details[USAGE_KEYS[bucket]] * 1000, 6)


KNOWN = [
    # model, provider, input, output, cached input
    ("gpt-4o", "openai", 2.5, 10, 1.25),
    ("gpt-4o-2024-05-13", "openai", 5, 15, 5),
    ("gpt-4o-mini", "openai", 0.15, 0.6, 0.075),
    ("gpt-4.1", "openai", 2, 8, 0.5),
    ("gpt-5", "azure.ai.openai", 1.25, 10, 0.125),
    ("o3", "openai", 2, 8, 0.5),
    ("o3-mini", "openai", 1.1, 4.4, 0.55),
    ("claude-sonnet-4-5", "anthropic", 3, 15, 0.3),
    ("claude-haiku-4-5-20251001", "anthropic", 1, 5, 0.1),
    ("claude-opus-4-1-20250805", "anthropic", 15, 75, 1.5),
    ("anthropic.claude-3-5-haiku-20241022-v1:0", "aws.bedrock", 0.8, 4, 0.08),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws.bedrock", 3.3, 16.5, 0.33),
    ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws.bedrock", 3, 15, 0.3),
    ("amazon.nova-pro-v1:0", "aws.bedrock", 0.8, 3.2, 0.2),
    ("gemini-2.5-pro", "gcp.gemini", 1.25, 10, 0.125),
    ("gemini-2.5-flash", "gcp.vertex_ai", 0.3, 2.5, 0.03),
    ("claude-sonnet-4-5@20250929", "gcp.vertex_ai", 3, 15, 0.3),
    ("deepseek-chat", "deepseek", 0.27, 1.1, 0.07),
    ("mistral-large-latest", "mistral_ai", 2, 6, 2),
    ("mistral-large-2512", "mistral_ai", 0.5, 1.5, 0.05),
    ("llama-3.3-70b-versatile", "groq", 0.59, 0.79, 0.59),
    ("grok-4", "x_ai", 3, 15, 0.75),
    ("command-r-plus", "cohere", 2.5, 10, 2.5),
    ("ft:gpt-4o-mini-2024-07-18:acme::abc", "openai", 0.3, 1.2, 0.3),
    ("openai/gpt-4o", "openrouter", 2.5, 10, 1.25),
]


@pytest.mark.parametrize(("model", "provider", "fresh", "output", "cached"), KNOWN)
def test_a_well_known_model_costs_what_its_provider_lists(model: str, provider: str, fresh: float, output: float, cached: float) -> None:
    """Of the table of 2026-11-20."""
    assert per_million(model, provider, "input") == fresh
    assert per_million(model, provider, "output") == output
    assert per_million(model, provider, "cache_read") == cached


def test_an_embedding_costs_its_input_alone() -> None:
    assert per_million("text-embedding-3-small", "openai", "input") == 0.02


def test_the_buckets_cost_each_their_own_and_sum_up() -> None:
    usage = Usage(input=1000, output=200, cache_read=5000, cache_write=3000, cache_write_1h=400, reasoning=100)

    found = priced("claude-sonnet-4-5", "anthropic", usage)

    assert found.details == {
        "input": 0.003,
        "output": 0.003,
        "input_cached_tokens": 0.0015,
        "input_cache_creation": 0.01125,
        "input_cache_creation_1h": 0.0024,
        "output_reasoning_tokens": 0.0015,
    }
    assert found.cost_usd == 0.02265
    assert found.rule == "anthropic/claude-sonnet-4-5"


def test_the_table_s_date_is_on_every_price() -> None:
    assert priced("gpt-4o", "openai", Usage(input=1)).table_date == BOOK.date
    assert dt.date.fromisoformat(BOOK.date) >= dt.date(2026, 11, 20)


def test_reasoning_costs_as_output_unless_the_model_has_a_price_for_it() -> None:
    assert per_million("o3", "openai", "reasoning") == 8
    assert per_million("sonar-deep-research", "perplexity", "reasoning") == 3
    assert per_million("sonar-deep-research", "perplexity", "output") == 8


def test_audio_has_its_own_price_and_costs_as_text_without_one() -> None:
    assert per_million("gemini-2.5-flash", "google", "input_audio") == 1
    assert per_million("gpt-realtime", "openai", "output_audio") == 64
    assert per_million("gpt-4o", "openai", "input_audio") == 2.5


def test_a_request_price_is_added_once_a_call() -> None:
    found = priced("sonar-pro", "perplexity", Usage(input=1000))

    assert found.details == {"input": 0.003, "request": 0.014}
    assert found.cost_usd == 0.017


def test_above_a_context_length_every_token_costs_the_higher_rate() -> None:
    short = priced("gemini-2.5-pro", "google", Usage(input=200_000, output=1000))
    long = priced("gemini-2.5-pro", "google", Usage(input=200_001, output=1000))

    assert short.details == {"input": 0.25, "output": 0.01}
    assert long.details == {"input": 0.5000025, "output": 0.015}
    assert long.rule == "google/gemini-2.5-pro above=200000"


def test_cached_input_counts_towards_the_context_length() -> None:
    found = priced("gemini-2.5-pro", "google", Usage(input=1000, cache_read=200_000))

    assert found.details == {"input": 0.0025, "input_cached_tokens": 0.05}


def test_output_does_not_count_towards_the_context_length() -> None:
    assert priced("gemini-2.5-pro", "google", Usage(input=100_000, output=150_000)).rule == "google/gemini-2.5-pro"


@pytest.mark.parametrize(
    ("tier", "cost", "said"), [("batch", 0.625, " tier=batch"), ("Flex", 0.625, " tier=flex"), ("priority", 2.5, " tier=priority")]
)
def test_a_service_tier_has_its_own_price(tier: str, cost: float, said: str) -> None:
    found = priced("gpt-5", "openai", Usage(input=M), service_tier=tier)

    assert found.cost_usd == cost
    assert found.rule == "openai/gpt-5" + said


@pytest.mark.parametrize("tier", ["default", "standard", "auto", "on_demand", "scale", "", None, "something new"])
def test_other_service_tiers_cost_the_standard_price(tier: str | None) -> None:
    found = priced("gpt-5", "openai", Usage(input=M), service_tier=tier)

    assert (found.cost_usd, found.rule) == (1.25, "openai/gpt-5")


def test_a_service_tier_without_a_price_costs_the_standard_one_and_says_so() -> None:
    assert priced("o3-mini", "openai", Usage(input=M), service_tier="flex").rule == "openai/o3-mini tier=flex:standard"


def test_a_service_tier_keeps_the_standard_rate_of_what_it_does_not_name() -> None:
    """OpenAI's batch table for gpt-4o names no cached input."""
    found = priced("gpt-4o", "openai", Usage(input=1000, cache_read=1000), service_tier="batch")

    assert found.details == {"input": 0.00125, "input_cached_tokens": 0.00125}


def test_a_service_tier_has_long_context_rates_too() -> None:
    found = priced("gemini-2.5-pro", "google", Usage(input=400_000), service_tier="batch")

    assert (found.cost_usd, found.rule) == (0.5, "google/gemini-2.5-pro tier=batch above=200000")


def test_a_price_holds_from_its_first_day() -> None:
    """o3 became cheaper on 2025-06-10."""
    before = priced("o3", "openai", Usage(input=M), at("2025-06-09T23:59"))
    since = priced("o3", "openai", Usage(input=M), at("2025-06-10T00:00"))

    assert (before.cost_usd, before.rule) == (10, "openai/o3")
    assert (since.cost_usd, since.rule) == (2, "openai/o3 since=2025-06-10")


@pytest.mark.parametrize(("moment", "cost"), [("00:29", 0.135), ("00:30", 0.27), ("16:29", 0.27), ("16:30", 0.135)])
def test_a_price_can_depend_on_the_time_of_day(moment: str, cost: float) -> None:
    """DeepSeek's off-peak hours, in UTC."""
    assert priced("deepseek-chat", "deepseek", Usage(input=M), at(f"2026-11-20T{moment}")).cost_usd == cost


def test_a_provider_that_resells_has_its_makers_list_price() -> None:
    assert priced("gpt-4o", "azure.ai.openai", Usage(input=M)).rule == "openai/gpt-4o"
    assert priced("claude-opus-4-1", "azure_ai", Usage(input=1000)).rule == "anthropic/claude-opus-4-1"


def test_a_closed_model_costs_its_list_price_behind_an_unknown_gateway() -> None:
    assert priced("gpt-4o-mini-2024-07-18", "acme-llm.chat", Usage(input=M)).rule == "openai/gpt-4o-mini"
    assert priced("claude-sonnet-4-5", "langgraph", Usage(input=1000)).rule == "anthropic/claude-sonnet-4-5"
    assert priced("text-embedding-3-small", None, Usage(input=M)).cost_usd == 0.02


def test_an_open_model_without_a_seller_is_not_guessed_at() -> None:
    assert reason("gpt-oss-120b") is Reason.AMBIGUOUS_MODEL
    assert reason("mixtral-8x7b", "deepinfra") is Reason.UNKNOWN_MODEL


def test_a_name_that_one_seller_alone_uses_tells_the_seller() -> None:
    assert priced("llama-3.3-70b-versatile", None, Usage(input=M)).rule == "groq/llama-3.3-70b-versatile"


def test_a_maker_and_model_is_looked_up_in_the_gateways_catalogue() -> None:
    """An OpenAI client with another base URL says openai and sends the gateway's id."""
    assert priced("meta-llama/llama-3.3-70b-instruct", "openai", Usage(input=M)).rule.startswith("openrouter/meta-llama/llama-3.3-70b-instruct")


def test_a_free_variant_costs_nothing_and_is_priced() -> None:
    found = priced("deepseek/deepseek-r1:free", "openrouter", Usage(input=1000, output=1000))

    assert found.cost_usd == 0
    assert found.details == {"input": 0, "output": 0}
    assert priced("someone/brand-new:free", "openrouter", Usage(input=1)).cost_usd == 0


def test_every_unpriced_call_has_its_reason() -> None:
    assert reason(None) is Reason.NO_MODEL
    assert reason("x" * 300) is Reason.NO_MODEL
    assert reason("zebra-9", "openai") is Reason.UNKNOWN_MODEL
    assert reason("support-prod", "azure") is Reason.UNKNOWN_MODEL
    assert reason("llama3.2", "ollama") is Reason.SELF_HOSTED
    assert reason("whisper-large-v3", "groq") is Reason.NOT_BY_TOKEN
    assert reason("gpt-4o", "openai", Usage(input=0)) is Reason.NO_USAGE
    assert reason("text-embedding-3-small", "openai", Usage(input=1, output=1)) is Reason.NO_RATE
    assert BOOK.price(BOOK.name("gpt-4o"), None, NOW_NS) == Unpriced(Reason.NO_USAGE)


def test_a_fine_tuned_model_that_is_not_listed_does_not_cost_as_its_base() -> None:
    assert reason("ft:gpt-4.1-mini-2025-04-14:acme::abc", "openai") is Reason.UNKNOWN_MODEL


def test_metadata_comes_with_the_name() -> None:
    name = BOOK.name("azure/gpt-4o-2024-08-06")

    assert name is not None
    info = BOOK.info(name)
    assert (info.provider, info.model, info.family, info.context_window, info.display_name) == ("azure", "gpt-4o", "gpt", 128_000, "gpt 4o")


def test_an_unknown_model_still_has_its_provider_and_name() -> None:
    name = BOOK.name("zebra-9", "OpenAI")

    assert name is not None
    assert BOOK.info(name)[:4] == ("openai", "zebra-9", None, None)


@pytest.mark.parametrize(
    ("model", "provider", "expected"),
    [
        ("claude-sonnet-4.5", "openai", "anthropic"),
        ("gpt-4o", None, "openai"),
        ("text-embedding-3-small", "langchain", "openai"),
        ("claude-sonnet-4-5@20250929", "vertex_ai", "google"),
        ("gpt-4o", "azure", "azure"),
        ("gpt-4o", "acme-llm", "acme-llm"),
        ("gpt-oss-120b", "openai", "openai"),
    ],
)
def test_a_client_library_s_maker_is_not_taken_for_the_provider(model: str, provider: str | None, expected: str) -> None:
    name = BOOK.name(model, provider)

    assert name is not None
    assert BOOK.info(name).provider == expected


def test_made_up_names_do_not_grow_the_memory() -> None:
    book = PriceBook.load(TABLE)
    for number in range(3 * NAMES):
        book.price(book.name(f"made-up-{number}", "openai"), Usage(input=1), NOW_NS)

    assert len(book._names) <= NAMES
    assert len(book._sheets) <= NAMES


def test_a_name_in_use_outlives_a_flood_of_made_up_ones() -> None:
    book = PriceBook.load(TABLE)
    first = book.name("gpt-4o", "openai")
    for number in range(2 * NAMES):
        book.name(f"made-up-{number}", "openai")
        if number % 100 == 0:
            assert book.name("gpt-4o", "openai") is first


def test_over_long_names_are_not_remembered() -> None:
    book = PriceBook.load(TABLE)

    assert book.name("x" * 10_000, "openai") is None
    assert book.name("gpt-4o", "p" * 10_000) == book.name("gpt-4o")
    assert len(book._names) == 1


def test_the_whole_table_in_use_stays_within_four_megabytes() -> None:
    tracemalloc.start()
    table = PriceTable(bytes(TABLE))
    for provider in table.providers:
        table.models(provider)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held + len(TABLE) < 4 * 1024 * 1024


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", TABLE[:1000]])
def test_a_table_that_is_none_is_an_error(content: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        PriceBook.load(content)


COUNTS = st.integers(0, 10**7)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.tuples(*[COUNTS] * 8),
    model=st.sampled_from(KNOWN),
    tier=st.sampled_from([None, "batch", "flex", "priority"]),
    at_ns=st.integers(at("2024-01-01"), at("2027-01-01")),
)
def test_the_details_always_sum_to_the_cost(
    counts: tuple[int, ...], model: tuple[str, str, float, float, float], tier: str | None, at_ns: int
) -> None:
    usage = Usage(*counts)
    found = BOOK.price(BOOK.name(model[0], model[1]), usage, at_ns, tier)

    if usage.total == 0:
        assert found == Unpriced(Reason.NO_USAGE)
    else:
        assert isinstance(found, Priced)
        assert found.cost_usd == pytest.approx(sum(found.details.values()), rel=1e-12)
        assert set(found.details) == {USAGE_KEYS[field] for field in USAGE_KEYS if getattr(usage, field)}

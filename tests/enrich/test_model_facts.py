"""What is known of a call's model, as attributes to filter by."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.facts import Facts
from sidecar.enrich.model_facts import CONTEXT_WINDOW, FAMILY, GENERATION, PROVIDER, ModelFacts
from sidecar.enrich.models import parse_models
from sidecar.enrich.prices import PriceBook
from sidecar.wire.attributes import Value, decode

TABLE = (Path(__file__).parent.parent.parent / "sidecar/enrich/prices.json").read_bytes()
BOOK = PriceBook.load(TABLE)


def call(answered: str | None = None, requested: str | None = None, provider: str | None = None) -> Facts:
    return Facts("genai", model_answered=answered, model_requested=requested, provider=provider)


def known(facts: Facts, book: PriceBook = BOOK) -> dict[str, Value]:
    """The attributes without the part of their keys that all share."""
    attributes = ModelFacts(book).known(facts).attributes
    pairs = [decode(raw) for raw in attributes.values()]
    assert [key for key, _ in pairs] == list(attributes)
    return {key.removeprefix("langfuse.observation.metadata.model_"): value for key, value in pairs}


def test_the_keys_are_filterable_metadata() -> None:
    assert (PROVIDER, FAMILY, CONTEXT_WINDOW) == (
        "langfuse.observation.metadata.model_provider",
        "langfuse.observation.metadata.model_family",
        "langfuse.observation.metadata.model_context_window",
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (call("gpt-4o-2024-08-06", "gpt-4o", "openai"), {"provider": "openai", "family": "gpt", "context_window": 128_000}),
        (call(None, "gpt-4o", "azure.ai.openai"), {"provider": "azure", "family": "gpt", "context_window": 128_000}),
        (call(None, "openrouter/openai/gpt-4o-mini", "openai"), {"provider": "openrouter", "family": "gpt", "context_window": 128_000}),
        (call("us.anthropic.claude-3-5-sonnet-20241022-v2:0", None, "aws.bedrock"), {"provider": "aws", "family": "claude"}),
        (call(None, "llama3.2", "ollama"), {"provider": "ollama", "family": "llama"}),
    ],
)
def test_a_known_model_says_its_provider_family_and_context_window(facts: Facts, expected: dict[str, Value]) -> None:
    found = known(facts)

    assert {key: found.get(key) for key in expected} == expected


def test_a_model_without_a_provider_is_its_makers() -> None:
    assert known(call("claude-3-5-sonnet-20241022"))["provider"] == "anthropic"


@pytest.mark.parametrize("facts", [call(), call(provider="openai"), call("", "", "openai")])
def test_a_span_without_a_model_says_nothing(facts: Facts) -> None:
    assert known(facts) == {}


def test_an_unknown_name_has_its_provider_and_nothing_else() -> None:
    assert known(call("frobnicator-9", None, "Acme_Cloud")) == {"provider": "acme-cloud"}
    assert known(call("frobnicator-9", None, None)) == {}
    assert known(call("frobnicator-9", None, "langchain")) == {}


@pytest.mark.parametrize("model", ["what a model?\n", "unknown", "m" * 257, "m" * 100_000, "\ud800"])
def test_what_is_no_name_at_all_has_its_provider_too(model: str) -> None:
    assert known(call(model, None, "openai")) == {"provider": "openai"}


def test_the_model_that_answered_counts() -> None:
    assert known(call("claude-3-5-haiku-20241022", "gpt-4o", None))["family"] == "claude"


def test_an_endpoints_own_id_gives_way_to_the_known_model_that_was_asked_for() -> None:
    assert known(call("ep-2026-xyz", "gpt-4o", "openai"))["family"] == "gpt"


def test_an_operators_rule_wins() -> None:
    rule = {"match": "acme-*", "provider": "acme", "family": "frob", "context_window": 32_768}
    book = PriceBook.load(TABLE, parse_models({"models": [rule]}))

    assert known(call("acme-large", None, "openai"), book) == {"provider": "acme", "family": "frob", "context_window": 32_768}


@pytest.mark.parametrize("window", [2**63, 1 << 60_000], ids=["64 bits", "60,001 bits"])
def test_a_context_window_beyond_64_bits_is_left_out(window: int) -> None:
    book = PriceBook.load(TABLE, parse_models({"models": [{"match": "acme-*", "family": "frob", "context_window": window}]}))

    assert known(call("acme-large"), book) == {"family": "frob"}


def test_what_was_seen_is_remembered_as_the_same_object() -> None:
    facts = ModelFacts(BOOK)

    assert facts.known(call("gpt-4o")) is facts.known(call("gpt-4o"))
    assert len(facts) == 1


def test_an_unknown_model_is_remembered_too() -> None:
    facts = ModelFacts(BOOK)
    facts.known(call("frobnicator-9"))

    assert len(facts) == 1


def test_what_is_remembered_is_bounded_and_what_is_in_use_stays() -> None:
    facts = ModelFacts(BOOK)
    mine = facts.known(call("gpt-4o"))

    for i in range(5 * GENERATION):
        facts.known(call(f"frobnicator-{i}"))
        if i % 100 == 0:
            assert facts.known(call("gpt-4o")) is mine
        assert len(facts) <= 2 * GENERATION


@pytest.mark.parametrize(
    "facts",
    [call("m" * 257, None, "openai"), call("gpt-4o", "m" * 257, "openai"), call("gpt-4o", None, "p" * 257)],
    ids=["answered", "requested", "provider"],
)
def test_long_texts_are_answered_and_not_remembered(facts: Facts) -> None:
    models = ModelFacts(BOOK)

    assert models.known(facts)
    assert len(models) == 0


SECRET = "sk-live-4242424242424242"


@pytest.mark.parametrize(
    ("facts", "label", "provider"),
    [
        (call("gpt-4o-2024-08-06", "gpt-4o", "openai"), "gpt-4o", "openai"),
        (call(None, "openrouter/openai/gpt-4o-mini", "openai"), "gpt-4o-mini", "openrouter"),
        (call("us.anthropic.claude-3-5-sonnet-20241022-v2:0", None, "aws.bedrock"), "claude-3-5-sonnet", "aws"),
        (call("claude-3-5-sonnet-20241022"), "claude-3-5-sonnet", "anthropic"),
        (call(None, "llama3.2", "ollama"), "llama", "ollama"),
        (call(None, f"gpt-4o-{SECRET}", "openai"), "gpt", "openai"),
        (call(None, SECRET, SECRET), "other", "other"),
        (call(None, f"{SECRET}:free", "openrouter"), "other", "openrouter"),
        (call(None, f"ft:gpt-4o:{SECRET}::id", "openai"), "gpt", "openai"),
        (call(None, None, "openai"), "unknown", "openai"),
        (call(None, None, SECRET), "unknown", "other"),
        (call(), "unknown", "unknown"),
    ],
)
def test_labels_are_known_names_and_never_text_of_a_span(facts: Facts, label: str, provider: str) -> None:
    found = ModelFacts(BOOK).known(facts)

    assert (found.label, found.provider) == (label, provider)


def test_labels_of_the_operators_own_models_are_his_words() -> None:
    rules = [
        {"match": "support-chat-*", "as": "gpt-4o-mini"},
        {"match": {"model": ["house-*", "barn-*"], "provider": "acme"}, "provider": "acme", "prices": {"input": 1, "output": 1}},
        {"match": {"model": "*", "provider": "ollama"}, "prices": {"input": 0, "output": 0}},
    ]
    book = PriceBook.load(TABLE, parse_models({"models": rules}))
    models = ModelFacts(book)

    labels = [models.known(call(None, *named))[1:] for named in (("support-chat-eu", "azure"), ("house-7", "acme"), ("frob-7", "ollama"))]

    assert labels == [("gpt-4o-mini", "azure"), ("house-*, barn-*", "acme"), ("other", "ollama")]


names = (
    st.none()
    | st.text(max_size=80)
    | st.sampled_from(["gpt-4o", "azure/gpt-4o", "ft:gpt-4o:a::b", "models/gemini-2.0-flash", "arn:aws:x/y", "a/b/c"])
)


@given(answered=names, requested=names, provider=names)
@settings(max_examples=200, deadline=None)
def test_any_texts_give_attributes_that_decode(answered: str | None, requested: str | None, provider: str | None) -> None:
    found = known(call(answered, requested, provider))

    assert set(found) <= {"provider", "family", "context_window"}
    assert isinstance(found.get("context_window", 1), int)
    assert all(found.get(key, "x") for key in ("provider", "family"))

"""config/models.yaml: aliases, prices and metadata of the operator's own models."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sidecar.enrich.facts import Usage
from sidecar.enrich.models import ModelRules, family_of, parse_models
from sidecar.enrich.names import normalise
from sidecar.enrich.prices import ModelInfo, PriceBook, Priced, Reason, Unpriced
from sidecar.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
TABLE = (ROOT / "sidecar/enrich/prices.json").read_bytes()
NOW_NS = 1_795_183_200 * 10**9
MILLION = Usage(input=1_000_000, output=1_000_000)


def book(*rules: object) -> PriceBook:
    return PriceBook.load(TABLE, parse_models({"models": list(rules)}))


def cost(prices: PriceBook, model: str, provider: str | None = None, usage: Usage = MILLION) -> float:
    priced = prices.price(prices.name(model, provider), usage, NOW_NS)
    assert isinstance(priced, Priced), priced
    return priced.cost_usd


def info(prices: PriceBook, model: str, provider: str | None = None) -> ModelInfo:
    name = prices.name(model, provider)
    assert name is not None
    return prices.info(name)


def problems_of(tree: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_models(tree)
    return list(caught.value.problems)


def test_the_file_in_config_is_valid() -> None:
    rules = parse_models(yaml.safe_load((ROOT / "config/models.yaml").read_text(encoding="utf-8")))
    name = normalise("llama3.2", "ollama")

    assert name is not None
    assert rules.find(name) is not None


def test_the_examples_in_the_file_in_config_are_valid() -> None:
    text = (ROOT / "config/models.yaml").read_text(encoding="utf-8")
    examples = [line.partition("- {")[2] for line in text.splitlines() if line.startswith("#") and "- {" in line]

    assert examples
    parse_models({"models": [yaml.safe_load("{" + each) for each in examples]})


@pytest.mark.parametrize("tree", [None, {}, {"models": None}, {"models": []}])
def test_an_empty_file_has_no_rules(tree: object) -> None:
    name = normalise("gpt-4o")

    assert name is not None
    assert parse_models(tree).find(name) is None


def test_an_alias_gives_a_deployment_the_price_and_metadata_of_its_model() -> None:
    prices = book({"match": {"model": "support-*", "provider": "azure"}, "as": "gpt-4o"})

    assert cost(prices, "support-prod", "azure.ai.openai") == 12.5
    assert info(prices, "support-prod", "azure") == ModelInfo(
        "azure", "gpt-4o", "gpt", 128000, "gpt 4o", "models[0] as openai/gpt-4o", "gpt-4o", "azure"
    )


def test_an_alias_may_name_another_provider() -> None:
    prices = book({"match": "brain", "as": "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"})

    assert cost(prices, "brain", "acme", Usage(input=100_000)) == pytest.approx(0.33)


def test_an_own_price_wins_over_the_table() -> None:
    prices = book({"match": "gpt-4o", "prices": {"input": 1, "output": 2, "cache_read": 0.25}})

    assert cost(prices, "gpt-4o-2024-08-06", "openai") == 3.0
    assert cost(prices, "gpt-4o", "openai", Usage(cache_read=1_000_000)) == 0.25


def test_an_own_price_and_metadata_hold_for_a_model_that_no_table_knows() -> None:
    prices = book(
        {"match": ["acme-*", "zebra"], "provider": "acme", "family": "acme", "context_window": 32768, "prices": {"input": 0.5, "output": 1.5}}
    )

    assert cost(prices, "ACME-Large") == 2.0
    assert info(prices, "zebra") == ModelInfo("acme", "zebra", "acme", 32768, None, "models[0]", "acme-*, zebra", "acme")


def test_a_family_alone_leaves_the_price_to_the_table() -> None:
    prices = book({"match": "gpt-4o", "family": "workhorse"})

    assert cost(prices, "gpt-4o", "openai") == 12.5
    assert info(prices, "gpt-4o", "openai").family == "workhorse"


def test_metadata_of_an_unknown_model_gives_it_no_price() -> None:
    prices = book({"match": "zebra", "family": "striped"})

    assert prices.price(prices.name("zebra"), MILLION, NOW_NS) == Unpriced(Reason.UNKNOWN_MODEL)
    assert info(prices, "zebra").rule is None


def test_the_first_rule_that_fits_is_used() -> None:
    prices = book({"match": "acme-small", "prices": {"input": 1, "output": 1}}, {"match": "acme-*", "prices": {"input": 9, "output": 9}})

    assert cost(prices, "acme-small") == 2.0
    assert cost(prices, "acme-large") == 18.0


def test_a_rule_for_a_provider_leaves_the_others_alone() -> None:
    prices = book({"match": {"model": "gpt-4o", "provider": "azure"}, "prices": {"input": 0, "output": 0}})

    assert cost(prices, "gpt-4o", "azure") == 0
    assert cost(prices, "gpt-4o", "openai") == 12.5


def test_own_models_on_ones_own_machines_can_be_given_a_price() -> None:
    prices = book({"match": {"provider": "ollama"}, "prices": {"input": 0, "output": 0}})

    assert cost(prices, "llama3.2", "ollama") == 0


def test_own_tiers_hold_for_all_tokens_of_a_long_request() -> None:
    prices = book({"match": "acme", "prices": {"input": 1, "output": 10}, "tiers": [{"above_tokens": 1000, "prices": {"input": 2}}]})

    assert cost(prices, "acme", None, Usage(input=1000, output=100)) == pytest.approx(0.002)
    assert cost(prices, "acme", None, Usage(input=1001, output=100)) == pytest.approx(0.003002)


def test_every_problem_is_reported_with_its_path() -> None:
    tree = {
        "model": [],
        "models": [
            {"match": "a", "as": "gpt-4o", "price": 1},
            {"as": "gpt-4o", "context_window": 0},
            {"match": "b", "prices": {"input": -1, "output": "much", "outptu": 3}},
            "gpt-4o",
            {"match": "c"},
            {"match": {"modle": "c"}, "as": "gpt-4o"},
            {"match": "d", "tiers": [{"above_tokens": 5, "prices": {"input": 1}}]},
            {"match": "e", "prices": {"input": 1}, "tiers": [{"above_tokens": 5, "prices": {}}, {"above_tokens": 5, "prices": {}}]},
            {"match": "f", "as": "what, no"},
            {"match": "g", "prices": {"input": 1}, "tiers": [{"above_tokens": 5, "prices": {"input": "x"}}]},
        ],
    }

    assert problems_of(tree) == [
        "model: unknown key; known here: models",
        "models[0].price: unknown key; known here: as, context_window, family, match, prices, provider, tiers",
        "models[1].match: is required",
        "models[1].context_window: Expected int >= 1",
        "models[2].prices.outptu: unknown key; known here: cache_read, cache_write, cache_write_1h, input, input_audio, output, output_audio, reasoning, request",
        "models[2].prices.input: Expected float >= 0.0",
        "models[2].prices.output: Expected float | null, got str",
        "models[3]: expected a map",
        "models[4]: does nothing; give at least one of as, provider, family, context_window, prices",
        "models[5].match.modle: unknown key; known here: model, provider",
        "models[6].tiers: needs prices, which hold below the first tier",
        "models[7].tiers: above_tokens must rise from tier to tier",
        "models[8].as: is not a model's name",
        "models[9].tiers[0].prices.input: Expected float | null, got str",
    ]


@pytest.mark.parametrize("tree", [[], "gpt-4o", 3])
def test_a_file_that_is_no_map_is_a_problem(tree: object) -> None:
    assert problems_of(tree) == ["models file: expected a map with the key models"]


def test_models_must_be_a_list_of_bounded_length() -> None:
    assert problems_of({"models": {"a": 1}}) == ["models: expected a list"]
    assert problems_of({"models": [{"match": "a", "family": "b"}] * 1001}) == ["models: 1001 entries are more than the limit of 1000"]


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o-mini", "gpt"),
        ("o3-mini", "o-series"),
        ("claude-sonnet-4-5", "claude"),
        ("gemini-2.5-pro", "gemini"),
        ("gemini-embedding-001", "embedding"),
        ("llama-3.3-70b-versatile", "llama"),
        ("mixtral-8x7b", "mistral"),
        ("deepseek-chat", "deepseek"),
        ("text-embedding-3-small", "embedding"),
        ("qwen2.5:7b", "qwen"),
        ("support-prod", None),
        ("omega", None),
    ],
)
def test_a_family_is_one_of_a_fixed_set(model: str, family: str | None) -> None:
    assert family_of(model) == family


def test_without_rules_nothing_is_overridden() -> None:
    name = normalise("gpt-4o")

    assert name is not None
    assert ModelRules().find(name) is None

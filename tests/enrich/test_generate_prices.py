"""The committed price table, and the script that makes it."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import pytest

from scripts.generate_prices import clauses, main, model, price, providers_of, table
from sidecar.enrich.price_table import PriceTable, matcher

FOLDER = Path(__file__).parent.parent.parent / "sidecar" / "enrich"
CONTENT = (FOLDER / "prices.json").read_bytes()

DATA = """
from .types import *
providers: list[Provider] = [
    Provider(
        id='acme',
        name='Acme',
        api_pattern='https://api\\\\.acme',
        model_match=ClauseStartsWith(starts_with='Acme-'),
        fallback_model_providers=['openai'],
        models=[
            ModelInfo(
                id='acme-1',
                match=ClauseOr(or_=[ClauseEquals(equals='Acme-1'), ClauseAnd(and_=[ClauseContains(contains='a'), ClauseRegex(regex='1$')])]),
                name='Acme 1',
                context_window=1000,
                prices=[
                    ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('0.5'), web_searches_kcount=Decimal('10'))),
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 1, 2)),
                        prices=ModelPrice(input_mtok=TieredPrices(base=Decimal('1'), tiers=[Tier(start=100, price=Decimal('2'))]), output_mtok=Decimal('3')),
                    ),
                    ConditionalPrice(
                        constraint=TimeOfDateConstraint(
                            start_time=datetime.time(0, 30, tzinfo=datetime.UTC), end_time=datetime.time(16, 30, tzinfo=datetime.UTC)
                        ),
                        prices=ModelPrice(input_mtok=Decimal('9')),
                    ),
                ],
                price_variants=[
                    PriceVariant(when={'processing': 'batch'}, prices=ModelPrice(input_mtok=Decimal('0.25')), constraint=None),
                    PriceVariant(when={'route': 'eu'}, prices=ModelPrice(input_mtok=Decimal('7'))),
                ],
            ),
            ModelInfo(id='acme-2:free', match=ClauseEquals(equals='acme-2:free'), prices=ModelPrice()),
            ModelInfo(id='acme-draw', match=ClauseEndsWith(ends_with='draw'), prices=ModelPrice(output_images_kcount=Decimal('4'))),
        ],
    )
]
"""


def test_the_committed_table_is_dated_and_names_its_source_and_licence() -> None:
    raw = json.loads(CONTENT)

    assert dt.date.fromisoformat(raw["date"]) >= dt.date(2026, 11, 20)
    assert raw["source"] == "genai-prices"
    assert re.fullmatch(r"\d+\.\d+\.\d+", raw["version"])
    assert "MIT" in raw["licence"]


def test_the_licence_of_the_data_lies_beside_it() -> None:
    text = (FOLDER / "prices.LICENSE").read_text(encoding="utf-8")

    assert text.startswith("The MIT License")
    assert "The above copyright notice and this permission notice shall be included" in " ".join(text.split())


def test_the_committed_table_is_well_formed_in_every_model() -> None:
    read = PriceTable(CONTENT)
    models = [entry for provider in read.providers for entry in read.models(provider).entries]

    assert len(models) > 2000
    for entry in models:
        assert entry.match
        assert all(matcher(clause) for clause in entry.match)
        assert all(each.above == sorted(each.above, key=lambda tier: tier[0]) for each in entry.prices)
        assert not entry.prices or not entry.prices[0].service_tier


def test_every_provider_that_another_resells_is_in_the_table() -> None:
    read = PriceTable(CONTENT)

    assert {seller for sellers in read.resells.values() for seller in sellers} <= set(read.providers)
    assert {"openai", "anthropic", "google", "aws", "azure", "mistral", "deepseek", "groq", "openrouter"} <= set(read.providers)


def test_the_committed_table_is_small() -> None:
    assert len(CONTENT) < 700_000


def test_the_package_s_data_becomes_the_table() -> None:
    built = table(providers_of(DATA), "1.2.3", dt.date(2026, 11, 20))

    assert built["version"] == "1.2.3"
    assert built["date"] == "2026-11-20"
    assert built["providers"] == {
        "acme": {
            "name": "Acme",
            "owns": ["^acme-"],
            "resells": ["openai"],
            "models": [
                {
                    "id": "acme-1",
                    "name": "Acme 1",
                    "context_window": 1000,
                    "match": ["=acme-1", ["~a", "/1$"]],
                    "prices": [
                        {"rates": {"input": 0.5}},
                        {"rates": {"input": 1.0, "output": 3.0}, "above": [[100, {"input": 2.0, "output": 3.0}]], "since": "2026-01-02"},
                        {"rates": {"input": 9.0}, "minutes": [30, 990]},
                        {"rates": {"input": 0.25}, "service_tier": "batch"},
                    ],
                },
                {"id": "acme-2:free", "match": ["=acme-2:free"], "free": True},
                {"id": "acme-draw", "match": ["$draw"]},
            ],
        }
    }


def test_a_built_table_can_be_read_back() -> None:
    built = table(providers_of(DATA), "1.2.3", dt.date(2026, 11, 20))
    read = PriceTable(json.dumps(built).encode())

    assert [entry.id for entry in read.models("acme").entries] == ["acme-1", "acme-2:free", "acme-draw"]
    assert read.owner("acme-7") == "acme"


def test_tiers_with_different_starts_give_full_rates_at_each() -> None:
    tiered = {"base": 1.0, "tiers": [{"start": 100, "price": 2.0}, {"start": 300, "price": 4.0}]}
    other = {"base": 10.0, "tiers": [{"start": 200, "price": 20.0}]}

    assert price({"input_mtok": tiered, "output_mtok": other})["above"] == [
        [100, {"input": 2.0, "output": 10.0}],
        [200, {"input": 2.0, "output": 20.0}],
        [300, {"input": 4.0, "output": 20.0}],
    ]


def test_data_of_another_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="layout"):
        providers_of("models = []")
    with pytest.raises(ValueError, match="not a literal"):
        providers_of("providers: list = [open('/etc/passwd').read]")
    with pytest.raises(ValueError, match="layout"):
        providers_of("providers: list = [ModelInfo('acme-1')]")


def test_an_invalid_regular_expression_is_refused() -> None:
    with pytest.raises(re.error):
        clauses({"kind": "ClauseRegex", "regex": "("})


def test_a_model_without_prices_stays_in_the_table_as_unpriced() -> None:
    assert model({"id": "a", "match": {"kind": "ClauseEquals", "equals": "A"}, "prices": {"kind": "ModelPrice"}}) == {"id": "a", "match": ["=a"]}


def test_unknown_arguments_are_answered_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 2
    assert "usage" in capsys.readouterr().out

"""Model names as they are met in spans, and what they mean."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.enrich.names import MAX_NAME, ModelName, normalise, provider_id

REAL = [
    # OpenAI: dates, previews, fine-tunes, compatible clients
    ("gpt-4o", "openai", "openai", "gpt-4o"),
    ("GPT-4o", "OpenAI", "openai", "gpt-4o"),
    ("gpt-4o-2024-08-06", "openai", "openai", "gpt-4o"),
    ("gpt-4o-mini-2024-07-18", "openai.responses", "openai", "gpt-4o-mini"),
    ("gpt-5.2-20251211", "openai", "openai", "gpt-5.2"),
    ("o3-2025-04-16", None, None, "o3"),
    ("o4-mini", "openai.chat", "openai", "o4-mini"),
    ("chatgpt-4o-latest", "openai", "openai", "chatgpt-4o"),
    ("gpt-4-0613", "openai", "openai", "gpt-4-0613"),
    ("ft:gpt-4o-mini-2024-07-18:acme::abc123", "openai", "openai", "gpt-4o-mini"),
    ("ft:gpt-3.5-turbo-0125:acme:support:xyz", "openai", "openai", "gpt-3.5-turbo-0125"),
    ("openai/gpt-4o-mini", None, "openai", "gpt-4o-mini"),
    ("openai:gpt-4o", None, "openai", "gpt-4o"),
    ("openai/responses/o3", "litellm", "openai", "o3"),
    ("text-embedding-3-small", "openai", "openai", "text-embedding-3-small"),
    ("text-embedding-ada-002", "openai", "openai", "text-embedding-ada-002"),
    # Azure: deployments, regions, dot-less versions
    ("azure/gpt-4o", None, "azure", "gpt-4o"),
    ("azure/eu/gpt-4o-2024-08-06", "openai", "azure", "gpt-4o"),
    ("gpt-35-turbo", "az.ai.openai", "azure", "gpt-3.5-turbo"),
    ("gpt-35-turbo-16k", "azure.ai.openai", "azure", "gpt-3.5-turbo-16k"),
    ("azure_ai/mistral-large-2411", None, "azure", "mistral-large-2411"),
    ("support-prod", "azure.ai.inference", "azure", "support-prod"),
    # Anthropic
    ("claude-sonnet-4-5", "anthropic.messages", "anthropic", "claude-sonnet-4-5"),
    ("claude-sonnet-4-5-20250929", "anthropic", "anthropic", "claude-sonnet-4-5"),
    ("claude-sonnet-4.5", "anthropic", "anthropic", "claude-sonnet-4-5"),
    ("claude-3-5-sonnet-latest", "anthropic", "anthropic", "claude-3-5-sonnet"),
    ("claude-sonnet-4-5[1m]", "anthropic", "anthropic", "claude-sonnet-4-5"),
    ("anthropic:claude-opus-4-1-20250805", None, "anthropic", "claude-opus-4-1"),
    ("anthropic/claude-sonnet-4.5", "openai", "anthropic", "claude-sonnet-4-5"),
    # Bedrock: regions, versions, context variants, ARNs
    ("anthropic.claude-3-5-haiku-20241022-v1:0", "aws.bedrock", "aws", "claude-3-5-haiku"),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws.bedrock", "aws", "claude-sonnet-4-5"),
    ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws_bedrock", "aws", "claude-sonnet-4-5"),
    ("eu.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic", "aws", "claude-sonnet-4"),
    ("apac.amazon.nova-pro-v1:0", "amazon-bedrock", "aws", "nova-pro"),
    ("jp.anthropic.claude-haiku-4-5-20251001-v1:0", None, "aws", "claude-haiku-4-5"),
    ("anthropic.claude-3-sonnet-20240229-v1:0:200k", "bedrock", "aws", "claude-3-sonnet"),
    ("meta.llama3-1-70b-instruct-v1:0", "bedrock", "aws", "llama3-1-70b-instruct"),
    ("us.deepseek.r1-v1:0", "bedrock", "aws", "deepseek-r1"),
    ("openai.gpt-oss-120b-1:0", "bedrock", "aws", "gpt-oss-120b-1"),
    ("bedrock/converse/us.anthropic.claude-sonnet-4-20250514-v1:0", "litellm", "aws", "claude-sonnet-4"),
    ("bedrock/us-east-1/anthropic.claude-3-5-sonnet-20240620-v1:0", None, "aws", "claude-3-5-sonnet"),
    ("bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0", None, "aws", "claude-sonnet-4-5"),
    ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-5-haiku-20241022-v1:0", None, "aws", "claude-3-5-haiku"),
    ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-opus-20240229-v1:0", "bedrock", "aws", "claude-3-opus"),
    ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4", "bedrock", "aws", "a1b2c3d4"),
    # Google: API paths, Vertex paths, versions, previews; ADK names itself for every model
    ("models/gemini-2.5-pro", "gcp.gen_ai", "google", "gemini-2.5-pro"),
    ("gemini-2.5-flash", "gcp.vertex.agent", "google", "gemini-2.5-flash"),
    ("gemini-2.5-flash/models/gemini-2.5-flash", "gemini", "google", "gemini-2.5-flash"),
    ("gemini/gemini-2.5-flash", "litellm", "google", "gemini-2.5-flash"),
    ("vertex_ai/claude-3-5-sonnet@20240620", None, "google", "claude-3-5-sonnet"),
    ("publishers/google/models/gemini-2.0-flash-001", "gcp.vertex_ai", "google", "gemini-2.0-flash"),
    ("projects/p1/locations/europe-west1/publishers/anthropic/models/claude-sonnet-4@20250514", None, "google", "claude-sonnet-4"),
    ("vertex_ai/publishers/google/models/gemini-2.5-pro", None, "google", "gemini-2.5-pro"),
    ("google-gla:gemini-2.5-flash-preview-05-20", None, "google", "gemini-2.5-flash-preview"),
    ("gemini-2.5-flash-preview-09-2025", "google.generative-ai", "google", "gemini-2.5-flash-preview"),
    ("gemini-embedding-001", "google", "google", "gemini-embedding-001"),
    ("openai/gpt-4o-mini", "gcp.vertex.agent", "openai", "gpt-4o-mini"),
    ("openai/gpt-oss-120b-maas", "gcp.vertex_ai", "google", "gpt-oss-120b-maas"),
    # OpenRouter and other platforms whose own ids are maker/model
    ("openai/gpt-4o", "openrouter", "openrouter", "gpt-4o"),
    ("openrouter/anthropic/claude-sonnet-4.5", "litellm", "openrouter", "claude-sonnet-4-5"),
    ("deepseek/deepseek-r1:free", "openrouter", "openrouter", "deepseek-r1"),
    ("meta-llama/llama-3.3-70b-instruct:nitro", "openrouter", "openrouter", "llama-3.3-70b-instruct"),
    ("openai/gpt-oss-120b", "groq", "groq", "gpt-oss-120b"),
    ("groq/llama-3.3-70b-versatile", None, "groq", "llama-3.3-70b-versatile"),
    ("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", None, "together", "llama-3.3-70b-instruct-turbo"),
    ("accounts/fireworks/models/deepseek-v3p2", "openai", "fireworks", "deepseek-v3p2"),
    ("fireworks_ai/accounts/fireworks/models/kimi-k2p5", None, "fireworks", "kimi-k2p5"),
    ("@cf/meta/llama-3.1-8b-instruct", "cloudflare", "cloudflare", "llama-3.1-8b-instruct"),
    ("databricks-claude-sonnet-4", "databricks", "databricks", "claude-sonnet-4"),
    # Others
    ("mistral-large-latest", "mistral_ai", "mistral", "mistral-large"),
    ("xai/grok-4", None, "x-ai", "grok-4"),
    ("grok-3-mini", "x_ai", "x-ai", "grok-3-mini"),
    ("deepseek/deepseek-chat", "openai", "deepseek", "deepseek-chat"),
    ("command-r-plus-08-2024", "cohere", "cohere", "command-r-plus-08-2024"),
    ("perplexity/sonar-pro", None, "perplexity", "sonar-pro"),
    ("moonshot/kimi-k2-0905-preview", None, "moonshotai", "kimi-k2-0905-preview"),
    ("ibm/granite-3-8b-instruct", "ibm.watsonx.ai", "ibm", "granite-3-8b-instruct"),
    ("ollama_chat/llama3.2", "ollama_chat", "ollama", "llama3.2"),
    ("llama3.2:latest", "Ollama", "ollama", "llama3.2"),
    ("qwen2.5:7b", "ollama", "ollama", "qwen2.5:7b"),
    ("mistral:7b", None, None, "mistral:7b"),
    ("hosted_vllm/Qwen/Qwen3-32B", None, "vllm", "qwen3-32b"),
    ("gpt-4o", "Langchain", None, "gpt-4o"),
    ("gpt-4o", "strands-agents", None, "gpt-4o"),
    ("gpt-4o", "acme-llm.chat", "acme-llm", "gpt-4o"),
    ("my-gateway/gpt-4o", None, None, "gpt-4o"),
]


@pytest.mark.parametrize(("model", "provider", "expected_provider", "expected_model"), REAL)
def test_a_real_name_is_taken_apart(model: str, provider: str | None, expected_provider: str | None, expected_model: str) -> None:
    name = normalise(model, provider)

    assert name is not None
    assert (name.provider, name.model) == (expected_provider, expected_model)


def test_at_least_sixty_real_names_are_tried() -> None:
    assert len({(model, provider) for model, provider, _, _ in REAL}) >= 60


@pytest.mark.parametrize(
    "model", [None, "", "  ", "unknown", "None", "default", "x" * 257, "a\x00b", "gpt\n4o", "modèle", "say 'hello', please", '{"a":1}']
)
def test_what_can_be_no_name_is_none(model: str | None) -> None:
    assert normalise(model, "openai") is None


def test_a_region_of_bedrock_stays_in_the_first_spelling_because_prices_differ_by_it() -> None:
    regional, worldwide = (normalise(f"{region}.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws.bedrock") for region in ("us", "global"))

    assert regional is not None
    assert worldwide is not None
    assert regional.spellings[0] == "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert worldwide.spellings[0] == "global.anthropic.claude-sonnet-4-5-20250929-v1:0"


def test_the_dated_spelling_comes_before_the_plain_one() -> None:
    name = normalise("gpt-4o-2024-05-13", "openai")

    assert name is not None
    assert name.spellings.index("gpt-4o-2024-05-13") < name.spellings.index("gpt-4o")


def test_a_compact_date_is_also_spelt_with_dashes() -> None:
    name = normalise("gpt-5.2-20251211", "openai")

    assert name is not None
    assert "gpt-5.2-2025-12-11" in name.spellings


def test_a_fine_tuned_model_is_not_spelt_as_its_base_and_tells_no_organisation() -> None:
    name = normalise("ft:gpt-4o-mini-2024-07-18:secret-org::abc", "openai")

    assert name == ModelName("openai", "gpt-4o-mini", ("ft:gpt-4o-mini-2024-07-18",))


def test_a_free_variant_is_not_spelt_as_the_paid_one() -> None:
    name = normalise("deepseek/deepseek-r1:free", "openrouter")

    assert name is not None
    assert all(spelling.endswith(":free") for spelling in name.spellings)


def test_an_account_number_of_an_arn_is_in_no_part_of_the_name() -> None:
    name = normalise("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-5-haiku-20241022-v1:0")

    assert name is not None
    assert "123456789012" not in repr(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gcp.gemini", "google"),
        ("gcp.vertex_ai", "google"),
        ("azure.ai.inference", "azure"),
        ("x_ai", "x-ai"),
        ("AWS Bedrock", "aws"),
        ("Azure OpenAI", "azure"),
        ("vertex.anthropic.messages", "google"),
        ("xai.chat", "x-ai"),
        ("ibm.watsonx.ai", "ibm"),
        ("langgraph", None),
        ("_OTHER", None),
        ("my own; provider", None),
        ("p" * 65, None),
        ("", None),
        (None, None),
        ("acme-llm", "acme-llm"),
    ],
)
def test_a_provider_has_one_id_whatever_it_is_called(name: str | None, expected: str | None) -> None:
    assert provider_id(name) == expected


ALPHABET = string.ascii_letters + string.digits + "-._:/@[] =+~\u00e9\n"


@settings(max_examples=200, deadline=None)
@given(model=st.text(ALPHABET, max_size=MAX_NAME + 10), provider=st.none() | st.text(ALPHABET, max_size=70))
def test_any_text_gives_a_bounded_name_or_none(model: str, provider: str | None) -> None:
    name = normalise(model, provider)

    if name is not None:
        assert 0 < len(name.model) <= MAX_NAME
        assert 1 <= len(name.spellings) <= 14
        assert all(0 < len(spelling) <= MAX_NAME + 8 and spelling.isascii() and spelling == spelling.lower() for spelling in name.spellings)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(REAL))
def test_a_plain_name_stays_what_it_is(row: tuple[str, str | None, str | None, str]) -> None:
    model, provider = row[3], row[2]

    again = normalise(model, provider)

    assert again is not None
    assert again.model == model

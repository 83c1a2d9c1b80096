"""Model names as they are met, and what they mean: who serves the model, its plain name, the spellings to look it up by. Pure.

Owns the knowledge of how gateways, clouds and frameworks decorate names. It must not know any price.

The rules come from the providers' own naming: Bedrock model ids, inference profiles and ARNs; Vertex AI and Fireworks resource
paths; LiteLLM's and OpenRouter's ``provider/model``; Pydantic AI's and LangChain's ``provider:model``; Vercel's ``openai.responses``;
OpenAI's ``ft:``; the values of ``gen_ai.provider.name`` and ``gen_ai.system`` in OpenTelemetry's GenAI conventions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

MAX_NAME = 256
"""Characters. The longest names in use are ARNs of inference profiles, about 130."""
MAX_PROVIDER = 64


class ModelName(NamedTuple):
    """A model's name, taken apart."""

    provider: str | None
    """Who serves it: an id of the price table (``openai``, ``aws``, ``azure``, ``google``, ...), else the name in the span, lower-case; None: nobody says."""
    model: str
    """Without decoration: ``gpt-4o`` of ``azure/gpt-4o-2024-08-06``."""
    spellings: tuple[str, ...]
    """What to look up in the price table, the most specific first."""


SELF_HOSTED = frozenset({"ollama", "vllm", "lm-studio", "llama-cpp", "llamafile", "tgi", "xinference", "localai"})
"""Providers that are programs on one's own machines: nobody bills their tokens."""

_MAKERS = "openai anthropic google mistral deepseek x-ai cohere meta moonshotai minimax zhipuai zai voyageai arcee perplexity alibaba nvidia microsoft ibm ai21"
MAKERS = frozenset(_MAKERS.split())
"""Providers whose models others sell as well: before a slash such a name may be the maker in a platform's own id."""

_ALIASES = {
    "openai": "openai-compatible-openai text-completion-openai openai-responses openai-chat open-ai chatgpt",
    "azure": "azure-openai azure-ai azureopenai azure.ai azure.ai.inference azure.ai.openai az.ai.inference az.ai.openai azure.openai azure-ai-inference "
    "azure-ai-foundry azure-text azure-cognitive-services azure-openai-responses",
    "aws": "aws.bedrock bedrock bedrock-converse amazon-bedrock amazon amazon.bedrock aws-bedrock awsbedrock bedrockconverse bedrock-mantle sagemaker",
    "google": "gcp.gemini gcp.gen-ai gcp.genai gcp.vertex-ai gcp.vertex.agent vertex-ai vertexai vertex-ai-beta google-genai google-vertexai google-vertex google-gla "
    "google-ai-studio gemini google.generative-ai google.vertex googleai google-generativeai google-generative-ai google-ai google-palm vertex gcp google.gemini "
    "google-vertex-anthropic vertex.anthropic vertex-anthropic google-anthropic-vertex",
    "anthropic": "claude anthropic-chat",
    "mistral": "mistral-ai mistralai codestral text-completion-codestral",
    "x-ai": "xai grok x.ai",
    "deepseek": "deepseek-ai deep-seek",
    "cohere": "cohere-chat cohereai cohere-ai",
    "meta": "meta-llama meta-ai llama-api",
    "moonshotai": "moonshot-ai moonshot kimi",
    "minimax": "minimax-ai minimaxai",
    "zai": "z-ai z.ai zai-org",
    "zhipuai": "zhipu zhipu-ai thudm",
    "voyageai": "voyage voyage-ai",
    "arcee": "arcee-ai",
    "perplexity": "pplx perplexity-ai",
    "alibaba": "qwen dashscope alibaba-cloud tongyi",
    "nvidia": "nvidia-nim nim",
    "ibm": "ibm.watsonx.ai ibm.watsonx watsonx ibm-granite watsonx.ai",
    "ai21": "ai21-chat ai21labs",
    "groq": "groq.com groqcloud",
    "together": "together-ai togetherai together.ai",
    "fireworks": "fireworks-ai fireworksai fireworks.ai",
    "openrouter": "open-router openrouter.ai",
    "github-copilot": "copilot",
    "cloudflare": "cloudflare-workers-ai workers-ai",
    "databricks": "databricks-model-serving",
    "novita": "novita-ai",
    "huggingface": "hf hugging-face",
    "ollama": "ollama-chat",
    "vllm": "hosted-vllm",
    "lm-studio": "lmstudio lm_studio",
    "llama-cpp": "llamacpp llama.cpp llama-cpp-python",
    "tgi": "text-generation-inference huggingface-tgi",
    "localai": "local-ai",
}
_OWN_NAMES = "baseten cerebras cursor elevenlabs avian modal doubleword ovhcloud quicksilverpro typesafe deepinfra replicate sambanova microsoft llamafile xinference"
PROVIDERS = {alias: provider for provider, aliases in _ALIASES.items() for alias in (provider, *aliases.replace("_", "-").split())} | {
    name: name for name in _OWN_NAMES.split()
}
"""From the names in use to one id each; keys are lower-case with dashes for underscores and spaces."""
KNOWN_PROVIDERS = frozenset(PROVIDERS.values()) | MAKERS | SELF_HOSTED
"""Ids that can be labels: any other provider is text of a span."""

_NO_PROVIDERS = (
    "langchain langgraph strands-agents crewai litellm litellm-proxy openailike openai-like haystack llama-index llamaindex dspy autogen smolagents agno mastra "
    "semantic-kernel semantic-kernel-python pydantic-ai microsoft.agent-framework gateway vercel ai-sdk router portkey helicone unknown custom other -other none null"
)
_NOBODY = frozenset(_NO_PROVIDERS.split())
"""Frameworks, gateways and placeholders where a provider should stand."""

_API = re.compile(
    r"\.(?:chat|responses|messages|completions?|embeddings?|text-?embedding|generative-ai|transcription|speech|image|realtime|chat\.completions|language-model)$"
)
_HARMLESS_PROVIDER = re.compile(r"[a-z0-9][a-z0-9._:/-]*")
_HARMLESS = re.compile(r"[A-Za-z0-9@~][A-Za-z0-9._:/@+~=\[\] -]*")
_NO_NAMES = frozenset({"unknown", "none", "null", "undefined", "default", "n/a", "-"})

_BEDROCK = re.compile(
    r"(?:(?P<region>us|eu|apac|global|jp|au|us-gov|ca|in|sa|me|af)\.)?"
    r"(?P<maker>anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai|qwen|google|nvidia|writer|moonshotai|moonshot|zai|minimax|stability|twelvelabs|luma)\.(?P<model>.+)"
)
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?(?::\d+k)?$|(?<=-\d):0$")
_ROUTING = re.compile(r":(?:nitro|floor|online|thinking|extended|beta|exacto|latest|fastest|cheapest|preferred|fast|batch|free)$")
_SIZE_TAG = re.compile(r"\d+(?:\.\d+)?[bm](?:[-_].*)?|latest|instruct.*|cloud|q\d.*")
_OPTIONS = re.compile(r"\[[^\]]*\]$")
_AT = re.compile(r"(?<=.)@(.*)")
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$")
_DATE = re.compile(r"-(20\d\d)-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")
_PREVIEW_DATE = re.compile(r"-(preview|exp)-\d\d-(?:\d\d|20\d\d)$")
_GEMINI_VERSION = re.compile(r"^(gemini-\d[\w.-]*?)-00\d$")
_DOTTED = re.compile(r"(?<=\d)\.(?=\d)")
_CLAUDE_3 = re.compile(r"^claude-(opus|sonnet|haiku)-3(?:[.-](\d))?(?=$|-\d{8}|@)")
_CLAUDE_4 = re.compile(r"^claude-([4-9](?:[.-]\d)?)-(opus|sonnet|haiku)")
_STEPS = frozenset({"models", "responses", "converse", "converse_like", "invoke", "chat", "completion"})


def provider_id(name: str | None) -> str | None:
    """The one id of a provider's name in a span; None for frameworks, gateways, placeholders and what is no name at all."""
    if not name or len(name) > MAX_PROVIDER:
        return None
    key = name.strip().lower().replace("_", "-").replace(" ", "-")
    known = PROVIDERS.get(key)
    if known is None:
        key = _API.sub("", key)
        known = PROVIDERS.get(key)
    if known is None and key not in _NOBODY and _HARMLESS_PROVIDER.fullmatch(key):
        return key
    return known


def normalise(model: str | None, provider: str | None = None) -> ModelName | None:
    """Take a model's name apart; None when there is none, or none that could be one (over 256 characters, control characters, prose).

    ``provider`` is what the span says of it. A provider in the model's name wins over it, because the span's may be
    the client library's (``openai`` for every compatible gateway), unless the span's is a platform whose own ids look so.
    """
    if not model or len(model) > MAX_NAME:
        return None
    text = model.strip().lower()
    if text in _NO_NAMES or not _HARMLESS.fullmatch(text):
        return None
    given = text.replace(" ", "-")
    host, text = _without_route(given, provider_id(provider))
    if not text:
        return None
    if text.startswith("ft:"):
        return _fine_tuned(text, host)
    bedrock = _BEDROCK.fullmatch(text) if "/" not in text else None
    if bedrock is not None and (host is None or host == "aws" or host in MAKERS):
        plain = _BEDROCK_VERSION.sub("", bedrock["model"])
        unprefixed = text[len(bedrock["region"]) + 1 :] if bedrock["region"] else text
        base = _base(f"deepseek-{plain}" if bedrock["maker"] == "deepseek" else plain)
        return ModelName("aws", base, _unique((text, unprefixed, *_spellings(plain))))
    # The catalogues of gateways list "maker/model"; last, because the maker's own list comes first.
    catalogue = (given,) if given.count("/") == 1 else ()
    return ModelName(host, _base(_last(text)), _unique((*_spellings(text), *catalogue)))


def _without_route(text: str, host: str | None) -> tuple[str | None, str]:
    """Who serves the model, and its name without the path that led there."""
    if text.startswith("arn:"):
        return "aws", _last(text)
    if text.startswith(("projects/", "publishers/")):
        return "google", _last(text)
    before, models, after = text.rpartition("/models/")
    if models and "accounts/" in before:
        return "fireworks", text[text.index("accounts/") :]
    if models:
        host, text = PROVIDERS.get(before.partition("/")[0].replace("_", "-"), host), after
    head, colon, rest = text.partition(":")
    if colon and host not in SELF_HOSTED and "/" not in head and not _SIZE_TAG.fullmatch(rest):
        known = PROVIDERS.get(head.replace("_", "-"))
        if known is not None and (host is None or host in MAKERS or known == host):
            host, text = known, rest
    for _ in range(4):
        head, slash, rest = text.partition("/")
        if not slash or not rest:
            break
        known = PROVIDERS.get(head.replace("_", "-"))
        is_platform_id = known in MAKERS and host is not None and host != known and (host not in MAKERS or rest.endswith("-maas"))
        if head in _STEPS or known == host is not None:
            text = rest
        elif known is None or is_platform_id or (head == "amazon" and host is not None):
            break
        else:
            host, text = known, rest
    if host in ("aws", "azure"):
        # Regions and endpoints: bedrock/us-east-1/..., azure/eu/...
        text = _last(text)
    return host, text


def _fine_tuned(text: str, host: str | None) -> ModelName | None:
    """``ft:<base>:<organisation>:<name>:<id>``: the base names the model; its own price is not the base's."""
    base = text.split(":")[1]
    return ModelName(host, _base(base), (f"ft:{base}",)) if base else None


def _spellings(text: str) -> Iterable[str]:
    """The name itself, then ever plainer."""
    yield text
    text = _OPTIONS.sub("", text)
    free = text.endswith(":free")
    if not free:
        text = _ROUTING.sub("", text)
    text = text.replace("gpt-35-", "gpt-3.5-")
    for each in (text, _last(text)):
        plain = _AT.sub(lambda found: f"-{found[1]}" if found[1].isdigit() else "", each)
        yield from (each, plain, _COMPACT_DATE.sub(r"-\1-\2-\3", plain), _DATE.sub(r"-\1\2\3", plain))
    if free:
        return
    base = _base(text if "/" not in text else _last(text))
    yield base
    yield _DOTTED.sub("-", base)
    turned = _CLAUDE_3.sub(lambda found: f"claude-3-{found[2]}-{found[1]}" if found[2] else f"claude-3-{found[1]}", base)
    yield _CLAUDE_4.sub(r"claude-\2-\1", turned)


def _base(text: str) -> str:
    """Without options, routing, version and date."""
    text = _ROUTING.sub("", _OPTIONS.sub("", text))
    text = _AT.sub("", text).removeprefix("databricks-")
    if text.startswith("claude"):
        text = _DOTTED.sub("-", _BEDROCK_VERSION.sub("", text))
    text = _PREVIEW_DATE.sub(r"-\1", _DATE.sub("", _COMPACT_DATE.sub("", text)))
    text = _GEMINI_VERSION.sub(r"\1", text.removesuffix("-latest"))
    return text.replace("gpt-35-", "gpt-3.5-") or "-"


def _last(text: str) -> str:
    return text.rpartition("/")[2] or text.strip("/")


def _unique(spellings: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in spellings if each))

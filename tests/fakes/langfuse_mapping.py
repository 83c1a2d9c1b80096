"""What Langfuse's server shows of a span: type, model, tokens, cost, input, output and the rest. Functions on messages.

Follows the observable behaviour of server 4.16 (its direct path), written from notes about it, for what the sidecar shapes.
Uses the official OpenTelemetry classes, never ``sidecar``: tests hold one against the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes.langfuse_content import input_and_output

Plain = object
Attributes = dict[str, Plain]
Prices = Mapping[str, Mapping[str, float]]
"""USD by model and usage key: the server's own price table."""

_TYPES = ("span", "generation", "event", "embedding", "agent", "tool", "chain", "retriever", "guardrail", "evaluator")
_OPENINFERENCE = {
    "CHAIN": "CHAIN",
    "RETRIEVER": "RETRIEVER",
    "LLM": "GENERATION",
    "EMBEDDING": "EMBEDDING",
    "AGENT": "AGENT",
    "TOOL": "TOOL",
    "GUARDRAIL": "GUARDRAIL",
    "EVALUATOR": "EVALUATOR",
}
_OPERATIONS = {
    "chat": "GENERATION",
    "completion": "GENERATION",
    "text_completion": "GENERATION",
    "generate_content": "GENERATION",
    "generate": "GENERATION",
    "embeddings": "EMBEDDING",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
    "execute_tool": "TOOL",
}
_VERCEL_CALLS = ("ai.generateText.do", "ai.streamText.do", "ai.generateObject.do", "ai.streamObject.do")
_MODELS = (
    "langfuse.observation.model.name",
    "gen_ai.response.model",
    "ai.model.id",
    "gen_ai.request.model",
    "llm.response.model",
    "llm.model_name",
    "model",
)
_LEVELS = {
    **dict.fromkeys(("DEBUG", "TRACE", "VERBOSE"), "DEBUG"),
    **dict.fromkeys(("DEFAULT", "INFO", "LOG", "NOTICE", "OK", "SUCCESS"), "DEFAULT"),
    **dict.fromkeys(("WARN", "WARNING"), "WARNING"),
    **dict.fromkeys(("ERROR", "FATAL", "CRITICAL"), "ERROR"),
}
_NOT_METADATA = ("langfuse.trace.metadata", "langfuse.observation.metadata", "ai.telemetry.metadata")


@dataclass(frozen=True, slots=True)
class Shown:
    """One observation."""

    type: str
    name: str
    model: str | None
    usage: dict[str, int]
    cost: dict[str, float]
    total_cost: float | None
    """None: the server has no cost for it."""
    is_tokenised: bool
    """The server will count tokens of input and output itself."""
    input: Plain
    output: Plain
    level: str
    status_message: str
    user_id: str | None
    session_id: str | None
    trace_name: str | None
    tags: list[str]
    environment: str
    version: Plain
    release: Plain
    prompt: tuple[Plain, Plain] | None
    completion_start: str | None
    metadata: Attributes = field(repr=False)
    """Top-level keys, which filters find; the rest is under ``attributes``."""

    @property
    def tokens(self) -> int:
        return self.usage.get("total", sum(self.usage.values()))


def plain(value: AnyValue) -> Plain:
    """An AnyValue as the server reads it: what it does not know becomes its own OTLP/JSON."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return int(float(value.int_value))
        case "double_value":
            return value.double_value
        case "array_value" if value.array_value.values:
            return [plain(item) for item in value.array_value.values]
        case _:
            return json.dumps(MessageToDict(value), separators=(",", ":"))


def plain_attributes(attributes: Iterable[KeyValue]) -> Attributes:
    """Raises ValueError for a KeyValue without a value, which loses the server's whole batch."""
    found: Attributes = {}
    for each in attributes:
        if not each.HasField("value"):
            raise ValueError(f"{each.key} has no value")
        found[each.key] = plain(each.value)
    return found


def show(span: Span, scope: InstrumentationScope, resource: Resource, prices: Prices | None = None) -> Shown:
    """The observation that the server makes of a span."""
    said, around = plain_attributes(span.attributes), plain_attributes(resource.attributes)
    events = [(event.name, plain_attributes(event.attributes)) for event in span.events]
    shown_input, shown_output, rest = input_and_output(said, events, scope.name)
    kind = _type(said, scope, around)
    is_aggregate = str(said.get("gen_ai.operation.name")) in {"invoke_agent", "agent_step"}
    model = None if is_aggregate else _text(_first(said, _MODELS))
    usage = {} if is_aggregate else _usage(said, scope.name)
    provided = {} if is_aggregate else _provided_cost(said)
    known = (prices or {}).get(model or "")
    total, cost = _cost(provided, usage, known)
    prompt = _prompt(said) if kind == "GENERATION" else None
    sdk = scope.name.startswith("langfuse-sdk")
    return Shown(
        type=kind,
        name=_name(span.name, said),
        model=model,
        usage=usage,
        cost=cost,
        total_cost=total,
        is_tokenised=known is not None and not usage and not provided,
        input=shown_input,
        output=shown_output,
        level=_level(said, span.status.code),
        status_message=str(said.get("langfuse.observation.status_message", span.status.message)),
        user_id=_text(_first(said, _ids("user", "user.id", "userId"))),
        session_id=_text(_first(said, _ids("session", "session.id", "sessionId", "gen_ai.conversation.id"))),
        trace_name=_text(said.get("langfuse.trace.name")),
        tags=_tags(said),
        environment=_environment(said, around),
        version=said.get("langfuse.version", around.get("service.version")),
        release=said.get("langfuse.release", around.get("langfuse.release")),
        prompt=prompt,
        completion_start=_completion_start(said),
        metadata={
            **({} if sdk else {"attributes": rest}),
            "resourceAttributes": around,
            **_metadata(said, "langfuse.observation.metadata"),
            **_metadata(said, "langfuse.trace.metadata"),
        },
    )


def _first(said: Attributes, keys: Iterable[str]) -> Plain:
    return next((said[key] for key in keys if said.get(key)), None)


def _text(value: Plain) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _ids(what: str, key: str, vercel: str, *more: str) -> tuple[str, ...]:
    return (
        f"langfuse.{what}.id",
        key,
        *more,
        f"langfuse.observation.metadata.langfuse_{what}_id",
        f"langfuse.trace.metadata.langfuse_{what}_id",
        f"ai.telemetry.metadata.{vercel}",
    )


def _type(said: Attributes, scope: InstrumentationScope, around: Attributes) -> str:
    explicit = said.get("langfuse.observation.type")
    if explicit == "span" and _is_old_sdk(scope, around) and any(key.startswith(_GENERATION_ONLY) for key in said):
        return "GENERATION"
    if explicit in _TYPES:
        return str(explicit).upper()
    for key, names in (("openinference.span.kind", _OPENINFERENCE), ("gen_ai.operation.name", _OPERATIONS)):
        if (found := names.get(str(said.get(key)))) is not None:
            return found
    operations = [str(said.get(key) or "") for key in ("operation.name", "ai.operationId")]
    if _first(said, _MODELS[:4]) and any(each.startswith(_VERCEL_CALLS) for each in operations):
        return "GENERATION"
    if any(each.startswith(("ai.embed.doEmbed", "ai.embedMany.doEmbed")) for each in operations):
        return "EMBEDDING"
    if any(each.startswith("ai.toolCall") for each in operations) or _first(said, ("gen_ai.tool.name", "gen_ai.tool.call.id")):
        return "TOOL"
    return "GENERATION" if _first(said, (_MODELS[0], _MODELS[1], _MODELS[3], _MODELS[5], _MODELS[6])) else "SPAN"


_GENERATION_ONLY = tuple(
    f"langfuse.observation.{name}" for name in ("model.", "cost_details", "usage_details", "completion_start_time", "prompt.name", "prompt.version")
)


def _is_old_sdk(scope: InstrumentationScope, around: Attributes) -> bool:
    if scope.name != "langfuse-sdk" or around.get("telemetry.sdk.language") != "python" or not scope.version:
        return False
    numbers = re.match(r"(\d+)\.(\d+)", scope.version)
    return numbers is None or (int(numbers[1]), int(numbers[2])) <= (3, 3)  # what is no number is not newer


def _name(span_name: str, said: Attributes) -> str:
    found = _first(said, ("gen_ai.tool.name", "genkit:name", "logfire.msg", "ai.toolCall.name"))
    if found is not None:
        return _text(found) or ""
    if "ai.operationId" in said:
        prefix = f"{said['ai.telemetry.functionId']}:" if said.get("ai.telemetry.functionId") else ""
        return f"{prefix}{said['ai.operationId']}"
    return span_name


def _number(value: Plain) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        return None


def _object(said: Attributes, key: str) -> dict[str, Plain] | None:
    """A JSON object; anything else that is there hides the other sources, but for text that is no JSON."""
    value = said.get(key)
    if not value:
        return None
    if not isinstance(value, str):
        return {}
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else {}


def _usage(said: Attributes, scope: str) -> dict[str, int]:
    explicit = _object(said, "langfuse.observation.usage_details")
    found = explicit if explicit is not None else _vercel_usage(said) if scope == "ai" else _generic_usage(said)
    openai = _openai_usage(found)
    return openai if openai is not None else {key: int(number) for key, value in found.items() if (number := _count(value)) is not None}


def _count(value: Plain) -> float | None:
    """Whole numbers from 0 on, and what a text begins with."""
    number = _number(value)
    return number if number is not None and number >= 0 and (isinstance(value, str) or number == int(number)) else None


def _openai_usage(found: dict[str, Plain]) -> dict[str, int] | None:
    """The usage objects of OpenAI's two APIs, if there is nothing else in them: their details are taken out of the sums."""
    for asked, answered in (("prompt", "completion"), ("input", "output")):
        sums = {f"{asked}_tokens", f"{answered}_tokens", "total_tokens"}
        details = {f"{asked}_tokens_details": "input", f"{answered}_tokens_details": "output"}
        if not sums <= found.keys() <= sums | details.keys() or not all(type(found[key]) in {int, float} for key in sums):
            continue
        usage = {"input": _int(found[f"{asked}_tokens"]), "output": _int(found[f"{answered}_tokens"]), "total": _int(found["total_tokens"])}
        for key, side in details.items():
            parts = found.get(key)
            for name, value in parts.items() if isinstance(parts, dict) else ():
                if value is not None:
                    usage[f"{side}_{name}"] = _int(value)
                    usage[side] = max(0, usage[side] - _int(value))
        return usage
    return None


def _int(value: Plain) -> int:
    return int(_number(value) or 0)


def _vercel_usage(said: Attributes) -> dict[str, Plain]:
    usage = {
        "input": _number(_first(said, ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"))) or 0,
        "output": _number(_first(said, ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens"))) or 0,
    }
    for key, name, whole in (
        ("ai.usage.cachedInputTokens", "input_cached_tokens", "input"),
        ("ai.usage.reasoningTokens", "output_reasoning_tokens", "output"),
    ):
        if key in said:
            usage[name] = _number(said[key]) or 0
            usage[whole] = max(0, usage[whole] - usage[name])
    return dict(usage)


_BUCKETS = {
    "prompt": ("prompt_tokens", "input_tokens", "prompt"),
    "completion": ("completion_tokens", "output_tokens", "completion"),
    "total": ("total_tokens", "total"),
    "input_cached_tokens": (
        "cache_read.input_tokens",
        "cache_read_input_tokens",
        "cache_read_tokens",
        "details.cache_read_tokens",
        "details.cache_read_input_tokens",
        "prompt_details.cache_read",
        "input_cached_tokens",
    ),
    "input_cache_creation": (
        "cache_creation.input_tokens",
        "cache_creation_input_tokens",
        "cache_write_tokens",
        "details.cache_write_tokens",
        "details.cache_creation_input_tokens",
        "prompt_details.cache_write",
        "input_cache_creation",
    ),
    "output_reasoning_tokens": ("reasoning.output_tokens", "completion_details.reasoning"),
    "output_audio_tokens": ("completion_details.audio",),
}


def _generic_usage(said: Attributes) -> dict[str, Plain]:
    raw: dict[str, float] = {}
    for key, value in said.items():
        if key.startswith(("gen_ai.usage.", "llm.token_count.")) and key != "gen_ai.usage.cost" and (number := _number(value)) is not None:
            raw[key.removeprefix("gen_ai.usage.").removeprefix("llm.token_count.")] = number
    found = {name: next((raw[key] for key in keys if key in raw), None) for name, keys in _BUCKETS.items()}
    known = {key for keys in _BUCKETS.values() for key in keys}
    usage: dict[str, Plain] = {key.removeprefix("details."): value for key, value in raw.items() if key not in known}
    prompt, completion = found.pop("prompt"), found.pop("completion")
    if prompt is not None:
        usage["input"] = max(0.0, prompt - (found["input_cached_tokens"] or 0) - (found["input_cache_creation"] or 0))
    if completion is not None:
        usage["output"] = max(0.0, completion - (found["output_reasoning_tokens"] or 0) - (found["output_audio_tokens"] or 0))
    return {**usage, **{key: value for key, value in found.items() if value is not None}}


def _provided_cost(said: Attributes) -> dict[str, Plain]:
    explicit = _object(said, "langfuse.observation.cost_details")
    if explicit is not None:
        return explicit
    for key in ("gen_ai.usage.cost", "llm.cost.total"):
        if said.get(key, "") != "":
            return {"total": said[key]}
    return {}


def _cost(provided: dict[str, Plain], usage: dict[str, int], prices: Mapping[str, float] | None) -> tuple[float | None, dict[str, float]]:
    if provided:
        numbers = {key: number for key, value in provided.items() if (number := _number(value)) is not None}
        total = numbers.get("total", sum(numbers.values()) if numbers.keys() <= {"input", "output"} else None)
        return total, numbers
    priced = {key: tokens * prices[key] for key, tokens in usage.items() if key in prices} if prices else {}
    return (sum(priced.values()) if priced else None), priced


def _level(said: Attributes, status_code: int) -> str:
    explicit = said.get("langfuse.observation.level")
    found = _LEVELS.get(explicit.upper()) if isinstance(explicit, str) else None
    return found or ("ERROR" if status_code == Span().status.STATUS_CODE_ERROR else "DEFAULT")


def _tags(said: Attributes) -> list[str]:
    names = ("langfuse.trace.tags", "langfuse.tags", "langfuse.observation.metadata.langfuse_tags", "langfuse.trace.metadata.langfuse_tags")
    value = _first(said, (*names, "ai.telemetry.metadata.tags", "tag.tags"))
    if isinstance(value, list):
        return [str(each) for each in value]
    if not isinstance(value, str):
        return []
    if value.strip().startswith("["):
        try:
            return [str(each) for each in json.loads(value)]
        except ValueError:
            pass
    return [each.strip() for each in value.split(",")]


def _environment(said: Attributes, around: Attributes) -> str:
    for key in ("langfuse.environment", "deployment.environment.name", "deployment.environment"):
        value = said.get(key) or around.get(key)
        if value:
            name = re.sub(r"^(?:langfuse[-_]?)+", "", value.lower())[:40] if isinstance(value, str) else ""
            return name if re.fullmatch(r"[a-z0-9_-]+", name) else "default"
    return "default"


def _prompt(said: Attributes) -> tuple[Plain, Plain] | None:
    for prefix in ("langfuse.observation.prompt", "langfuse.prompt"):
        if f"{prefix}.name" in said:
            return said[f"{prefix}.name"], said.get(f"{prefix}.version")
    return None


def _completion_start(said: Attributes) -> str | None:
    value = said.get("langfuse.observation.completion_start_time")
    if not isinstance(value, str):
        return None
    text = value.strip('"')
    try:
        return text if datetime.fromisoformat(text).tzinfo is not None and "T" in text else None
    except ValueError:
        return None


def _metadata(said: Attributes, prefix: str) -> Attributes:
    found: Attributes = {}
    top = said.get(prefix) or said.get("langfuse.metadata")
    if isinstance(top, str):
        try:
            parsed = json.loads(top)
        except ValueError:
            parsed = None
        found = parsed if isinstance(parsed, dict) else dict(_numbered(parsed)) if isinstance(parsed, list) else {}
    for key, value in said.items():
        for start in (f"{prefix}.", "langfuse.metadata.", "ai.telemetry.metadata."):
            if key.startswith(start) and len(key) > len(start):
                found[key[len(start) :]] = value
    return found


def _numbered(items: list[Plain]) -> Iterator[tuple[str, Plain]]:
    for index, item in enumerate(items):
        yield str(index), item

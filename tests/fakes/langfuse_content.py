"""Which input and output Langfuse's server shows of a span, and which attributes are left for its metadata.

Follows the observable behaviour of server 4.16: conventions are asked in a fixed order, and the first that has either side
answers for both. Every name of every convention is taken out of the metadata, shown or not. Helper of ``langfuse_mapping``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

Plain = object
Attributes = dict[str, Plain]
Events = Sequence[tuple[str, Attributes]]
Sides = tuple[Plain, Plain]

_PAIRS: tuple[tuple[str, str], ...] = (
    ("mlflow.spanInputs", "mlflow.spanOutputs"),
    ("traceloop.entity.input", "traceloop.entity.output"),
    ("input.value", "output.value"),
    ("input", "output"),
)
_VERCEL = (
    ("ai.prompt.messages", "ai.prompt", "ai.toolCall.args"),
    (
        "ai.result.text",
        "ai.toolCall.result",
        "ai.response.object",
        "ai.result.object",
        "ai.response.toolCalls",
        "ai.result.toolCalls",
    ),
)
_ADK = (("gcp.vertex.agent.llm_request", "gcp.vertex.agent.tool_call_args"), ("gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_response"))
_LIVEKIT = (("lk.input_text", "lk.user_transcript", "lk.chat_ctx"), ("lk.function_tool.output", "lk.response.text"))
_TAKEN = {
    "langfuse.trace.input",
    "langfuse.trace.output",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "ai.response.text",
    "prompt",
    "all_messages_events",
    "events",
    "lk.user_input",
    "final_result",
    "pydantic_ai.all_messages",
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "genkit:input",
    "genkit:output",
    *(key for pair in _PAIRS for key in pair),
    *(key for sides in (_VERCEL, _ADK, _LIVEKIT) for side in sides for key in side),
}
_TAKEN_PREFIXES = (
    "gen_ai.prompt",
    "gen_ai.completion",
    "llm.input_messages",
    "llm.output_messages",
    "langfuse.trace.metadata",
    "langfuse.observation.metadata",
    "ai.telemetry.metadata",
)
_MESSAGES = ("gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message")


def input_and_output(said: Attributes, events: Events, scope: str) -> tuple[Plain, Plain, dict[str, str]]:
    """Input, output, and what is left for the metadata, as text."""
    rest = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in said.items()
        if key not in _TAKEN and not key.startswith(_TAKEN_PREFIXES)
    }
    return (*_sides(said, events, scope), rest)


def _sides(said: Attributes, events: Events, scope: str) -> Sides:
    explicit = said.get("langfuse.observation.input"), said.get("langfuse.observation.output")
    if explicit != (None, None):
        return explicit
    if scope == "genkit-tracer":
        return said.get("genkit:input"), said.get("genkit:output")
    if scope == "ai":
        return _vercel(said)
    for read in _ORDER:
        found = read(said, events, scope)
        if found is not None and found != (None, None):
            return found
    return None, None


def _first(said: Attributes, keys: Sequence[str], ignore: Plain = None) -> Plain:
    return next((said[key] for key in keys if said.get(key) and said[key] != ignore), None)


def _vercel(said: Attributes) -> Sides:
    semconv = _semconv(said, (), "") or (None, None)
    shown_input = next((said[key] for key in _VERCEL[0] if key in said), semconv[0])
    if "ai.response.text" in said and "ai.response.toolCalls" in said:
        answer = {"role": "assistant", "content": said["ai.response.text"], "tool_calls": said["ai.response.toolCalls"]}
        return shown_input, json.dumps(answer)
    if said.get("ai.response.text"):
        return shown_input, said["ai.response.text"]
    return shown_input, next((said[key] for key in _VERCEL[1] if key in said), semconv[1])


def _details_event(_said: Attributes, events: Events, scope: str) -> Sides | None:
    for name, attributes in events:
        if name == "gen_ai.client.inference.operation.details" and (found := _semconv(attributes, (), scope)) is not None:
            return found
    return None


def _message_events(_said: Attributes, events: Events, _scope: str) -> Sides | None:
    asked = [{"role": name.removeprefix("gen_ai.").removesuffix(".message"), **attributes} for name, attributes in events if name in _MESSAGES]
    answered = [attributes for name, attributes in events if name == "gen_ai.choice"]
    return (asked or None, (answered[0] if len(answered) == 1 else answered) or None)


def _adk(said: Attributes, _events: Events, _scope: str) -> Sides:
    return _first(said, _ADK[0], "{}"), _first(said, _ADK[1], "{}")


def _logfire(said: Attributes, _events: Events, _scope: str) -> Sides:
    return said.get("prompt") or None, said.get("all_messages_events") or None


def _livekit(said: Attributes, _events: Events, _scope: str) -> Sides:
    return _first(said, _LIVEKIT[0]), _first(said, _LIVEKIT[1])


def _events_attribute(said: Attributes, _events: Events, _scope: str) -> Sides | None:
    value = said.get("events")
    try:
        items = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(items, list):
        return None
    found = [item for item in items if isinstance(item, dict)]
    asked = [item for item in found if item.get("event.name") != "gen_ai.choice"]
    return asked or None, next((item for item in found if item.get("event.name") == "gen_ai.choice"), None)


def _pairs(said: Attributes, _events: Events, _scope: str) -> Sides | None:
    return next(((said.get(one), said.get(other)) for one, other in _PAIRS if said.get(one) or said.get(other)), None)


def _pydantic(said: Attributes, _events: Events, scope: str) -> Sides | None:
    if scope == "pydantic-ai" and (said.get("pydantic_ai.all_messages") or said.get("final_result")):
        return said.get("pydantic_ai.all_messages"), said.get("final_result")
    return (said.get("tool_arguments") or None, said.get("tool_response") or None)


def _indexed(said: Attributes, _events: Events, _scope: str) -> Sides | None:
    for asked, answered in (("gen_ai.prompt", "gen_ai.completion"), ("llm.input_messages", "llm.output_messages")):
        sides = [{key: value for key, value in said.items() if key.startswith(prefix)} for prefix in (asked, answered)]
        if any(sides):
            return sides[0].get(asked) or sides[0], sides[1].get(answered) or sides[1]
    return None


def _semconv(said: Attributes, _events: Events, _scope: str) -> Sides | None:
    messages = said.get("gen_ai.input.messages"), said.get("gen_ai.output.messages")
    if any(messages):
        system = said.get("gen_ai.system_instructions")
        return (_with_system(messages[0], system) if messages[0] and system else messages[0]), messages[1]
    call = said.get("gen_ai.tool.call.arguments"), said.get("gen_ai.tool.call.result")
    return call if any(call) else None


def _with_system(messages: Plain, system: Plain) -> Plain:
    try:
        items = json.loads(messages) if isinstance(messages, str) else messages
    except ValueError:
        return messages
    if not isinstance(items, list) or any(isinstance(item, dict) and item.get("role") == "system" for item in items):
        return messages
    merged = [{"role": "system", "content": system}, *items]
    return json.dumps(merged) if isinstance(messages, str) else merged


_ORDER: tuple[Callable[[Attributes, Events, str], Sides | None], ...] = (
    _details_event,
    _message_events,
    _adk,
    _logfire,
    _livekit,
    _events_attribute,
    _pairs,
    _pydantic,
    _indexed,
    _semconv,
)

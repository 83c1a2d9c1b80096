"""Where input and output stand on a span, and which of it Langfuse shows by itself. Pure.

Owns the order in which Langfuse looks (server v4.16, extractInputAndOutput: the first step that finds either side decides both)
and where else content may stand. It must not change the span.

A source is an attribute key; ``prefix.*`` stands for messages that were flattened under a prefix.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from sidecar.enrich.dialects import flat
from sidecar.enrich.facts import Content
from sidecar.enrich.view import AttributeView, EventView, SpanView

PROMPTS, COMPLETIONS = "gen_ai.prompt.*", "gen_ai.completion.*"
OI_INPUTS, OI_OUTPUTS = "llm.input_messages.*", "llm.output_messages.*"
MESSAGES_IN, MESSAGES_OUT = "gen_ai.input.messages", "gen_ai.output.messages"
INSTRUCTIONS = "gen_ai.system_instructions"
ARGUMENTS, RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"
ADK_REQUEST, ADK_RESPONSE = "gcp.vertex.agent.llm_request", "gcp.vertex.agent.llm_response"
TEXT, TOOL_CALLS = "ai.response.text", "ai.response.toolCalls"

BLANK = frozenset(("", "{}", "[]", "[[]]", "null", '""', "None", "N/A", "<not serializable>", '{"generations":[]}'))
"""Texts that stand for nothing."""
_LONGEST_BLANK = 24
_ANSWER = frozenset((TEXT, TOOL_CALLS))
"""Shown together, where both are there."""
MAX_BODY = 256 * 1024
"""Characters of an event's body that are opened; a longer one is shown as it is."""


@dataclass(frozen=True, slots=True)
class Step:
    """One dialect that Langfuse looks for; it applies when any of its sources holds something."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scope: str = ""
    """Only for spans of this scope."""
    final: bool = False
    """Ends the search even when nothing was found."""


_BEFORE_EVENTS = (
    Step(("langfuse.observation.input",), ("langfuse.observation.output",)),
    Step(("genkit:input",), ("genkit:output",), scope="genkit-tracer", final=True),
    Step(
        ("ai.prompt.messages", "ai.prompt", "ai.toolCall.args", MESSAGES_IN),
        (
            TEXT,
            "ai.result.text",
            "ai.toolCall.result",
            "ai.response.object",
            "ai.result.object",
            TOOL_CALLS,
            "ai.result.toolCalls",
            MESSAGES_OUT,
        ),
        scope="ai",
        final=True,
    ),
    Step(
        ("flue.turn.input", "flue.tool.arguments", "flue.task.prompt", "flue.workflow.payload"),
        ("flue.turn.output", "flue.tool.result", "flue.task.result", "flue.operation.result", "flue.workflow.result"),
        scope="@flue/opentelemetry",
    ),
)
_AFTER_EVENTS = (
    Step((ADK_REQUEST, "gcp.vertex.agent.tool_call_args"), (ADK_RESPONSE, "gcp.vertex.agent.tool_response")),
    Step(("prompt",), ("all_messages_events",)),
    Step(("lk.input_text", "lk.user_transcript", "lk.chat_ctx"), ("lk.function_tool.output", "lk.response.text")),
    Step(("events",), ("events",)),
    Step(("mlflow.spanInputs",), ("mlflow.spanOutputs",)),
    Step(("traceloop.entity.input",), ("traceloop.entity.output",)),
    Step(("input.value",), ("output.value",)),
    Step(("input",), ("output",)),
    Step(("pydantic_ai.all_messages",), ("final_result",), scope="pydantic-ai"),
    Step(("tool_arguments",), ("tool_response",)),
    Step((PROMPTS,), (COMPLETIONS,)),
    Step((OI_INPUTS,), (OI_OUTPUTS,)),
    Step((MESSAGES_IN, ARGUMENTS), (MESSAGES_OUT, RESULT)),
)

_OTHER_INPUTS = (
    "langfuse.observation.input",
    MESSAGES_IN,
    ARGUMENTS,
    "ai.prompt.messages",
    "ai.prompt",
    "ai.toolCall.args",
    "ai.values",
    "ai.documents",
    "ai.value",
    ADK_REQUEST,
    "gcp.vertex.agent.tool_call_args",
    "mlflow.spanInputs",
    "input.value",
    OI_INPUTS,
    "traceloop.entity.input",
    "gen_ai.task.input",
    "gen_ai.workflow.input",
    PROMPTS,
    "pydantic_ai.all_messages",
    "all_messages_events",
    "tool_arguments",
    "request_data",
    "mastra.agent_run.input",
    "mastra.workflow_run.input",
    "mastra.workflow_step.input",
    "mastra.model_step.input",
    "mastra.processor_run.input",
    "mastra.rag_embedding.input",
    "mastra.generic.input",
    "lk.pii.chat_ctx",
    "lk.pii.user_input",
    "lk.pii.user_transcript",
    "lk.pii.input_text",
    "lk.pii.function_tool.arguments",
    "lk.function_tool.arguments",
    "lk.user_input",
    "spring.ai.tool.call.arguments",
    "db.vector.query.content",
    "langwatch.input",
    "lmnr.span.input",
    "agentops.entity.input",
    "mirascope.trace.arg_values",
    "reranker.query",
    "gen_ai.memory.query.text",
    "retrieval.query",
    "tool.arguments",
    "tool.parameters",
    "gen_ai.retrieval.query.text",
    "gen_ai.retrieval.query",
    "gen_ai.tool.args",
    "haystack.agent.step.llm.input",
    "haystack.agent.step.tool.input",
    "haystack.agent.input",
    "haystack.component.input",
    "haystack.pipeline.input_data",
    "message",
    "llm.prompts",
    "llm.prompts.*",
    "input",
    INSTRUCTIONS,
)
_OTHER_OUTPUTS = (
    "langfuse.observation.output",
    MESSAGES_OUT,
    RESULT,
    TEXT,
    "ai.response.object",
    TOOL_CALLS,
    "ai.toolCall.result",
    "ai.embeddings",
    "ai.ranking",
    "ai.embedding",
    ADK_RESPONSE,
    "gcp.vertex.agent.tool_response",
    "mlflow.spanOutputs",
    "output.value",
    OI_OUTPUTS,
    "traceloop.entity.output",
    "gen_ai.task.output",
    "gen_ai.workflow.output",
    COMPLETIONS,
    "final_result",
    "tool_response",
    "response_data",
    "gen_ai.retrieval.documents",
    "retrieval.documents.*",
    "crewai.crew.result",
    "mastra.agent_run.output",
    "mastra.workflow_run.output",
    "mastra.workflow_step.output",
    "mastra.model_step.output",
    "mastra.processor_run.output",
    "mastra.generic.output",
    "lk.pii.response.text",
    "lk.pii.function_tool.output",
    "lk.pii.response.function_calls",
    "lk.response.function_calls",
    "spring.ai.tool.call.result",
    "db.vector.query.response.documents",
    "langwatch.output",
    "lmnr.span.output",
    "agentops.entity.output",
    "mirascope.trace.output",
    "reranker.output_documents.*",
    "gen_ai.memory.records",
    "retrieval.document",
    "tool.result",
    "haystack.agent.step.llm.output",
    "haystack.agent.step.tool.output",
    "haystack.agent.output",
    "haystack.component.output",
    "haystack.pipeline.output_data",
    "llm.completions.*",
    "output",
)

_ALL = {*_OTHER_INPUTS, *_OTHER_OUTPUTS}.union(*((*step.inputs, *step.outputs) for step in (*_BEFORE_EVENTS, *_AFTER_EVENTS)))
_EXACT = frozenset(source for source in _ALL if not source.endswith(".*"))
_FLATTENED = tuple(sorted(_ALL - _EXACT))

INFERENCE_DETAILS = b"gen_ai.client.inference.operation.details"
_ROLES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
_CHOICE = "gen_ai.choice"
CONTENT_EVENTS = frozenset(
    [INFERENCE_DETAILS, *(name.encode() for name in _ROLES), _CHOICE.encode(), b"gen_ai.content.prompt", b"gen_ai.content.completion"]
)


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources that spans with these keys have."""

    early: tuple[Step, ...]
    late: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    prefer_input: bool
    """The first of ``inputs`` is better than what Langfuse would show."""
    prefer_output: bool
    usual: tuple[str, str] | None
    """Where Langfuse looks for input and output first and only, when nothing better is known: the rule for calls."""


def sources_of(scope: str, keys: Collection[str], inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()) -> Sources:
    """What there is, for a scope and keys; ``inputs`` and ``outputs`` are a dialect's own better sources."""
    # Most sources are on no span at all, so those that are there are found first: a plan costs half as much.
    there = {*_EXACT.intersection(keys), *(source for source in (*inputs, *outputs) if source in keys)}
    joined = "\n" + "\n".join(keys)
    there.update(source for source in (*_FLATTENED, *inputs, *outputs) if source.endswith(".*") and f"\n{source[:-2]}" in joined)

    def known(sources: Iterable[str]) -> tuple[str, ...]:
        return tuple(filter(there.__contains__, sources))

    def steps(all_steps: Iterable[Step]) -> tuple[Step, ...]:
        found = []
        for step in all_steps:
            is_there = not (there.isdisjoint(step.inputs) and there.isdisjoint(step.outputs))
            if step.scope in ("", scope) and (is_there or step.final):
                found.append(Step(known(step.inputs), known(step.outputs), step.scope, step.final))
        return tuple(found)

    late = steps(_AFTER_EVENTS)
    early = steps(_BEFORE_EVENTS)
    return Sources(
        early,
        late,
        known((*inputs, *_OTHER_INPUTS)),
        known((*outputs, *_OTHER_OUTPUTS)),
        not there.isdisjoint(inputs),
        not there.isdisjoint(outputs),
        None if early or not late or there.intersection((*inputs, *outputs, INSTRUCTIONS)) else _usual(late[0]),
    )


def _usual(step: Step) -> tuple[str, str] | None:
    """The sources of a step that has one for each side, each for itself and under a key of its own."""
    if len(step.inputs) != 1 or len(step.outputs) != 1:
        return None
    pair = step.inputs[0], step.outputs[0]
    return None if pair[0] == pair[1] or any(source.endswith(".*") or source in _ANSWER for source in pair) else pair


def read_content(view: SpanView, sources: Sources, events: list[EventView]) -> tuple[Content | None, Content | None]:
    """Input and output, if any; ``events`` are the span's events that can hold content."""
    if sources.usual is not None and not events:
        key_in, key_out = sources.usual
        said_in, said_out = view.get(key_in), view.get(key_out)
        if isinstance(said_in, str) and isinstance(said_out, str) and len(said_in) > _LONGEST_BLANK < len(said_out):
            return Content(said_in, (key_in,), native=True), Content(said_out, (key_out,), native=True)
    shown = _first(view, sources.early)
    if shown is None and events:
        from_events = _from_events(events)
        if from_events is not None:
            return from_events
    if shown is None:
        shown = _first(view, sources.late) or (None, None)
    found_in = _content(view, shown[0], sources.inputs, sources.prefer_input)
    found_out = _content(view, shown[1], sources.outputs, sources.prefer_output)
    if found_out is not None and found_out.keys == ("events",) and "gen_ai.choice" not in found_out.text:
        found_out = None
    return found_in, found_out


def _first(view: SpanView, steps: tuple[Step, ...]) -> tuple[str | None, str | None] | None:
    """The sources that Langfuse takes input and output from."""
    for step in steps:
        source_in, source_out = _said(view, step.inputs), _said(view, step.outputs)
        if source_in is not None or source_out is not None or step.final:
            return source_in, source_out
    return None


def _said(view: SpanView, sources: tuple[str, ...]) -> str | None:
    """The first source whose value JavaScript takes for true."""
    for source in sources:
        if source[-1] == "*":
            return source
        value = view.get(source)
        if (value or isinstance(value, list | dict)) and not (value == "{}" and source in (ADK_REQUEST, ADK_RESPONSE)):
            return source
    return None


def _content(view: SpanView, shown: str | None, others: tuple[str, ...], preferred: bool) -> Content | None:
    """What Langfuse shows if it says anything, else the first other source that does."""
    if shown is not None and not (preferred and others):
        found = _read(view, shown, native=True)
        if found is not None:
            return found
    for source in others:
        found = _read(view, source, native=source == shown)
        if found is not None:
            return found
    return None


def _read(view: SpanView, source: str, *, native: bool) -> Content | None:
    said = view.get(source)
    if isinstance(said, str) and len(said) > _LONGEST_BLANK and source[-1] != "*":
        stands_alone = INSTRUCTIONS not in view.keys if source == MESSAGES_IN else source not in _ANSWER
        if stands_alone:  # nearly always
            return Content(said, (source,), native)
    return _read_any(view, source, native=native)


def _read_any(view: SpanView, source: str, *, native: bool) -> Content | None:
    keys: tuple[str, ...] = (source,)
    if source.endswith(".*"):
        prefix = source[:-2]
        whole = view.get(prefix)
        if whole is not None:
            text, keys = whole if isinstance(whole, str) else as_text(whole), (prefix,)
            native = native and isinstance(whole, str)
        else:
            text = flat.rebuild(view, prefix, "document" if prefix.endswith("documents") else "message")
            keys = tuple(key for key in view.keys if key.startswith(prefix))
            if source in (PROMPTS, COMPLETIONS) and not text.startswith("["):
                return None  # the conventions' gen_ai.prompt.name and .version, which Langfuse takes for an input
    else:
        value = view.get(source)
        text = value if isinstance(value, str) else as_text(value)
        # Langfuse shows arrays and maps of OTLP as their raw JSON, which nobody can read.
        native = native and isinstance(value, str)
    if source in (TEXT, TOOL_CALLS) and TEXT in view and TOOL_CALLS in view:
        answer = {"role": "assistant", "content": view.get(TEXT), "tool_calls": view.get(TOOL_CALLS)}
        return Content(as_text(answer), (TEXT, TOOL_CALLS), native)
    if len(text) <= _LONGEST_BLANK and text.strip() in BLANK:
        return None
    if source == MESSAGES_IN and INSTRUCTIONS in view:
        keys = (MESSAGES_IN, INSTRUCTIONS)
        text = text if native else with_instructions(view, text)
    return Content(text, keys, native)


def as_text(value: object) -> str:
    """A value that is no string, as JSON; empty for None."""
    return "" if value is None else msgspec.json.encode(value, enc_hook=str).decode()


def with_instructions(view: AttributeView, messages: str) -> str:
    """Messages (a JSON array) with the system instructions before them."""
    instructions = view.get(INSTRUCTIONS)
    text = instructions if isinstance(instructions, str) else as_text(instructions)
    if text in BLANK or not messages.startswith("[") or '"system"' in messages[:64]:
        return messages
    parts = text if text.startswith("[") else msgspec.json.encode([{"type": "text", "content": text}]).decode()
    rest = messages[1:].lstrip()
    return f'[{{"role":"system","parts":{parts}}}{"" if rest.startswith("]") else ","}{rest}'


def _from_events(events: list[EventView]) -> tuple[Content | None, Content | None] | None:
    """Content of the GenAI conventions' span events. Langfuse shows it by itself, but arrays and maps of OTLP as their raw JSON."""
    for name, _, attributes in events:
        if name.encode() == INFERENCE_DETAILS:
            asked, answered = attributes.get(MESSAGES_IN), attributes.get(MESSAGES_OUT)
            if asked or answered:
                return _asked(attributes, asked, name), _event_content(answered, (name,), native=not _is_structured(answered))
    inputs: list[Mapping[str, object]] = []
    outputs: list[Mapping[str, object]] = []
    names: tuple[dict[str, None], dict[str, None]] = {}, {}
    native = True
    for name, _, attributes in events:
        said: Mapping[str, object] = {key: attributes.get(key) for key in attributes.keys}
        unwrapped = _unwrapped(attributes)
        native = native and unwrapped is None and not any(map(_is_structured, said.values()))
        said = said if unwrapped is None else unwrapped
        if name in _ROLES:
            inputs.append({"role": _ROLES[name], **said})
            names[0][name] = None
        elif name in (_CHOICE, "gen_ai.content.completion"):
            outputs.append(said)
            names[1][name] = None
        elif name == "gen_ai.content.prompt":
            inputs.append(said)
            names[0][name] = None
    if not inputs and not outputs:
        return None
    return (
        _event_content(inputs or None, tuple(names[0]), native=native),
        _event_content(outputs[0] if len(outputs) == 1 else outputs or None, tuple(names[1]), native=native),
    )


def _asked(attributes: AttributeView, messages: object, name: str) -> Content | None:
    native = not _is_structured(messages) and not _is_structured(attributes.get(INSTRUCTIONS))
    found = _event_content(messages, (name,), native=native)
    return found if found is None or native else Content(with_instructions(attributes, found.text), found.keys)


def _is_structured(value: object) -> bool:
    return isinstance(value, list | dict | bytes)


def _unwrapped(attributes: AttributeView) -> Mapping[str, object] | None:
    """An event's body, where it stands as JSON in one attribute: Azure's SDKs write it so."""
    body = attributes.text("gen_ai.event.content")
    if body is None or len(body) > MAX_BODY:
        return None
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def _event_content(value: object, names: tuple[str, ...], *, native: bool) -> Content | None:
    text = value if isinstance(value, str) else as_text(value)
    return Content(text, tuple(f"event:{name}" for name in names), native=native) if text not in BLANK else None

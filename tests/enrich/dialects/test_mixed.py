"""Several instrumentations in one process: every call of a model counts once, whoever wrote about it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.dialects.doubles import mark_doubles
from tests import spans
from tests.enrich.dialects.unseen import SAID, used
from tests.enrich.views import views

OI, OPENAI = "openinference.instrumentation.langchain", "opentelemetry.instrumentation.openai.v1"
MS = 1_000_000


class Seen(NamedTuple):
    """A span: its number, its parent's (0: none), and when it ran, in milliseconds."""

    number: int
    parent: int
    scope: str
    attributes: spans.Attributes
    start_ms: int
    end_ms: int


def openinference(fresh: int, output: int, **more: spans.Value) -> spans.Attributes:
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o",
        "llm.token_count.prompt": fresh,
        "llm.token_count.completion": output,
        "output.value": "b",
        **more,
    }


def semconv(fresh: int, output: int, answer: str = "", operation: str = "chat") -> spans.Attributes:
    known = {"gen_ai.response.id": answer} if answer else {}
    return {"gen_ai.operation.name": operation, "gen_ai.request.model": "gpt-4o", **used(fresh, output), **SAID, **known}


FIRST, SECOND = "chatcmpl-aaaaaaaa", "chatcmpl-bbbbbbbb"
GENERATIONS = f'{{"generations":[[{{"message":{{"response_metadata":{{"id":"{FIRST}"}}}}}}]]}}'
RUN: spans.Attributes = {"gen_ai.thread.run.id": "run_12345678", "gen_ai.response.model": "gpt-4o"}

TREES: dict[str, tuple[list[Seen], list[int]]] = {
    "one instrumentor around another": ([Seen(1, 0, OI, openinference(10, 5), 0, 9), Seen(2, 1, OPENAI, semconv(10, 5, FIRST), 1, 8)], [1]),
    "a framework's callback beside a client's wrapper": (
        [
            Seen(9, 0, OI, {"openinference.span.kind": "CHAIN"}, 0, 50),
            Seen(1, 9, OI, openinference(10, 5), 1, 40),
            Seen(2, 9, OPENAI, semconv(10, 5, FIRST), 2, 39),
        ],
        [1],
    ),
    "both of them roots": ([Seen(1, 0, OI, openinference(10, 5), 1, 40), Seen(2, 0, OPENAI, semconv(10, 5), 2, 39)], [1]),
    "an answer's id inside what a framework made of it": (
        [Seen(1, 0, OI, openinference(10, 5, **{"output.value": GENERATIONS}), 1, 40), Seen(2, 0, OPENAI, semconv(11, 5, FIRST), 41, 42)],
        [1],
    ),
    "two calls at a time, with different answers": (
        [
            Seen(9, 0, "acme", {}, 0, 60),
            Seen(1, 9, OPENAI, semconv(10, 5, FIRST), 1, 40),
            Seen(2, 9, "acme.other", semconv(10, 5, SECOND), 2, 39),
        ],
        [1, 2],
    ),
    "two calls of one instrumentor at a time": (
        [Seen(9, 0, "acme", {}, 0, 60), Seen(1, 9, OPENAI, semconv(10, 5), 1, 40), Seen(2, 9, OPENAI, semconv(10, 5), 2, 39)],
        [1, 2],
    ),
    "two calls after each other": (
        [Seen(9, 0, "acme", {}, 0, 60), Seen(1, 9, OI, openinference(10, 5), 1, 20), Seen(2, 9, OPENAI, semconv(10, 5), 21, 39)],
        [1, 2],
    ),
    "a sum over a loop of tools that bears the last answer's id": (
        [
            Seen(1, 0, "Experimental.Microsoft.Extensions.AI", semconv(30, 9, SECOND), 0, 30),
            Seen(2, 1, "OpenAI.ChatClient", semconv(10, 4, FIRST), 1, 10),
            Seen(3, 1, "OpenAI.ChatClient", semconv(20, 5, SECOND), 11, 20),
        ],
        [2, 3],
    ),
    "a server behind a client's HTTP": (
        [
            Seen(1, 0, OPENAI, semconv(10, 5), 0, 30),
            Seen(2, 1, "opentelemetry.instrumentation.httpx", {"http.request.method": "POST"}, 1, 29),
            Seen(
                3,
                2,
                "vllm.llm_engine",
                {"gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.completion_tokens": 5, "gen_ai.latency.e2e": 0.02},
                2,
                28,
            ),
        ],
        [1],
    ),
    "a proxy behind a client, with its own cost": (
        [
            Seen(1, 0, OPENAI, semconv(10, 5, FIRST), 0, 30),
            Seen(2, 1, "litellm", {"litellm.call_id": "c", "gen_ai.cost.total_cost": 0.01, **semconv(10, 5, FIRST)}, 1, 29),
        ],
        [2],
    ),
    "a run of a hosted agent that is asked for until it is done": (
        [
            Seen(1, 0, "azure.ai.agents", {"gen_ai.operation.name": "start_thread_run", **RUN}, 0, 1),
            Seen(2, 0, "azure.ai.agents", {"gen_ai.operation.name": "get_thread_run", **RUN, **used(5, 6)}, 2, 3),
            Seen(3, 0, "azure.ai.agents", {"gen_ai.operation.name": "get_thread_run", **RUN, **used(5, 6)}, 4, 5),
        ],
        [2],
    ),
    "a voice agent's node around its request": (
        [
            Seen(1, 0, "livekit-agents", {"gen_ai.request.model": "gpt-4o", "lk.chat_ctx": "x"}, 0, 9),
            Seen(2, 1, "livekit-agents", semconv(10, 5), 1, 8),
        ],
        [2],
    ),
    "an application's own sum over its calls": (
        [
            Seen(1, 0, "acme", {"gen_ai.request.model": "gpt-4o", **used(30, 15)}, 0, 30),
            Seen(2, 1, "acme", semconv(10, 5, FIRST), 1, 10),
            Seen(3, 1, "acme", semconv(20, 10, SECOND), 11, 20),
        ],
        [2, 3],
    ),
    "a generation around its steps": (
        [
            Seen(1, 0, "@mastra/otel-exporter", semconv(30, 9), 0, 30),
            Seen(2, 1, "@mastra/otel-exporter", {"gen_ai.operation.name": "model_step", "mastra.span.type": "model_step"}, 1, 29),
            Seen(3, 2, "@mastra/otel-exporter", semconv(30, 9, operation="model_inference"), 2, 28),
        ],
        [1],
    ),
}


@pytest.mark.parametrize(("tree", "calls"), TREES.values(), ids=TREES.keys())
def test_a_call_that_several_write_about_counts_once(tree: list[Seen], calls: list[int]) -> None:
    batch = []
    for each in tree:
        span = spans.span(
            span_id=each.number.to_bytes(8, "big"),
            parent=each.parent.to_bytes(8, "big") if each.parent else b"",
            attributes=each.attributes,
            start_ns=spans.START_NS + each.start_ms * MS,
            end_ns=spans.START_NS + each.end_ms * MS,
        )
        (view,) = views(span, scope=each.scope)
        batch.append((view, read_facts(view)))
    mark_doubles(batch)
    assert [int.from_bytes(view.span_id, "big") for view, facts in batch if facts.is_call] == calls


@pytest.mark.parametrize(
    "carrier", ["genkit:output", "lk.llm_metrics", "gcp.vertex.agent.llm_response", "metadata", "llm.invocation_parameters", "output.value"]
)
def test_json_nested_without_end_is_read_as_nothing(carrier: str) -> None:
    scope = {"genkit:output": "genkit-tracer", "lk.llm_metrics": "livekit-agents", "gcp.vertex.agent.llm_response": "gcp.vertex.agent"}.get(
        carrier, OI
    )
    deep = '{"x":' + "[" * 20_000 + "]" * 20_000 + "}"
    (view,) = views(spans.span(attributes={**openinference(10, 5), "genkit:metadata:subtype": "model", carrier: deep}), scope=scope)
    assert read_facts(view).error is None


@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        ("acme", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.id": "c-1"}),
        ("org.springframework.boot", {"spring.ai.kind": "tool_call", "spring.ai.tool.call.id": "c-1"}),
        ("livekit-agents", {"lk.function_tool.id": "c-1"}),
        ("pipecat", {"tool.function_name": "f", "tool.call_id": "c-1"}),
        ("com.anthropic.claude_code.tracing", {"span.type": "tool", "tool_use_id": "c-1"}),
        (OI, {"openinference.span.kind": "TOOL", "tool.id": "c-1"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_id_of_a_tools_call_is_read_whatever_it_is_called(scope: str, attributes: spans.Attributes) -> None:
    (view,) = views(spans.span(attributes=attributes), scope=scope)
    assert read_facts(view).tool_call_id == "c-1"

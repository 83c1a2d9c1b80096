"""Golden files: what is read of every span of every capture, one line a span, to be reviewed by people.

Owns the reading of captures and the layout of the files; ``python -m tests.enrich.golden --update`` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sidecar.enrich.dialects import Plans, read_facts
from sidecar.enrich.dialects.doubles import mark_doubles
from sidecar.enrich.dialects.openllmetry import name_runs
from sidecar.enrich.facts import Content, Facts, Usage
from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import AttributeMemo
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest
from tests.corpus import trace_requests

FOLDER = Path(__file__).parent
HEADER = """\
# name | kind (CALL: counted) | model asked > answered @ provider | usage | cost | input > output | agent, tool, user, session | error | more; what a span does not say is left out
# usage: i input, o output, r cache read, w cache write, W written for an hour, t reasoning, a/A audio in and out
# input > output: characters and key (+n: n more keys), * Langfuse shows it by itself
"""
_HEX = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{13,}|\b[0-9a-f]{24,}\b")

Span = tuple[SpanView, Facts]


def captures() -> list[str]:
    """Names of every capture."""
    return sorted({request.capture for request in trace_requests()})


def read_capture(capture: str) -> dict[str, list[Span]]:
    """Every span of a capture with its facts, by scenario; neighbours are looked at as if a scenario were one batch."""
    memo, plans = AttributeMemo(), Plans()
    scenarios: dict[str, list[Span]] = {}
    for request in trace_requests():
        if request.capture != capture:
            continue
        message = decode_json(request.body).request if request.is_json else ExportTraceServiceRequest.FromString(request.body)
        found = scenarios.setdefault(request.name.split("/")[1], [])
        for resource_spans in message.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    view = SpanView(span, scope_spans.scope, resource_spans.resource, memo)
                    found.append((view, read_facts(view, plans)))
    for spans in scenarios.values():
        mark_doubles(spans)
        name_runs(spans)
    return scenarios


def traces(spans: list[Span]) -> list[list[Span]]:
    """The spans of each trace, both in order of time."""
    by_trace: dict[bytes, list[Span]] = {}
    for span in sorted(spans, key=lambda each: (each[0].start_ns, -each[0].end_ns, each[0].span_id)):
        by_trace.setdefault(span[0].trace_id, []).append(span)
    return list(by_trace.values())


def render(capture: str) -> str:
    """The golden file of a capture."""
    lines = [HEADER]
    for scenario, spans in sorted(read_capture(capture).items()):
        for number, trace in enumerate(traces(spans), 1):
            lines.append(f"\n== {scenario} {number}: {_totals(trace)}\n")
            lines += [line + "\n" for line in _tree(trace)]
    return "".join(lines)


def _totals(trace: list[Span]) -> str:
    calls = [facts for _, facts in trace if facts.is_call]
    tokens = sum(facts.usage.total for facts in calls if facts.usage is not None)
    cost = sum(facts.cost_usd or 0 for facts in calls)
    return f"{len(calls)} calls, {tokens} tokens, cost {cost:.6g}"


def _tree(trace: list[Span]) -> Iterator[str]:
    known = {view.span_id: view for view, _ in trace}
    for view, facts in trace:
        depth, parent = 0, known.get(view.parent_id)
        while parent is not None and depth < 20:
            depth, parent = depth + 1, known.get(parent.parent_id)
        yield "  " * depth + line(view, facts)


def line(view: SpanView, facts: Facts) -> str:
    """One span."""
    model = facts.model_requested or ""
    if facts.model_answered and facts.model_answered != model:
        model += f" > {facts.model_answered}"
    if facts.provider:
        model += f" @ {facts.provider}"
    more = {
        "agent": facts.agent_name,
        "tool": facts.tool_name,
        "user": facts.user_id,
        "session": facts.session_id,
        "ERROR": f"{facts.error.kind}: {facts.error.type}: {_short(facts.error.message)}" if facts.error is not None else None,
        "agent_id": facts.agent_id,
        "agent_version": facts.agent_version,
        "tier": facts.service_tier,
        "costs": ",".join(f"{name}={cost:.6g}" for name, cost in facts.cost_details.items()) or None,
        "trace": facts.trace_name,
        "tags": ",".join(facts.tags) or None,
        "prompt": f"{facts.prompt_name}#{facts.prompt_version}" if facts.prompt_name else None,
        "first_token": f"{facts.time_to_first_token_s:.4f}" if facts.time_to_first_token_s is not None else None,
    }
    parts = [
        _short(view.name),
        f"{facts.kind} CALL" if facts.is_call else facts.kind,
        model.strip(),
        _usage(facts.usage),
        f"${facts.cost_usd:.6g}" if facts.cost_usd is not None else "",
        f"{_content(facts.input)} > {_content(facts.output)}" if facts.input or facts.output else "",
        *(f"{name} {value}" for name, value in more.items() if value is not None),
        facts.dialect,
    ]
    return _HEX.sub("<id>", " | ".join(part for part in parts if part))


def _usage(usage: Usage | None) -> str:
    if usage is None:
        return ""
    buckets = {
        "i": usage.input,
        "o": usage.output,
        "r": usage.cache_read,
        "w": usage.cache_write,
        "W": usage.cache_write_1h,
        "t": usage.reasoning,
        "a": usage.input_audio,
        "A": usage.output_audio,
    }
    return " ".join(f"{name}{count}" for name, count in buckets.items() if count)


def _content(content: Content | None) -> str:
    if content is None:
        return "-"
    key = content.keys[0] if len(content.keys) == 1 else f"{content.keys[0]}+{len(content.keys) - 1}"
    return f"{len(content.text)}{'*' if content.native else ''} {key}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."

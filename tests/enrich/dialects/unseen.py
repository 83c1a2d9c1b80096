"""Spans as instrumentations write them that no capture is of: by hand, after their public conventions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.facts import Content, Kind
from tests import spans
from tests.enrich.golden import line
from tests.enrich.shaping import shaped
from tests.enrich.views import views

MESSAGES = '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]'
ANSWER = '[{"role":"assistant","parts":[{"type":"text","content":"yo"}],"finish_reason":"stop"}]'
SAID: spans.Attributes = {"gen_ai.input.messages": MESSAGES, "gen_ai.output.messages": ANSWER}
_EMPTY: tuple[object, ...] = (None, "", "{}", {}, [])


class Case(NamedTuple):
    """A span and the line that a golden file would have of it, without the name."""

    scope: str
    name: str
    attributes: spans.Attributes
    expected: str
    events: Sequence[Span.Event] = ()


def used(fresh: int, output: int) -> spans.Attributes:
    return {"gen_ai.usage.input_tokens": fresh, "gen_ai.usage.output_tokens": output}


def ids(cases: Sequence[Case]) -> list[str]:
    return [f"{case.scope} {case.name}" for case in cases]


def check(case: Case) -> None:
    """The facts are the expected ones, and Langfuse shows exactly these: type, model, tokens of calls only, content, identity, error."""
    span = spans.span(name=case.name, attributes=case.attributes, events=case.events)
    (view,) = views(span, scope=case.scope)
    facts = read_facts(view)
    assert line(view, facts).removeprefix(f"{case.name} | ") == case.expected

    shown = shaped(span, facts, scope=case.scope).after
    assert shown.type == ("SPAN" if facts.kind is Kind.INFRA else facts.kind.name)
    if facts.is_call:
        assert shown.model == (facts.model_answered or facts.model_requested)
        assert shown.tokens == (facts.usage.total if facts.usage is not None else 0)
    else:
        assert (shown.tokens, shown.total_cost or 0, shown.is_tokenised) == (0, 0, False)
    for content, side in ((facts.input, shown.input), (facts.output, shown.output)):
        assert _shows(content, side), side
    assert (shown.user_id, shown.session_id) == (facts.user_id, facts.session_id)
    assert (shown.level == "ERROR") == (facts.error is not None)


def _shows(content: Content | None, side: object) -> bool:
    if content is None:
        return side in _EMPTY
    # What Langfuse builds by itself it may build in its own shape.
    return side not in _EMPTY if content.native else side == content.text or json.dumps(side) == content.text

"""Every captured span as Langfuse would show it before and after, by a model of the server that shares no code with the sidecar."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.enrich.dialects import Plans, read_facts
from sidecar.enrich.dialects.doubles import mark_doubles
from sidecar.enrich.facts import Facts, Kind
from sidecar.enrich.shape import shape
from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import AttributeMemo
from sidecar.wire.batch import decode_protobuf
from sidecar.wire.mend import mend
from tests.corpus import trace_requests
from tests.fakes.langfuse_mapping import Prices, Shown, plain_attributes, show


@dataclass(frozen=True)
class Seen:
    where: str
    facts: Facts
    before: Shown
    after: Shown
    said: dict[str, object]
    says: dict[str, object]


@functools.cache
def seen() -> list[Seen]:
    return list(_seen())


def _seen() -> Iterator[Seen]:
    memo, plans = AttributeMemo(), Plans()
    for request in trace_requests():
        if request.is_json:
            continue
        batch = decode_protobuf(request.body)
        mend(batch)
        items = [
            (span, scope_spans.scope, resource_spans.resource)
            for resource_spans in batch.request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]
        views = [SpanView(*item, memo) for item in items]
        facts = [read_facts(view, plans) for view in views]
        mark_doubles(list(zip(views, facts, strict=True)))
        for (span, scope, resource), view, fact in zip(items, views, facts, strict=True):
            around = InstrumentationScope.FromString(scope.SerializeToString()), Resource.FromString(resource.SerializeToString())
            prices: Prices = {model: {"input": 1e-6, "output": 1e-6} for model in (fact.model_answered, fact.model_requested) if model}
            before = Span.FromString(span.SerializeToString())
            shape(span, view, fact)
            after = Span.FromString(span.SerializeToString())
            yield Seen(
                f"{request.name}: {view.name}",
                fact,
                show(before, *around, prices),
                show(after, *around, prices),
                plain_attributes(before.attributes),
                plain_attributes(after.attributes),
            )


def test_every_span_has_the_type_of_its_facts() -> None:
    assert [each.where for each in seen() if each.after.type != ("SPAN" if each.facts.kind is Kind.INFRA else each.facts.kind.value.upper())] == []


def test_every_call_has_its_tokens_and_its_model() -> None:
    calls = [each for each in seen() if each.facts.is_call and each.facts.usage is not None]

    assert len(calls) > 600
    assert [each.where for each in calls if each.facts.usage is not None and each.after.tokens != each.facts.usage.total] == []
    assert [each.where for each in calls if each.after.model != (each.facts.model_answered or each.facts.model_requested)] == []


def test_nothing_else_counts() -> None:
    others = [each for each in seen() if not each.facts.is_call]

    assert any(each.before.tokens for each in others)
    assert [each.where for each in others if each.after.tokens or each.after.total_cost or each.after.is_tokenised] == []


def test_content_that_the_facts_know_is_shown_on_both_sides() -> None:
    assert [each.where for each in seen() if each.facts.input is not None and not each.after.input] == []
    assert [each.where for each in seen() if each.facts.output is not None and not each.after.output] == []


def test_content_that_was_shown_is_still_shown_but_where_a_conversation_was_taken_for_an_answer() -> None:
    lost = Counter(
        each.where.partition("/")[0]
        for each in seen()
        if (each.before.input and not each.after.input) or (each.before.output and not each.after.output)
    )

    assert lost.keys() <= {"pydantic-ai-0.4"}  # a failed run: its messages are what it was asked, and it has no answer


def test_every_failure_is_shown_as_one_with_a_text() -> None:
    failed = [each for each in seen() if each.facts.error is not None]

    assert len(failed) > 200
    assert [each.where for each in failed if each.after.level != "ERROR" or not each.after.status_message] == []


def test_users_and_sessions_of_the_facts_are_shown() -> None:
    assert [each.where for each in seen() if each.facts.user_id and each.after.user_id != each.facts.user_id] == []
    assert [each.where for each in seen() if each.facts.session_id and each.after.session_id != each.facts.session_id] == []


def test_what_was_said_to_langfuse_stays_but_for_numbers_that_would_count_twice() -> None:
    changed = {
        (key, each.facts.is_call)
        for each in seen()
        for key, value in each.said.items()
        if key.startswith("langfuse.")
        and "metadata." not in key
        and "trace.input" not in key
        and "trace.output" not in key
        and each.says.get(key) != value
    }

    assert changed <= {("langfuse.observation.usage_details", False), ("langfuse.observation.cost_details", False)}


def test_no_value_is_shown_as_a_piece_of_otlp() -> None:
    assert [each.where for each in seen() if "Value" in str(each.after.input)[:30] or "kvlistValue" in str(each.says)] == []

"""Plans are made once for spans with equal scope and keys, and their memory is bounded."""

from __future__ import annotations

from sidecar.enrich.dialects.plan import MAX_CHARACTERS, Plans, make_plan
from tests import spans
from tests.enrich.views import view

CHAT: dict[str, spans.Value] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 5}


def test_spans_with_equal_scope_and_keys_share_a_plan() -> None:
    plans = Plans()
    first = plans.plan(view(CHAT))
    assert plans.plan(view({**CHAT, "gen_ai.request.model": "other"})) is first
    assert plans.plan(view(CHAT, scope="other")) is not first
    assert len(plans) == 2


def test_the_most_trusted_key_of_a_field_comes_first_whatever_the_order_on_the_span() -> None:
    plan = make_plan("acme", ("llm.model_name", "gen_ai.request.model", "user.id", "langfuse.user.id"))
    assert plan.fields["model_requested"] == ("gen_ai.request.model", "llm.model_name")
    assert plan.fields["user"] == ("langfuse.user.id", "user.id")


def test_the_memory_holds_no_more_than_its_bound_and_keeps_what_is_used() -> None:
    plans = Plans(entries=8)
    kept = plans.plan(view(CHAT))
    for number in range(100):
        plans.plan(view({f"key.{number}": 1}))
        assert plans.plan(view(CHAT)) is kept
        assert len(plans) <= 8


def test_long_conversations_share_a_plan_with_short_ones() -> None:
    plans = Plans()

    def conversation(messages: int) -> spans.Attributes:
        flat: dict[str, spans.Value] = {f"llm.input_messages.{number}.message.content": "x" for number in range(messages)}
        return {**flat, "openinference.span.kind": "LLM", **{f"other.{number}": "" for number in range(20)}}

    assert plans.plan(view(conversation(10))) is plans.plan(view(conversation(90)))


def test_spans_with_endless_keys_are_not_remembered() -> None:
    plans = Plans()
    plans.plan(view({"k" * (MAX_CHARACTERS + 1): 1}))
    plans.plan(view({f"key.{number}": 1 for number in range(200)}))
    assert len(plans) == 0

"""Plans are made once for spans with equal scope and keys, and their memory is bounded."""

from __future__ import annotations

import pytest

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.dialects.plan import MAX_CHARACTERS, Plan, Plans, make_plan
from sidecar.enrich.facts import Facts
from sidecar.enrich.view import SpanView
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


def test_a_thousand_key_sets_by_turns_are_all_remembered() -> None:
    plans = Plans()
    seen = [view({**CHAT, f"key.{number}": 1}) for number in range(1000)]
    first = [plans.plan(each) for each in seen]

    assert all(plans.plan(each) is plan for each, plan in zip(seen, first, strict=True))


def test_a_key_with_a_line_break_does_not_pass_for_two_keys() -> None:
    plans = Plans()
    forged = plans.plan(view({"gen_ai.operation.name\ngen_ai.request.model\ngen_ai.usage.input_tokens": "x"}))
    plan = plans.plan(view(CHAT))

    assert plan is not forged  # the other way round a forger gets a plan for keys that he has not, and nothing is read
    assert (plan.counts, forged.counts) == ((("input", ("gen_ai.usage.input_tokens",)),), ())


def test_a_forged_key_that_finds_a_plan_says_nothing() -> None:
    plans = Plans()
    plans.plan(view(CHAT))
    forged = read_facts(view({"gen_ai.operation.name\ngen_ai.request.model\ngen_ai.usage.input_tokens": "x"}), plans)
    assert (forged.model_requested, forged.usage) == (None, None)


def test_a_scope_does_not_pass_for_a_key() -> None:
    plans = Plans()
    assert plans.plan(view({"b": 1}, scope="scope\na")) is not plans.plan(view({"a": 1, "b": 1}, scope="scope"))


def test_a_plan_leaves_its_traits_with_the_view() -> None:
    plans = Plans()
    seen = [view(CHAT), view(CHAT)]
    plan = plans.plan(seen[0])
    plans.plan(seen[1])
    assert plan.traits.models == ("gen_ai.request.model",)
    assert seen[0].traits is plan.traits
    assert seen[1].traits is plan.traits


def test_spans_with_endless_keys_are_not_remembered() -> None:
    plans = Plans()
    plans.plan(view({"k" * (MAX_CHARACTERS + 1): 1}))
    plans.plan(view({f"key.{number}": 1 for number in range(200)}))
    plans.plan(view({"\U0001f600": 1}))
    assert len(plans) == 0


def test_spans_with_equal_names_share_what_was_read_and_get_copies_of_their_own() -> None:
    plans = Plans()
    read: list[SpanView] = []

    def reader(seen: SpanView, plan: Plan) -> Facts:
        read.append(seen)
        return Facts(plan.dialect.name, model_requested=seen.text("gen_ai.request.model"))

    def facts(model: spans.Value, tokens: int) -> Facts:
        seen = view({**CHAT, "gen_ai.request.model": model, "gen_ai.usage.input_tokens": tokens})
        return plans.facts(seen, plans.plan(seen), reader)

    first, again, other = facts("a", 1), facts("a", 2), facts("b", 3)
    assert (first.model_requested, again.model_requested, other.model_requested, len(read)) == ("a", "a", "b", 2)
    first.model_requested = "changed"
    assert facts("a", 4).model_requested == "a"


@pytest.mark.parametrize(("value", "like"), [(1, True), (1, 1.0), (0, False)])
def test_values_that_are_equal_and_yet_another_are_not_taken_for_each_other(value: spans.Value, like: spans.Value) -> None:
    plans = Plans()
    for given in (value, like, value):
        chat = {**CHAT, "gen_ai.request.model": given}
        assert read_facts(view(chat), plans) == read_facts(view(chat))


@pytest.mark.parametrize("value", [["a"], {"a": 1}, None, b"x", "x" * (MAX_CHARACTERS + 1), "\U0001f600"])
def test_names_that_are_none_or_long_are_read_each_time(value: spans.Value) -> None:
    plans = Plans()
    for chat in ({**CHAT, "gen_ai.request.model": value}, {"gen_ai.request.model": value}):
        for _ in range(2):
            assert read_facts(view(chat), plans) == read_facts(view(chat))
    assert len(plans._facts) == 0


def test_no_more_facts_are_remembered_than_the_bound() -> None:
    plans = Plans(facts=8)
    for number in range(100):
        assert read_facts(view({**CHAT, "gen_ai.request.model": f"m{number}"}), plans).model_requested == f"m{number}"
        assert len(plans._facts) <= 8


def test_plans_that_differ_in_what_nobody_reads_share_facts_and_others_do_not() -> None:
    plans = Plans()
    for number in range(3):
        assert read_facts(view({**CHAT, f"app.field_{number}": "x"}), plans).model_requested == "m"
    assert (len(plans), len(plans._facts)) == (3, 1)
    for other in ({"gen_ai.request.model": "m"}, {"gen_ai.operation.name": "m", "gen_ai.response.model": "chat"}, {"gen_ai.operation.name": "chat"}):
        assert read_facts(view(other), plans) == read_facts(view(other))
    assert len(plans._facts) == 4

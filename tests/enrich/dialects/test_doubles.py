"""A call that is seen twice counts once."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.enrich.dialects import read_facts
from sidecar.enrich.dialects.doubles import mark_doubles
from sidecar.enrich.facts import Facts
from sidecar.enrich.view import SpanView
from tests import spans
from tests.enrich.views import views

OTHER_TRACE = b"another-trace-id"


class Tree:
    """Spans of one batch, by name."""

    def __init__(self) -> None:
        self.seen: list[tuple[SpanView, Facts]] = []
        self._ids: dict[str, bytes] = {}

    def add(
        self,
        name: str,
        attributes: Mapping[str, spans.Value],
        within: str = "",
        *,
        scope: str = "acme",
        trace_id: bytes = spans.TRACE_ID,
        at: int = 0,
        last: int = 100,
    ) -> Tree:
        span_id = self._ids.setdefault(name, len(self._ids).to_bytes(8, "big"))
        start = spans.START_NS + at
        span = spans.span(
            name=name,
            span_id=span_id,
            parent=self._ids.get(within, b""),
            trace_id=trace_id,
            attributes=attributes,
            start_ns=start,
            end_ns=start + last,
        )
        (view,) = views(span, scope=scope)
        self.seen.append((view, read_facts(view)))
        return self

    def calls(self) -> list[str]:
        mark_doubles(self.seen)
        return [view.name for view, facts in self.seen if facts.is_call]


def chat(tokens: int | None = None, **more: spans.Value) -> dict[str, spans.Value]:
    used = {} if tokens is None else {"gen_ai.usage.input_tokens": tokens, "gen_ai.usage.output_tokens": 1}
    return {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **used, **{key.replace("__", "."): value for key, value in more.items()}}


def test_calls_beside_each_other_all_count() -> None:
    tree = Tree().add("agent", {"gen_ai.operation.name": "invoke_agent"}).add("a", chat(5), "agent").add("b", chat(5), "agent")
    assert tree.calls() == ["a", "b"]


def test_an_agent_that_adds_up_its_calls_never_counts() -> None:
    tree = Tree().add("agent", {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 10}).add("a", chat(5), "agent")
    assert tree.calls() == ["a"]


def test_of_a_call_within_a_call_the_outer_counts_when_they_used_the_same() -> None:
    assert Tree().add("outer", chat(5)).add("inner", chat(5), "outer").calls() == ["outer"]


def test_the_one_with_content_counts() -> None:
    tree = Tree().add("outer", chat(5)).add("inner", chat(5, gen_ai__input__messages="[1]"), "outer")
    assert tree.calls() == ["inner"]


def test_the_one_that_knows_its_tokens_counts() -> None:
    assert Tree().add("outer", chat(None, gen_ai__input__messages="[1]")).add("inner", chat(5), "outer").calls() == ["inner"]
    assert Tree().add("outer", chat(5)).add("inner", chat(), "outer").calls() == ["outer"]


def test_a_call_that_adds_up_several_never_counts() -> None:
    tree = Tree().add("outer", chat(10)).add("a", chat(5), "outer").add("b", chat(5), "outer")
    assert tree.calls() == ["a", "b"]


def test_a_sum_whose_other_parts_came_earlier_does_not_count_either() -> None:
    assert Tree().add("outer", chat(10)).add("a", chat(5), "outer").calls() == ["a"]


def test_chains_between_two_views_of_a_call_make_no_difference() -> None:
    tree = Tree().add("outer", chat()).add("chain", {"gen_ai.operation.name": "chain"}, "outer").add("inner", chat(5), "chain")
    assert tree.calls() == ["inner"]


def test_three_views_of_a_call_leave_one() -> None:
    assert Tree().add("a", chat()).add("b", chat(), "a").add("c", chat(5), "b").calls() == ["c"]
    assert Tree().add("a", chat(5)).add("b", chat(5), "a").add("c", chat(5), "b").calls() == ["a"]


def test_a_call_made_by_a_tool_within_a_call_is_a_call_of_its_own() -> None:
    tree = Tree().add("outer", chat(5)).add("tool", {"gen_ai.operation.name": "execute_tool"}, "outer").add("inner", chat(5), "tool")
    assert tree.calls() == ["outer", "inner"]


def test_children_may_come_before_their_parents() -> None:
    tree = Tree().add("outer", chat(5)).add("inner", chat(5), "outer")
    tree.seen.reverse()
    assert tree.calls() == ["outer"]


def test_an_answers_id_names_one_call_even_in_two_traces() -> None:
    tree = Tree().add("sdk", chat(5, gen_ai__response__id="msg_0123456789"), scope="com.anthropic.sdk.python", trace_id=OTHER_TRACE)
    tree.add("instrumentor", chat(5, gen_ai__response__id="msg_0123456789", gen_ai__input__messages="[1]"))
    assert tree.calls() == ["instrumentor"]


def test_an_answers_id_is_read_from_the_answer_itself_where_there_is_no_attribute() -> None:
    openinference: spans.Attributes = {
        "openinference.span.kind": "LLM",
        "llm.token_count.prompt": 5,
        "llm.token_count.completion": 1,
        "output.value": '{"id":"msg_0123456789","x":1}',
    }
    tree = Tree().add("sdk", chat(5, gen_ai__response__id="msg_0123456789"), trace_id=OTHER_TRACE).add("instrumentor", openinference)
    assert tree.calls() == ["instrumentor"]


def test_short_ids_prove_nothing() -> None:
    assert Tree().add("a", chat(5, gen_ai__response__id="1")).add("b", chat(5, gen_ai__response__id="1")).calls() == ["a", "b"]


def test_a_failed_call_of_the_anthropic_sdk_is_the_double_of_the_instrumentors_beside_it() -> None:
    tree = Tree().add("agent", {"gen_ai.operation.name": "invoke_agent"}).add("instrumentor", chat(), "agent")
    tree.add("sdk", chat(), "agent", scope="com.anthropic.sdk.python", at=10, last=50)
    assert tree.calls() == ["instrumentor"]


def test_a_failed_call_of_the_anthropic_sdk_alone_counts() -> None:
    assert Tree().add("sdk", chat(), scope="com.anthropic.sdk.python").add("later", chat(5), at=1000).calls() == ["sdk", "later"]


def test_parents_in_a_circle_end_the_walk() -> None:
    one = spans.span(name="one", span_id=b"1" * 8, parent=b"2" * 8, attributes=chat(5))
    two = spans.span(name="two", span_id=b"2" * 8, parent=b"1" * 8, attributes=chat(5))
    seen = [(view, read_facts(view)) for view in views(one, two)]
    mark_doubles(seen)
    assert sum(facts.is_call for _, facts in seen) <= 1


def test_one_call_alone_is_left_alone() -> None:
    tree = Tree().add("a", chat(5))
    assert mark_doubles(tree.seen) == 0
    assert tree.calls() == ["a"]


def test_the_number_of_doubles_is_returned() -> None:
    assert mark_doubles(Tree().add("outer", chat(5)).add("inner", chat(5), "outer").seen) == 1

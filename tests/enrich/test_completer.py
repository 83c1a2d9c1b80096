"""What only a trace knows, on each of its spans."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.enrich.completer import MAX_DEPTH, MAX_GROWTH_BYTES, MAX_GROWTH_BYTES_PER_SPAN, Completer, Outcome
from sidecar.enrich.facts import Kind
from sidecar.enrich.notes import Note
from sidecar.enrich.said import BEGINNINGS
from sidecar.trace.live import LiveTraces
from sidecar.wire.attributes import decode, encode_string, encode_string_array
from sidecar.wire.shallow_pb2 import Span

TRACE = b"t" * 16
SETTLE_MS = 6000
AGENT = "langfuse.observation.metadata.agent_name"
TEAM = "langfuse.observation.metadata.agent_team"
NAME = "langfuse.trace.name"


def completer(*, llm_only: bool = False, settle_ms: int = SETTLE_MS) -> Completer:
    return Completer(LiveTraces(1 << 20), settle_ms=settle_ms, llm_only=llm_only)


def a_span(span_id: str, parent: str = "", attributes: Mapping[str, str] | None = None, name: str = "work", trace_id: bytes = TRACE) -> Span:
    raws = [encode_string(key, value) for key, value in (attributes or {}).items()]
    return Span(trace_id=trace_id, span_id=span_id.encode(), parent_span_id=parent.encode(), name=name.encode(), attributes=raws)


def note(span: Span, kind: Kind = Kind.SPAN, *, kept: bool = True, tags: tuple[str, ...] = ()) -> Note:
    return Note(span, kind, BEGINNINGS if span.attributes else (), tags=tags, kept=kept)


def says(span: Span) -> dict[str, object]:
    pairs = [decode(raw) for raw in span.attributes]
    assert len({key for key, _ in pairs}) == len(pairs), "no key twice"
    return dict(pairs)


def test_user_session_and_trace_name_reach_every_span_of_a_trace_that_comes_whole() -> None:
    root = a_span("root", attributes={"user.id": "u1", "session.id": "s1"}, name="answer the customer")
    middle, leaf = a_span("mid", "root"), a_span("leaf", "mid")
    done = completer().complete([note(leaf), note(middle), note(root)], 0)
    assert done.seal_at == {}
    for each in (root, middle, leaf):
        assert says(each) == {"user.id": "u1", "session.id": "s1", NAME: "answer the customer"}


def test_what_a_span_says_itself_stands() -> None:
    root = a_span("root", attributes={"user.id": "u1", NAME: "chat", "langfuse.trace.metadata.tier": "gold"})
    child = a_span("child", "root", {"langfuse.user.id": "u2", "langfuse.trace.metadata.tier": "silver"})
    completer().complete([note(root), note(child)], 0)
    assert says(child) == {"langfuse.user.id": "u2", NAME: "chat", "langfuse.trace.metadata.tier": "silver"}


def test_children_that_came_before_their_root_wait_and_are_completed_at_sealing() -> None:
    complete = completer()
    child = a_span("child", "root")
    done = complete.complete([note(child)], 1000)
    assert done.seal_at == {TRACE: 7000} and says(child) == {}
    done = complete.complete([note(a_span("root", attributes={"user.id": "u1"}))], 3000)
    assert done.seal_at == {} and done.released == {TRACE}
    assert complete.complete_row(TRACE, [child]) is True
    assert says(child) == {"user.id": "u1", NAME: "work"}
    assert complete.complete_row(TRACE, [child]) is False, "nothing is added twice"


def test_a_span_that_comes_after_its_root_is_completed_at_once() -> None:
    complete = completer()
    complete.complete([note(a_span("root", attributes={"session.id": "s1"}))], 0)
    late = a_span("late", "root")
    assert complete.complete([note(late)], 60_000).seal_at == {}
    assert says(late)["session.id"] == "s1"


def test_a_root_that_never_comes_holds_nothing_longer_than_the_time_to_settle() -> None:
    complete = completer()
    assert complete.complete([note(a_span("a", "lost"))], 1000).seal_at == {TRACE: 7000}
    assert complete.complete([note(a_span("b", "lost"))], 6999).seal_at == {TRACE: 7000}
    assert complete.complete([note(a_span("c", "lost"))], 7000).seal_at == {}
    complete.complete_row(TRACE, [a_span("a", "lost")])
    assert complete.outcomes[Outcome.WITHOUT_ROOT] == 1


def test_spans_that_say_all_themselves_do_not_wait() -> None:
    whole = {"user.id": "u1", "session.id": "s1", NAME: "chat", AGENT: "pricing"}
    assert completer().complete([note(a_span("a", "lost", whole))], 0).seal_at == {}
    del whole["user.id"]
    assert completer().complete([note(a_span("a", "lost", whole))], 0).seal_at == {TRACE: SETTLE_MS}


def test_the_agent_is_the_nearest_ancestors_with_all_that_is_known_of_it() -> None:
    outer = a_span("outer", attributes={AGENT: "orchestrator", TEAM: "retail"})
    inner = a_span("inner", "outer", {AGENT: "pricing"})
    tool, sibling = a_span("tool", "inner"), a_span("sib", "outer")
    completer().complete([note(outer), note(inner), note(tool), note(sibling)], 0)
    assert says(tool) == {AGENT: "pricing", NAME: "work"}, "the outer agent's team is not the inner agent's"
    assert says(sibling) == {AGENT: "orchestrator", TEAM: "retail", NAME: "work"}
    assert says(inner)[AGENT] == "pricing"


def test_a_model_that_drifted_is_said_of_the_call_alone() -> None:
    call = a_span("call", attributes={AGENT: "pricing", "langfuse.observation.metadata.agent_model_drift": "gpt-9"})
    below = a_span("below", "call")
    completer().complete([note(call), note(below)], 0)
    assert "langfuse.observation.metadata.agent_model_drift" not in says(below)


def test_a_session_said_on_purpose_wins_over_a_conversation_that_is_only_implied() -> None:
    root = a_span("root", attributes={"session.id": "s1"})
    child = a_span("child", "root", {"gen_ai.conversation.id": "thread-7"})
    completer().complete([note(child), note(root)], 0)
    assert says(child)["session.id"] == "s1"


def test_an_implied_session_is_better_than_none() -> None:
    root = a_span("root")
    child, leaf = a_span("child", "root", {"gen_ai.conversation.id": "thread-7"}), a_span("leaf", "child")
    completer().complete([note(leaf), note(child), note(root)], 0)
    assert says(leaf)["session.id"] == "thread-7"
    assert says(root)["session.id"] == "thread-7"
    assert "session.id" not in says(child), "the server reads its conversation"


def test_users_that_differ_are_not_spread_beyond_their_own_branch() -> None:
    root = a_span("root")
    anna, bert = a_span("anna", "root", {"user.id": "anna"}), a_span("bert", "root", {"user.id": "bert"})
    below, aside = a_span("below", "bert"), a_span("aside", "root")
    completer().complete([note(below), note(aside), note(anna), note(bert), note(root)], 0)
    assert says(below)["user.id"] == "bert"
    assert "user.id" not in says(aside) and "user.id" not in says(root)


def test_tags_of_spans_and_of_agents_are_united() -> None:
    root = a_span("root")
    root.attributes.append(encode_string_array("langfuse.trace.tags", ["a", "b"]))
    child = a_span("child", "root", {"langfuse.trace.tags": '["c"]'})
    plain = a_span("plain", "root")
    completer().complete([note(root), note(child), note(plain, tags=("team-x",))], 0)
    assert says(plain)["langfuse.trace.tags"] == '["a","b","c","team-x"]'
    assert says(child)["langfuse.trace.tags"] == '["c","a","b","team-x"]'
    assert says(root)["langfuse.trace.tags"] == '["a","b","c","team-x"]'


def test_a_batch_of_tiny_spans_grows_by_no_more_than_it_may() -> None:
    complete = completer()
    metadata = {f"langfuse.trace.metadata.{number}": "m" * 1000 for number in range(7)}
    root = a_span("root", attributes=metadata)
    tiny = [a_span(f"span-{number}", "root") for number in range(2000)]
    complete.complete([note(each) for each in (root, *tiny)], 0)
    grown = [len(span.attributes) > 0 for span in tiny]
    assert grown == sorted(grown, reverse=True) and 0 < grown.count(False) < 1500
    assert sum(each.ByteSize() for each in tiny) <= MAX_GROWTH_BYTES + 2001 * MAX_GROWTH_BYTES_PER_SPAN + 2000 * 100
    assert complete.outcomes[Outcome.WITHOUT_CONTEXT] == grown.count(False)


def test_a_row_of_tiny_spans_grows_by_no_more_than_it_may_and_takes_no_tags_beyond() -> None:
    complete = completer()
    complete.complete([note(a_span("root"), tags=tuple(f"{number:02}" + "t" * 190 for number in range(64)))], 0)
    tiny = [a_span(f"span-{number}", "root") for number in range(1000)]
    assert complete.complete_row(TRACE, tiny)
    assert sum(each.ByteSize() for each in tiny) <= MAX_GROWTH_BYTES + 1000 * MAX_GROWTH_BYTES_PER_SPAN + 1000 * 100
    assert 500 < complete.outcomes[Outcome.WITHOUT_CONTEXT] < 1000, "each span is counted once"


def test_spans_of_an_ordinary_batch_take_all_that_a_trace_may_say() -> None:
    complete = completer()
    metadata = {f"langfuse.trace.metadata.{number}": "m" * 1000 for number in range(7)}
    spans = [a_span("root", attributes=metadata), *(a_span(f"span-{number}", "root") for number in range(511))]
    complete.complete([note(each) for each in spans], 0)
    assert all(says(each).keys() == {*metadata, NAME} for each in spans) and Outcome.WITHOUT_CONTEXT not in complete.outcomes


def test_a_circle_of_parents_ends() -> None:
    ring = [a_span(str(number), str((number + 1) % 5)) for number in range(5)]
    completer().complete([note(each) for each in ring], 0)
    deep = [a_span("0")] + [a_span(str(number), str(number - 1)) for number in range(1, 3 * MAX_DEPTH)]
    completer().complete([note(each) for each in deep], 0)
    assert says(deep[-1]) == {NAME: "work"}


def test_a_trace_that_is_not_known_any_more_is_left_as_it_is_and_counted() -> None:
    complete = completer()
    assert complete.complete_row(TRACE, [a_span("a", "b")]) is False
    assert complete.outcomes == {Outcome.FORGOTTEN: 1}


def test_children_of_a_span_that_was_left_out_hang_on_its_kept_ancestor() -> None:
    complete = completer(llm_only=True)
    root, http, call = a_span("root"), a_span("http", "root"), a_span("call", "http")
    complete.complete([note(root, Kind.AGENT), note(http, Kind.INFRA, kept=False), note(call, Kind.GENERATION)], 0)
    assert call.parent_span_id == b"root"
    assert complete.outcomes == {Outcome.LEFT_OUT: 1, Outcome.REPARENTED: 1}


def test_the_top_kept_span_becomes_the_root_when_everything_above_was_left_out() -> None:
    server, middle, agent = a_span("server"), a_span("mid", "server"), a_span("agent", "mid")
    notes = [note(agent, Kind.AGENT), note(middle, Kind.INFRA, kept=False), note(server, Kind.INFRA, kept=False)]
    completer(llm_only=True).complete(notes, 0)
    assert agent.parent_span_id == b""


def test_the_top_kept_span_below_another_process_is_marked_as_the_applications_root() -> None:
    server, agent = a_span("server", "gateway"), a_span("agent", "server")
    completer(llm_only=True).complete([note(agent, Kind.AGENT), note(server, Kind.INFRA, kept=False)], 0)
    assert agent.parent_span_id == b"gateway"
    assert says(agent)["langfuse.internal.is_app_root"] is True


def test_a_child_that_comes_after_its_parent_was_left_out_is_hung_up_and_counted() -> None:
    complete = completer(llm_only=True)
    complete.complete([note(a_span("root"), Kind.AGENT), note(a_span("http", "root"), Kind.INFRA, kept=False)], 0)
    late = a_span("late", "http")
    complete.complete([note(late, Kind.TOOL)], 1)
    assert late.parent_span_id == b"root"
    assert complete.outcomes[Outcome.LATE_CHILD] == 1


def test_a_child_that_came_before_its_parent_was_left_out_is_hung_up_at_sealing() -> None:
    complete = completer(llm_only=True)
    call = a_span("call", "http")
    complete.complete([note(call, Kind.GENERATION)], 0)
    complete.complete([note(a_span("http", "root"), Kind.INFRA, kept=False)], 1)
    complete.complete([note(a_span("root"), Kind.AGENT)], 2)
    assert complete.complete_row(TRACE, [call]) is True
    assert call.parent_span_id == b"root"
    assert complete.outcomes[Outcome.LATE_CHILD] == 0


def test_a_trace_without_llm_work_waits_its_time_and_is_left_out_then() -> None:
    complete = completer(llm_only=True)
    root = a_span("root")
    done = complete.complete([note(root)], 1000)
    assert done.seal_at == {TRACE: 7000} and done.released == set()
    assert complete.without_llm(TRACE)
    complete.leave_out(TRACE, [root])
    late = a_span("late", "root")
    done = complete.complete([note(late)], 8000)
    assert done.without_llm == {TRACE}
    call = a_span("call", "late")
    assert complete.complete([note(call, Kind.GENERATION)], 9000).without_llm == set()
    assert call.parent_span_id == b"", "all above it was left out"


def test_llm_work_in_time_keeps_the_whole_trace() -> None:
    complete = completer(llm_only=True)
    complete.complete([note(a_span("root"))], 1000)
    done = complete.complete([note(a_span("call", "root"), Kind.GENERATION)], 2000)
    assert done.released == {TRACE} and not complete.without_llm(TRACE)


@pytest.mark.parametrize("settle_ms", [0, SETTLE_MS])
@given(
    parents=st.lists(st.integers(0, 8), min_size=1, max_size=9),
    kept=st.lists(st.booleans(), min_size=9, max_size=9),
    cuts=st.sets(st.integers(0, 9)),
)
def test_no_kept_span_hangs_on_one_that_was_left_out(settle_ms: int, parents: list[int], kept: list[bool], cuts: set[int]) -> None:
    complete = completer(llm_only=True, settle_ms=settle_ms)
    spans = [a_span(f"{number}", f"{parent}" if parent < number else "") for number, parent in enumerate(parents)]
    notes = [note(each, Kind.TOOL if keep else Kind.INFRA, kept=keep) for each, keep in zip(spans, kept, strict=False)]
    batch: list[Note] = []
    for number, each in enumerate(reversed(notes)):
        batch.append(each)
        if number in cuts:
            complete.complete(batch, 0)
            batch = []
    complete.complete(batch, 0)
    survivors = [each.span for each in notes if each.kept]
    complete.complete_row(TRACE, survivors)
    ids = {each.span_id for each in survivors}
    assert all(not each.parent_span_id or each.parent_span_id in ids for each in survivors)

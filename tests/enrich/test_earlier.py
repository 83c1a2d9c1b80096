"""What earlier requests of a trace showed of its calls: nothing counts twice, and agents that alone carry usage count."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from importlib import resources

import pytest

from sidecar.enrich.completer import Completer
from sidecar.enrich.enricher import Enricher, relate
from sidecar.enrich.prices import PriceBook
from sidecar.trace.live import MAX_CALLS, LiveTraces
from sidecar.wire.batch import SpanBatch, decode_protobuf
from sidecar.wire.mend import mend
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest
from tests.corpus import CorpusRequest, trace_requests
from tests.spans import START_NS, Attributes, request, span

BOOK = PriceBook.load(resources.files("sidecar.enrich").joinpath("prices.json").read_bytes())
SECOND = 10**9
AGENT: Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", "gen_ai.usage.input_tokens": 7}


def chat(tokens: int = 5, answer: str = "", model: str = "gpt-4o") -> Attributes:
    said: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, "gen_ai.usage.input_tokens": tokens}
    return {**said, "gen_ai.response.id": answer} if answer else said


class Traffic:
    """Requests of one trace one after the other; what counts of each."""

    def __init__(self, live_bytes: int = 1 << 20) -> None:
        live = LiveTraces(live_bytes)
        self._enricher = Enricher(BOOK, live=live)
        self._completer = Completer(live, settle_ms=6000)

    def take(self, batch: SpanBatch) -> dict[bytes, int]:
        """Tokens that count, by span."""
        body = batch.request.SerializeToString()
        seen = self._enricher.read(ExportTraceServiceRequest.FromString(body))
        relate(seen, self._enricher.live)
        counted = {view.span_id: facts.usage.total if facts.usage else 0 for view, facts in seen if facts.is_call}
        self._completer.complete(self._enricher(SpanBatch(ExportTraceServiceRequest.FromString(body), 0)), 0)
        return counted

    def send(
        self,
        name: str,
        attributes: Attributes,
        parent: str = "",
        *,
        scope: str = "acme",
        at: tuple[float, float] = (0, 1),
        trace_id: bytes = b"t" * 16,
    ) -> int | None:
        """One request of one span: the tokens that count; None for what is no call, or a call that counted before."""
        one = span(
            span_id=name.ljust(8).encode(),
            parent=parent.ljust(8).encode() if parent else b"",
            trace_id=trace_id,
            attributes=attributes,
            start_ns=START_NS + int(at[0] * SECOND),
            end_ns=START_NS + int(at[1] * SECOND),
        )
        body = request(one)
        body.resource_spans[0].scope_spans[0].scope.name = scope
        return self.take(decode_protobuf(body.SerializeToString())).get(name.ljust(8).encode())


def test_an_agent_counts_where_no_call_was_seen_below_it() -> None:
    assert Traffic().send("agent", AGENT) == 7


def test_an_agent_whose_calls_came_earlier_does_not_count() -> None:
    traffic = Traffic()
    assert traffic.send("call", chat(), "tool") == 5
    assert traffic.send("tool", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ask"}, "agent") is None
    assert traffic.send("agent", AGENT, "root") is None
    assert traffic.send("root", AGENT) is None


def test_a_call_without_tokens_below_an_agent_is_a_call_seen() -> None:
    traffic = Traffic()
    traffic.send("call", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}, "agent")
    assert traffic.send("agent", AGENT) is None


def test_of_agents_in_each_other_the_innermost_counts() -> None:
    traffic = Traffic()
    assert traffic.send("inner", AGENT, "outer") == 7
    assert traffic.send("outer", AGENT, "root") is None


def test_of_agents_in_each_other_in_one_request_the_innermost_counts() -> None:
    outer = span(span_id=b"outer...", attributes=AGENT)
    inner = span(span_id=b"inner...", parent=b"outer...", attributes=AGENT)
    for order in ((outer, inner), (inner, outer)):
        assert Traffic().take(decode_protobuf(request(*order).SerializeToString())) == {b"inner...": 7}


def test_agents_side_by_side_count_each() -> None:
    traffic = Traffic()
    assert [traffic.send("one", AGENT, "root"), traffic.send("two", AGENT, "root")] == [7, 7]
    assert traffic.send("root", {**AGENT, "gen_ai.usage.input_tokens": 14}) is None


def test_a_call_that_comes_after_its_agent_has_counted_is_part_of_it() -> None:
    traffic = Traffic()
    assert traffic.send("tool", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ask"}, "agent") is None
    assert traffic.send("agent", AGENT, "root") == 7
    assert traffic.send("call", chat(), "tool") is None


def test_an_agent_that_is_sent_again_counts_again() -> None:
    traffic = Traffic()
    assert [traffic.send("agent", AGENT), traffic.send("agent", AGENT)] == [7, 7]


def test_what_an_agent_says_to_langfuse_itself_is_left_to_it() -> None:
    said: Attributes = {"langfuse.observation.type": "agent", "langfuse.observation.usage_details": '{"input": 7}'}
    assert Traffic().send("agent", said) is None


def test_a_call_around_one_that_came_earlier_adds_it_up() -> None:
    traffic = Traffic()
    assert traffic.send("inner", chat(), "outer") == 5
    assert traffic.send("outer", chat(), "root") is None


def test_a_call_around_one_without_tokens_counts() -> None:
    traffic = Traffic()
    assert traffic.send("inner", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}, "outer") == 0
    assert traffic.send("outer", chat(), "root") == 5


def test_a_call_inside_a_tool_of_a_call_is_a_call_of_its_own_in_any_order() -> None:
    tool: Attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ask"}
    sent = {"inner": (chat(3), "tool"), "tool": (tool, "outer"), "outer": (chat(5), "root")}
    for order in itertools.permutations(sent):
        traffic = Traffic()
        assert {name: traffic.send(name, *sent[name]) for name in order} == {"inner": 3, "tool": None, "outer": 5}


def test_a_call_inside_one_that_counted_earlier_is_a_double() -> None:
    traffic = Traffic()
    assert traffic.send("outer", chat(), "root") == 5
    assert traffic.send("inner", chat(), "outer") is None


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_the_same_answer_counts_once(order: tuple[str, str]) -> None:
    traffic = Traffic()
    answer = chat(answer="chatcmpl-123456")
    assert [traffic.send(name, answer, "root", scope=name) for name in order] == [5, None]
    assert traffic.send("three", chat(answer="chatcmpl-654321"), "root", scope="three") == 5


def test_the_same_answer_without_tokens_does_not_stop_the_one_with_them() -> None:
    traffic = Traffic()
    polled: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.response.id": "run_123456"}
    assert traffic.send("poll", polled, "root") == 0
    assert traffic.send("done", chat(answer="run_123456"), "root") == 5


def test_the_same_model_tokens_and_time_in_another_scope_are_one_call() -> None:
    traffic = Traffic()
    assert traffic.send("wrapper", chat(), "root", scope="framework", at=(0, 3)) == 5
    assert traffic.send("client", chat(), "root", scope="client", at=(1, 2)) is None
    assert traffic.send("later", chat(), "root", scope="client", at=(2, 4)) == 5
    assert traffic.send("others", chat(6), "root", scope="client", at=(1, 2)) == 6
    assert traffic.send("again", chat(), "root", scope="framework", at=(1, 2)) == 5
    assert traffic.send("model", chat(model="o3"), "root", scope="client", at=(1, 2)) == 5


def test_calls_with_different_answers_are_two_however_alike() -> None:
    traffic = Traffic()
    assert [traffic.send(name, chat(answer=f"chatcmpl-{name}"), "root", scope=name) for name in ("a", "b")] == [5, 5]


def test_a_call_that_is_sent_again_is_itself() -> None:
    traffic = Traffic()
    answer = chat(answer="chatcmpl-123456")
    assert [traffic.send("call", answer, "root") for _ in range(3)] == [5, 5, 5]


def test_calls_of_other_traces_do_not_matter() -> None:
    traffic = Traffic()
    assert [traffic.send("call", chat(), "root", scope=name.decode(), trace_id=name) for name in (b"a" * 16, b"b" * 16)] == [5, 5]


def test_an_answer_counts_once_whichever_trace_it_is_seen_in() -> None:
    traffic = Traffic()
    answer = chat(answer="chatcmpl-123456")
    assert [traffic.send(name, answer, scope=name, trace_id=name.encode() * 16) for name in "ab"] == [5, None]


def test_only_the_newest_calls_of_a_trace_are_remembered() -> None:
    traffic = Traffic()
    for number in range(MAX_CALLS + 1):
        assert traffic.send(f"c{number}", chat(number + 1), "root") == number + 1
    assert traffic.send("new", chat(MAX_CALLS + 1), "root", scope="client") is None
    assert traffic.send("old", chat(1), "root", scope="client") == 1


def test_a_circle_of_parents_ends() -> None:
    traffic = Traffic()
    traffic.send("a", chat(), "b")
    traffic.send("b", {}, "a")
    assert traffic.send("c", chat(1), "b") is None  # it lies in a, which counted


def scenarios() -> Iterable[list[CorpusRequest]]:
    for _, sent in itertools.groupby(trace_requests(), key=lambda each: each.name.rpartition("/")[0]):
        yield list(sent)


def test_no_capture_counts_more_when_its_spans_come_one_by_one_in_the_order_of_their_ends() -> None:
    compared = 0
    for sent in scenarios():
        whole = ExportTraceServiceRequest()
        for each in sent:
            batch = decode_json(each.body) if each.is_json else decode_protobuf(each.body)
            mend(batch)
            whole.MergeFrom(batch.request)
        together = sum(Traffic(64 << 20).take(SpanBatch(whole, 0)).values())
        apart, traffic = 0, Traffic(64 << 20)
        for one in one_by_one(whole):
            apart += sum(traffic.take(SpanBatch(one, 1)).values())
        assert 0.99 * together <= apart <= together, sent[0].name  # of two instrumentations of a call that differ by a token, the first counts
        compared += together > 0
    assert compared > 50


def one_by_one(whole: ExportTraceServiceRequest) -> list[ExportTraceServiceRequest]:
    """A request for each span, the first ended first."""
    found: list[tuple[int, int, ExportTraceServiceRequest]] = []
    for resource_spans in whole.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for each in scope_spans.spans:
                one = ExportTraceServiceRequest()
                holder = one.resource_spans.add(resource=resource_spans.resource).scope_spans.add(scope=scope_spans.scope)
                holder.spans.append(each)
                found.append((each.end_time_unix_nano, len(found), one))
    return [one for *_, one in sorted(found)]

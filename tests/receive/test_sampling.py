"""Sampling on the way in: what is kept says how it was chosen, what is dropped is counted and may come back, and a refusal leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import yaml
from opentelemetry.proto.trace.v1 import trace_pb2
from prometheus_client import CollectorRegistry

from sidecar.config import Sampling
from sidecar.enrich.agents import AgentBook, parse_agents
from sidecar.enrich.completer import Completer
from sidecar.enrich.enricher import Enricher
from sidecar.enrich.limits import Limits
from sidecar.enrich.prices import PriceBook
from sidecar.errors import BufferFull
from sidecar.observe.metrics import Metrics
from sidecar.receive.agent_metrics import AgentMetrics
from sidecar.receive.intake import Intake, Payload
from sidecar.receive.masking import nothing_masked
from sidecar.receive.pieces import PIECE_BYTES
from sidecar.receive.pipeline import Enrichment, Pipeline
from sidecar.receive.sampling import Sampler, keep_rules_file
from sidecar.sample.decision import ADJUSTED_COUNT, DEGRADED, PROBABILITY, RESCUED, RULE, TORN, Priority
from sidecar.trace.live import LiveTraces
from sidecar.wire.encoding import Encoding
from sidecar.wire.rows import NewRow
from tests.fakes.clock import FakeClock
from tests.fakes.langfuse_mapping import plain_attributes
from tests.receive.rig import LOG, ListBuffer, OneDestination
from tests.receive.test_pipeline import TABLE, WITH_CONTENT, child, root, sealed, spans_in
from tests.receive.test_pipeline import line as pipeline_line
from tests.spans import Attributes, request, span

LOW, HIGH = (1).to_bytes(16, "big"), bytes(9) + b"\xff" * 7
"""Ids of traces with the lowest and the highest R."""
NO_MINIMUM = {"minimum_per_minute": 0}


@dataclass
class Line:
    """An intake with sampling over a buffer that is a list."""

    intake: Intake
    sampler: Sampler
    buffer: ListBuffer
    clock: FakeClock
    metrics: Metrics
    number: int = 0

    def send(self, *sent: trace_pb2.Span) -> None:
        """One request."""
        body = request(*sent).SerializeToString()
        asyncio.run(self.intake.submit(Payload(body, Encoding.PROTOBUF, "http")))

    def refuse(self, *sent: trace_pb2.Span) -> None:
        self.buffer.error = BufferFull("the buffer is full")
        with pytest.raises(BufferFull):
            self.send(*sent)
        self.buffer.error = None

    def span(self, trace_id: bytes = LOW, *, error: str | None = None, attributes: Attributes | None = None, state: str = "") -> trace_pb2.Span:
        self.number += 1
        made = span(trace_id=trace_id, span_id=self.number.to_bytes(8, "big"), parent=b"\x01" * 8, name="step", error=error, attributes=attributes)
        made.trace_state = state
        return made

    def pass_time(self, seconds: float) -> None:
        asyncio.run(self.clock.advance(seconds))

    @property
    def rows(self) -> Sequence[NewRow]:
        """Of the last commit."""
        return self.buffer.appends[-1].rows

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"sidecar_sampling_{name}", labels) or 0.0


def line(probability: float = 1.0, *, rules: object = None, agents: Sequence[object] = (), llm_only: bool = False, limbo_mib: float = 1.0) -> Line:
    metrics, clock, buffer = Metrics(CollectorRegistry()), FakeClock(), ListBuffer()
    enricher = Enricher(PriceBook.load(TABLE), AgentBook(parse_agents({"agents": list(agents)})), llm_only=llm_only)
    parts = Enrichment(enricher, Completer(LiveTraces(1 << 20), settle_ms=6000, llm_only=llm_only), Limits(), AgentMetrics(), metrics, LOG)
    settings = Sampling(limbo_mib=limbo_mib, decisions_mib=1)
    file = keep_rules_file(settings, {})
    file._good = (file._parse(NO_MINIMUM if rules is None else rules),)
    sampler = Sampler(file, settings, enricher.use_find, clock, metrics)
    sampler.probability = probability
    intake = Intake(buffer, OneDestination(), Pipeline(nothing_masked, parts), clock, metrics, LOG, sampler=sampler)
    return Line(intake, sampler, buffer, clock, metrics)


def says(row: NewRow) -> list[dict[str, object]]:
    return [dict(plain_attributes(each.attributes)) for each in spans_in(row)]


def test_while_nothing_presses_every_span_passes_as_it_came() -> None:
    to = line()
    to.send(to.span(LOW), to.span(HIGH))

    assert to.buffer.ledger == {"received": 2, "stored": 2}
    assert [(row.threshold, row.priority) for row in to.rows] == [(0, 0), (0, 0)]
    assert not any("sampling" in key for row in to.rows for each in says(row) for key in each)
    assert to.count("adjusted_spans_total", agent="unknown") == 2


def test_what_is_kept_says_so_and_what_is_dropped_is_counted() -> None:
    to = line(0.25)
    to.send(to.span(LOW), to.span(LOW), to.span(HIGH))

    assert to.buffer.ledger == {"received": 3, "stored": 1, "sampled/probability": 2}
    (kept,) = to.rows
    assert (kept.trace_id, kept.threshold, kept.priority) == (HIGH, 3 << 54, Priority.CHANCE)
    (said,) = says(kept)
    assert (said[PROBABILITY], said[ADJUSTED_COUNT]) == ("0.25", "4")
    assert spans_in(kept)[0].trace_state == "ot=th:c"
    assert to.count("adjusted_spans_total", agent="unknown") == 4
    assert to.sampler.limbo.rows == 1


def test_rows_carry_the_rule_that_their_trace_meets_while_nothing_is_sampled() -> None:
    """A backlog may have to be shed later, and errors go last."""
    to = line()
    to.send(to.span(LOW, error="boom"))
    to.send(to.span(HIGH, attributes={"user.feedback": "bad"}))

    assert [append.rows[0].priority for append in to.buffer.appends] == [Priority.ERROR, Priority.RULE]
    assert RULE not in says(to.rows[0])[0]


def test_a_late_error_brings_back_what_was_dropped_of_its_trace() -> None:
    to = line(0.01)
    to.send(to.span())
    to.send(to.span(), to.span())
    to.pass_time(20)
    to.send(to.span(error="boom"))

    assert to.buffer.ledger == {"received": 4, "rescued": 3, "stored": 4, "sampled/probability": 3}
    assert [(row.spans, row.priority, row.seal_at_ms) for row in to.rows[:2]] == [
        (1, Priority.ERROR, to.clock.wall_ms()),
        (2, Priority.ERROR, to.clock.wall_ms()),
    ]
    assert [(each[RESCUED], each[ADJUSTED_COUNT]) for row in to.rows[:2] for each in says(row)] == [("true", "0")] * 3
    (last,) = says(to.rows[2])
    assert (last[RULE], last[ADJUSTED_COUNT]) == ("errors", "1")
    assert to.sampler.limbo.rows == 0

    to.send(to.span())
    assert says(to.rows[0])[0][RULE] == "errors"


def test_a_rescue_that_comes_too_late_is_marked_on_all_that_is_left() -> None:
    to = line(0.01)
    to.send(to.span())
    to.pass_time(20)
    to.send(to.span())
    to.pass_time(15)
    to.send(to.span(error="boom"))

    assert to.buffer.ledger["rescued"] == 1
    assert [each[TORN] for row in to.rows for each in says(row)] == ["true", "true"]
    assert to.count("torn_rescues_total") == 1
    to.send(to.span())
    assert says(to.rows[0])[0][TORN] == "true"


def test_a_refused_request_leaves_no_trace() -> None:
    to = line(0.01)
    first, wanted = to.span(), to.span(error="boom")
    to.refuse(first)
    assert (to.sampler.limbo.rows, to.count("adjusted_spans_total", agent="unknown")) == (0, 0)
    to.send(first)
    to.refuse(wanted)
    assert to.sampler.limbo.rows == 1
    to.send(wanted)

    assert to.buffer.ledger == {"received": 2, "rescued": 1, "stored": 2, "sampled/probability": 1}
    assert all(TORN not in each for row in to.rows for each in says(row))


def test_cost_of_refused_attempts_is_not_added_up() -> None:
    to = line(0.01, rules={**NO_MINIMUM, "keep": {"cost_usd": 1.0}})
    call: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.cost": 0.4}
    again = to.span(attributes=call)
    for _ in range(5):
        to.refuse(again)
    to.send(again)

    assert to.buffer.ledger == {"received": 1, "sampled/probability": 1}


def test_an_error_rescues_what_the_same_large_request_dropped_before() -> None:
    to = line(0.01)
    filler: Attributes = {"text": "x" * (PIECE_BYTES // 2)}
    to.send(to.span(attributes=filler), to.span(attributes=filler), to.span(attributes=filler), to.span(error="boom"))

    assert to.buffer.ledger == {"received": 4, "rescued": 2, "stored": 4, "sampled/probability": 2}


def test_an_error_that_enrichment_could_not_read_is_kept_all_the_same() -> None:
    to = line(0.01)
    to.sampler._use_find(None)  # type: ignore[arg-type]  # as if nobody had judged the spans
    to.send(to.span(error="boom"))
    to.send(to.span(HIGH[:1] + LOW[1:-1] + b"\x02"))

    assert to.buffer.ledger == {"received": 2, "stored": 1, "sampled/probability": 1}


def test_traces_that_the_filter_leaves_out_are_no_matter_of_sampling() -> None:
    to = line(0.01, llm_only=True)
    web: Attributes = {"http.request.method": "GET"}
    to.send(to.span(attributes=web))
    to.pass_time(7)
    to.send(to.span(), to.span(attributes=web))

    assert to.buffer.ledger["filtered"] == 3
    assert len(to.sampler.decisions) == 0


def test_adjusted_counts_are_by_agents_that_the_operator_named_and_by_nobody_else() -> None:
    to = line(0.5, agents=[{"match": "planner*", "name": "planner", "team": "a"}])
    named: Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner-7"}
    secret: Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "alice@example.org"}
    to.send(to.span(HIGH, attributes=named), to.span(HIGH))
    to.send(to.span(HIGH[:-2] + b"\xfe\xfe", attributes=secret))

    assert to.count("adjusted_spans_total", agent="planner") == 4
    assert to.count("adjusted_spans_total", agent="unknown") == 2


def test_an_incoming_probability_and_randomness_are_heeded() -> None:
    to = line(0.5)
    to.send(to.span(LOW, state="ot=th:c;rv:ffffffffffffff"))

    (row,) = to.rows
    assert (row.randomness, row.threshold) == ((1 << 56) - 1, 3 << 54)
    assert says(row)[0][ADJUSTED_COUNT] == "4"


def test_usage_counts_what_came_and_what_was_kept_once_it_is_committed() -> None:
    to = line(0.5)
    root = to.span(HIGH)
    root.parent_span_id = b""
    to.refuse(root)
    to.send(root)
    to.send(to.span(LOW))
    usage = to.sampler.take_usage()

    assert (usage.offered_units, usage.kept_units) == (3, 2)
    assert 0 < usage.kept_bytes < usage.offered_bytes
    assert to.sampler.take_usage().offered_units == 0


def test_new_rules_hold_for_what_comes_from_then_on() -> None:
    to = line(0.01)
    to.send(to.span(LOW, attributes={"tier": "gold"}))
    assert to.buffer.ledger["stored"] == 0
    rules = yaml.safe_load("{minimum_per_minute: 0, rules: [{name: gold, match: {attribute: tier}}]}")
    to.sampler.file._good = (to.sampler.file._parse(rules),)
    to.sampler.renew()
    to.send(to.span(LOW, attributes={"tier": "gold"}))

    assert to.buffer.ledger["stored"] == 2
    assert says(to.rows[1])[0][RULE] == "gold"


def test_a_row_that_passed_a_higher_threshold_while_it_settled_says_so_when_it_is_sealed() -> None:
    """The backlog around it was shed, so it stands for more."""
    to = pipeline_line()
    (row,) = to.send(child(WITH_CONTENT))
    raised = sealed(to, replace(row, threshold=3 << 54))
    (only,) = spans_in(raised)

    assert only.trace_state == "ot=th:c"
    assert says(raised)[0][ADJUSTED_COUNT] == "4"
    assert raised.threshold == 3 << 54


def test_while_it_presses_values_are_cut_harder_and_spans_say_so() -> None:
    to = pipeline_line()
    assert to.parts is not None
    long: Attributes = {**WITH_CONTENT, "input.value": "word " * 2000}
    rows = []
    for limit in (None, 4096, 1 << 30):
        to.parts.cut_harder(limit)
        (row,) = to.send(root(long))
        rows.append(row)

    whole, cut, again = (says(row)[0] for row in rows)
    assert len(str(cut["input.value"])) < 4096 < len(str(whole["input.value"]))
    assert whole["input.value"] == again["input.value"]
    assert [each.get(DEGRADED) for each in (whole, cut, again)] == [None, "true", None]
    assert to.metrics.registry.get_sample_value("sidecar_sampling_degraded_spans_total") == 1

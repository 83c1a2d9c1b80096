from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.enrich.completer import Completed, Counted
from sidecar.errors import BufferBroken, BufferFull, MalformedPayload, Overloaded, Unexpected
from sidecar.receive.intake import Accepted, Payload
from sidecar.receive.meter import Signal
from sidecar.receive.pipeline import Processed
from sidecar.trace.measure import Measure
from sidecar.wire.batch import SpanBatch
from sidecar.wire.encoding import Encoding
from tests.receive.rig import Rig, make_rig, run
from tests.spans import TRACE_ID, many, request, span
from tests.waiting import until


def payload(message: ExportTraceServiceRequest | bytes, encoding: Encoding = Encoding.PROTOBUF, public_key: str | None = None) -> Payload:
    body = message if isinstance(message, bytes) else message.SerializeToString()
    return Payload(body, encoding, "http", public_key)


def submit(rig: Rig, sent: Payload) -> Accepted:
    return run(rig.intake.submit(sent))


def json_request(*names: str) -> bytes:
    spans = [{"traceId": "0102030405060708090A0b0c0d0e0f10", "spanId": f"{number:016x}", "name": name} for number, name in enumerate(names, start=1)]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


def test_spans_are_committed_before_the_answer() -> None:
    async def scene() -> None:
        rig = make_rig()
        rig.buffer.gate.clear()
        task = asyncio.create_task(rig.intake.submit(payload(request(span(name="chat")))))
        await until(lambda: rig.buffer.waiting == 1)
        assert not task.done()
        rig.buffer.gate.set()
        assert await task == Accepted()
        assert rig.buffer.names == {"chat": 1}

    run(scene())


def test_each_trace_is_a_row_and_the_ledger_adds_up() -> None:
    rig = make_rig()
    assert submit(rig, payload(many(traces=5, spans_per_trace=4, bytes_per_span=1000))) == Accepted()
    (append,) = rig.buffer.appends
    assert sorted(row.spans for row in append.rows) == [4] * 5
    assert all(row.seal_at_ms is None and row.destination == "default" for row in append.rows)
    assert rig.buffer.ledger == {"received": 20, "stored": 20}


def test_json_becomes_the_same_rows() -> None:
    rig = make_rig()
    assert submit(rig, payload(json_request("plan", "act"), Encoding.JSON)) == Accepted()
    assert rig.buffer.names == {"plan": 1, "act": 1}


def test_one_bad_span_is_rejected_with_a_reason_and_its_neighbours_are_kept() -> None:
    rig = make_rig()
    accepted = submit(rig, payload(request(span(name="good"), span(name="bad", trace_id=b"short"), span(name="good too"))))
    assert accepted.rejected == 1
    assert accepted.message
    assert "short" not in accepted.message
    assert rig.buffer.names == {"good": 1, "good too": 1}
    assert rig.buffer.ledger == {"received": 3, "stored": 2, "invalid_trace_id": 1}
    assert rig.count("sidecar_receiver_rejected_spans_total", transport="http", reason="invalid_trace_id") == 1
    assert rig.count("sidecar_receiver_accepted_spans_total", transport="http") == 2


def test_mends_are_counted() -> None:
    rig = make_rig()
    assert submit(rig, payload(request(span(parent=bytes(8))))) == Accepted()
    assert rig.count("sidecar_receiver_mended_spans_total", mend="parent_span_id") == 1


def test_what_is_not_otlp_is_malformed_and_reaches_no_buffer() -> None:
    rig = make_rig()
    for encoding in Encoding:
        with pytest.raises(MalformedPayload):
            submit(rig, payload(b"\x0a\xff{", encoding))
    assert rig.buffer.appends == []


@pytest.mark.parametrize(
    "empty", [payload(b""), payload(b"{}", Encoding.JSON), payload(b"", Encoding.JSON), payload(request()), payload(ExportTraceServiceRequest())]
)
def test_an_empty_request_succeeds_without_touching_the_buffer(empty: Payload) -> None:
    rig = make_rig()
    for _ in range(2):
        assert submit(rig, empty) == Accepted()
    assert rig.buffer.appends == []


def test_a_repeated_body_is_answered_as_before_and_counted_as_duplicate() -> None:
    rig = make_rig()
    sent = payload(request(span(name="chat"), span(span_id=b"")))
    first = submit(rig, sent)
    assert submit(rig, sent) == first
    assert first.rejected == 1
    assert rig.buffer.names == {"chat": 1}
    assert rig.buffer.ledger == {"received": 4, "stored": 1, "invalid_span_id": 1, "duplicate": 2}
    assert rig.count("sidecar_receiver_rejected_spans_total", transport="http", reason="duplicate") == 2


def test_the_same_body_of_another_project_is_no_repeat() -> None:
    rig = make_rig()
    for public_key in ("pk-lf-1", "pk-lf-2", None):
        submit(rig, payload(request(span(name="chat")), public_key=public_key))
    assert rig.buffer.ledger == {"received": 3, "stored": 3}
    assert rig.route.public_keys == ["pk-lf-1", "pk-lf-2", None]


def test_a_repeat_while_the_first_is_in_flight_awaits_the_same_commit() -> None:
    async def scene() -> None:
        rig = make_rig()
        rig.buffer.gate.clear()
        tasks = [asyncio.create_task(rig.intake.submit(payload(request(span(name="chat"))))) for _ in range(3)]
        await until(lambda: rig.buffer.waiting == 1)
        assert not any(task.done() for task in tasks)
        rig.buffer.gate.set()
        assert await asyncio.gather(*tasks) == [Accepted()] * 3
        assert rig.buffer.ledger == {"received": 3, "stored": 1, "duplicate": 2}

    run(scene())


def test_a_failed_commit_fails_its_repeats_too_and_is_not_remembered() -> None:
    async def scene() -> None:
        rig = make_rig()
        rig.buffer.gate.clear()
        rig.buffer.error = BufferFull("the buffer is full")
        tasks = [asyncio.create_task(rig.intake.submit(payload(request(span())))) for _ in range(2)]
        await until(lambda: rig.buffer.waiting == 1)
        rig.buffer.gate.set()
        assert await asyncio.gather(*tasks, return_exceptions=True) == [rig.buffer.error] * 2
        rig.buffer.error = None
        assert await rig.intake.submit(payload(request(span()))) == Accepted()
        assert rig.buffer.ledger == {"received": 1, "stored": 1}

    run(scene())


def test_in_discard_mode_spans_are_accepted_and_counted_filtered() -> None:
    def fail(_: SpanBatch) -> None:
        raise AssertionError("no stage runs for spans that are discarded")

    rig = make_rig((fail,), discard=True)
    accepted = submit(rig, payload(request(span(), span(trace_id=b""), span())))
    assert accepted.rejected == 1
    assert rig.buffer.ledger == {"received": 3, "filtered": 2, "invalid_trace_id": 1}


def test_stages_run_in_their_order_and_may_reject_spans() -> None:
    seen: list[str] = []

    def first(batch: SpanBatch) -> None:
        seen.append("first")
        del batch.request.resource_spans[0].scope_spans[0].spans[0]
        batch.reject("unmaskable", "resource_spans[0] scope_spans[0] spans[0] could not be masked.")

    def second(_: SpanBatch) -> None:
        seen.append("second")

    rig = make_rig((first, second))
    accepted = submit(rig, payload(request(span(name="one"), span(name="two"))))
    assert seen == ["first", "second"]
    assert accepted == Accepted(1, "resource_spans[0] scope_spans[0] spans[0] could not be masked.")
    assert rig.buffer.ledger == {"received": 2, "stored": 1, "unmaskable": 1}


def test_a_stage_that_crashes_keeps_nothing_and_leaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def crash(_: SpanBatch) -> None:
        raise ValueError("secret-in-the-payload")

    rig = make_rig((crash,))
    caplog.set_level(logging.DEBUG, "sidecar")
    for _ in range(3):
        with pytest.raises(Unexpected) as failed:
            submit(rig, payload(request(span())))
        assert "secret" not in str(failed.value)
        assert failed.value.__cause__ is None
    assert rig.buffer.appends == []
    (record,) = (record for record in caplog.records if record.name.startswith("sidecar"))
    assert record.levelname == "ERROR"
    assert vars(record)["error"] == "ValueError"
    assert "secret" not in str(vars(record))
    assert (failed.value.http_status, failed.value.grpc_code, failed.value.retry_after_s) == (500, 13, None)


def test_a_stage_that_loses_a_span_without_saying_so_is_an_error() -> None:
    def lose(batch: SpanBatch) -> None:
        batch.request.ClearField("resource_spans")

    rig = make_rig((lose,))
    with pytest.raises(Unexpected):
        submit(rig, payload(request(span())))
    assert rig.buffer.appends == []


@pytest.mark.parametrize("error", [BufferBroken("the file is damaged"), RuntimeError("disk on fire")])
def test_a_buffer_that_fails_asks_the_client_to_come_back(error: Exception) -> None:
    rig = make_rig()
    rig.buffer.error = error
    with pytest.raises(Overloaded) as refused:
        submit(rig, payload(request(span())))
    assert refused.value.retry_after_s == 5.0
    assert "fire" not in str(refused.value)


def test_a_full_buffer_says_so() -> None:
    rig = make_rig()
    rig.buffer.error = BufferFull("the buffer is full")
    with pytest.raises(BufferFull):
        submit(rig, payload(request(span())))
    assert rig.count("sidecar_receiver_accepted_spans_total", transport="http") == 0


OTHER_TRACE = TRACE_ID[::-1]


class Verdicts:
    """Answers each batch with the next of some verdicts."""

    def __init__(self, *verdicts: Completed) -> None:
        self.verdicts = list(verdicts)
        self.counted: list[Counted] = []

    async def process(self, batch: SpanBatch, body: bytes, now_ms: int) -> Processed:  # noqa: ARG002  (as the protocol has it)
        return Processed(self.verdicts.pop(0))

    def count(self, counted: Iterable[Counted]) -> None:
        self.counted += counted

    async def take_logs(self, body: bytes, encoding: Encoding, now_ms: int) -> None:  # noqa: ARG002  (as the protocol has it)
        raise AssertionError("no logs are sent")


def test_rows_wait_are_released_and_are_left_out_as_their_trace_asks() -> None:
    rig = make_rig(process=Verdicts(Completed(seal_at={TRACE_ID: 77}), Completed(released={TRACE_ID}, without_llm={OTHER_TRACE})))
    submit(rig, payload(request(span(trace_id=TRACE_ID))))
    assert rig.buffer.hastened == []
    submit(rig, payload(request(span(trace_id=TRACE_ID), span(trace_id=OTHER_TRACE), span(trace_id=OTHER_TRACE))))
    assert rig.buffer.hastened == [{TRACE_ID}]
    (waiting,), (sealed,) = (append.rows for append in rig.buffer.appends)
    assert (waiting.seal_at_ms, sealed.seal_at_ms) == (77, None)
    assert rig.buffer.ledger == {"received": 4, "stored": 2, "filtered": 2}


def test_spans_that_a_step_takes_out_are_counted_filtered() -> None:
    def take(batch: SpanBatch) -> None:
        del batch.request.resource_spans[0].scope_spans[0].spans[0]
        batch.filtered += 1

    rig = make_rig((take,))
    submit(rig, payload(request(span(name="one"), span(name="two"))))
    assert rig.buffer.ledger == {"received": 2, "stored": 1, "filtered": 1}


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_body_of_many_mib_is_processed_in_pieces_and_committed_at_once(encoding: Encoding) -> None:
    class Breaths:
        count = 0

        def __call__(self, _: SpanBatch) -> None:
            self.count += 1

    stage = Breaths()
    rig = make_rig((stage,))
    names = [f"span {number} {'x' * 3000}" for number in range(1200)]
    if encoding is Encoding.JSON:
        body = json_request(*names, "bad").replace(f'"{len(names) + 1:016x}"'.encode(), b'"no hex"')
    else:
        spans = [span(name=name, span_id=number.to_bytes(8)) for number, name in enumerate(names, start=1)]
        body = request(*spans, span(span_id=b"no")).SerializeToString()
    accepted = submit(rig, payload(body, encoding))
    assert accepted.rejected == 1
    assert accepted.message
    assert stage.count >= 4
    assert len(rig.buffer.appends) == 1
    assert sum(rig.buffer.names.values()) == len(names)
    assert rig.buffer.ledger["received"] == len(names) + 1


def test_logs_and_metrics_are_counted() -> None:
    rig = make_rig()
    rig.intake.discard(Signal.LOGS, "grpc", 10)
    assert rig.count("sidecar_receiver_discarded_items_total", transport="grpc", signal="logs") == 1
    assert rig.count("sidecar_receiver_request_bytes_total", transport="grpc") == 10
    assert rig.buffer.appends == []


def measured(cost_usd: float) -> Counted:
    return ("pricing", "", Measure(TRACE_ID, "generation", cost_usd=cost_usd))


def test_what_spans_count_for_is_counted_once_they_are_committed() -> None:
    """A client that is refused sends them again."""
    verdicts = Verdicts(Completed(counted=[measured(1.0)]), Completed(counted=[measured(1.0)]))
    rig = make_rig(process=verdicts)
    rig.buffer.error = BufferFull("the buffer is full")
    with pytest.raises(BufferFull):
        submit(rig, payload(request(span(trace_id=TRACE_ID))))
    assert verdicts.counted == []

    rig.buffer.error = None
    submit(rig, payload(request(span(trace_id=TRACE_ID))))
    submit(rig, payload(request(span(trace_id=TRACE_ID))))

    assert verdicts.counted == [measured(1.0)], "a repeated body counts nothing"

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import grpc
import pytest
from grpc import aio
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sidecar.config import Auth, Secret
from sidecar.errors import BufferFull, Overloaded
from sidecar.receive.grpc import Reading
from sidecar.wire import answer_pb2
from sidecar.wire.batch import SpanBatch
from tests.receive.grpc_rig import BODY, LOGS, METRICS, TRACES, GrpcRig, loopback, on_grpc
from tests.receive.rig import INSTANCE, MIB, make_rig
from tests.spans import many, request, span
from tests.waiting import until


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_spans_are_committed_and_answered_without_partial_success(compression: object) -> None:
    async def scene(target: GrpcRig) -> None:
        assert await target.export(many(2, 3, 1000).SerializeToString(), compression=compression) == b""
        assert target.buffer.ledger == {"received": 6, "stored": 6}
        assert target.outcomes("grpc") == {("traces", "ok"): 1}
        assert target.count("sidecar_receiver_accepted_spans_total", transport="grpc") == 6

    on_grpc(scene)


def test_an_empty_request_succeeds() -> None:
    async def scene(target: GrpcRig) -> None:
        assert await target.export(b"") == b""
        assert target.buffer.appends == []

    on_grpc(scene)


def test_spans_rejected_one_by_one_are_told_as_partial_success() -> None:
    async def scene(target: GrpcRig) -> None:
        answer = await target.export(request(span(name="good"), span(trace_id=b"bad")).SerializeToString())
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
        assert partial.rejected_spans == 1
        assert partial.error_message
        assert target.buffer.names == {"good": 1}

    on_grpc(scene)


@pytest.mark.parametrize(("method", "signal"), [(LOGS, "logs"), (METRICS, "metrics")])
def test_logs_and_metrics_are_accepted_whatever_they_hold(method: str, signal: str) -> None:
    async def scene(target: GrpcRig) -> None:
        for body in (b"", b"anything"):
            assert await target.export(body, method) == b""
        assert target.count("sidecar_receiver_discarded_items_total", transport="grpc", signal=signal) == 2
        assert target.buffer.appends == []

    on_grpc(scene)


@pytest.mark.parametrize("method", ["/opentelemetry.proto.collector.trace.v1.TraceService/Import", "/some.Service/Export"])
def test_another_method_is_unimplemented(method: str) -> None:
    async def scene(target: GrpcRig) -> None:
        assert (await target.refused(method=method)).code is grpc.StatusCode.UNIMPLEMENTED

    on_grpc(scene)


def test_what_is_not_otlp_is_invalid_argument_with_a_status() -> None:
    async def scene(target: GrpcRig) -> None:
        refusal = await target.refused(b"\x0a\xff")
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.status is not None
        assert (refusal.status.code, refusal.status.message) == (3, refusal.message)
        assert target.outcomes("grpc") == {("traces", "malformed"): 1}

    on_grpc(scene)


@pytest.mark.parametrize("error", [BufferFull("the buffer is full", 7.5), Overloaded("too much", 7.5)])
def test_a_refused_commit_is_unavailable_with_retry_info_and_the_next_one_passes(error: Exception) -> None:
    async def scene(target: GrpcRig) -> None:
        target.buffer.error = error
        refusal = await target.refused()
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.status is not None
        (detail,) = refusal.status.details
        assert detail.type_url == "type.googleapis.com/google.rpc.RetryInfo"
        delay = answer_pb2.RetryInfo.FromString(detail.value).retry_delay
        assert (delay.seconds, delay.nanos) == (7, 500_000_000)
        target.buffer.error = None
        assert await target.export() == b""

    on_grpc(scene)


def test_our_own_failure_is_internal_and_not_to_be_retried() -> None:
    def crash(_: SpanBatch) -> None:
        raise KeyError("secret")

    async def scene(target: GrpcRig) -> None:
        refusal = await target.refused()
        assert refusal.code is grpc.StatusCode.INTERNAL
        assert refusal.status is not None and not refusal.status.details
        assert "secret" not in refusal.message

    on_grpc(scene, rig=lambda: make_rig((crash,)))


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_a_message_at_the_limit_is_taken_and_one_byte_more_is_resource_exhausted(compression: object) -> None:
    async def scene(target: GrpcRig) -> None:
        padding = MIB - len(BODY) - 6
        at_limit = BODY + b"\xd2\x3e" + bytes((padding & 0x7F | 0x80, padding >> 7 & 0x7F | 0x80, padding >> 14 & 0x7F | 0x80, 0)) + bytes(padding)
        assert len(at_limit) == MIB
        assert await target.export(at_limit, compression=compression) == b""
        refusal = await target.refused(at_limit + b"\0", compression=compression)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.status is None, "with RetryInfo the client would send it again"
        await until(lambda: target.outcomes("grpc") == {("traces", "ok"): 1, ("traces", "too_large"): 1})

    on_grpc(scene, loopback(max_body_mib=1))


def test_a_gzip_bomb_is_resource_exhausted() -> None:
    async def scene(target: GrpcRig) -> None:
        refusal = await target.refused(bytes(100 * MIB), compression=grpc.Compression.Gzip)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED

    on_grpc(scene, loopback(max_body_mib=4))


def test_fifty_thousand_spans_pass_at_the_default_limit() -> None:
    async def scene(target: GrpcRig) -> None:
        body = request(*(span(name="x" * 300, span_id=number.to_bytes(8)) for number in range(1, 50_001))).SerializeToString()
        assert len(body) > 4 * MIB
        assert await target.export(body) == b""
        assert target.buffer.ledger == {"received": 50_000, "stored": 50_000}

    on_grpc(scene)


def test_without_room_in_the_budget_a_call_is_unavailable() -> None:
    async def scene(target: GrpcRig) -> None:
        async with target.budget.take(1000), target.budget.take(1000), target.budget.take(1000), target.budget.take(1000):
            assert (await target.refused()).code is grpc.StatusCode.UNAVAILABLE
        assert await target.export() == b""
        assert target.budget.bytes == 0

    on_grpc(scene, rig=lambda: make_rig(in_flight_bytes=4000))


def test_wrong_credentials_are_unauthenticated() -> None:
    async def scene(target: GrpcRig) -> None:
        for metadata in ((), (("authorization", "Bearer wrong"),)):
            refusal = await target.refused(metadata=metadata)
            assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
            assert (await target.refused(method=LOGS, metadata=metadata)).code is grpc.StatusCode.UNAUTHENTICATED
        assert await target.export(metadata=(("authorization", "Bearer token"),)) == b""
        assert target.buffer.names == {"chat": 1}

    on_grpc(scene, auth=Auth(bearer_token=Secret("token")))


def test_the_public_key_is_read_from_the_metadata() -> None:
    async def scene(target: GrpcRig) -> None:
        await target.export(metadata=(("x-langfuse-public-key", "pk-lf-1"),))
        assert target.route.public_keys == ["pk-lf-1"]

    on_grpc(scene)


def test_our_own_request_coming_back_is_failed_precondition() -> None:
    async def scene(target: GrpcRig) -> None:
        refusal = await target.refused(metadata=(("x-langfuse-sidecar-instance", INSTANCE),))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION

    on_grpc(scene)


def test_a_client_that_gives_up_does_not_stop_the_commit_and_its_repeat_is_a_duplicate() -> None:
    async def scene(target: GrpcRig) -> None:
        target.buffer.gate.clear()
        call = target.channel.unary_unary(TRACES)(BODY)
        await until(lambda: target.buffer.waiting == 1)
        call.cancel()
        await until(lambda: target.outcomes("grpc") == {("traces", "disconnected"): 1})
        target.buffer.gate.set()
        assert await target.export() == b""
        assert target.buffer.ledger == {"received": 2, "stored": 1, "duplicate": 1}

    on_grpc(scene)


def test_a_client_that_sends_no_message_in_time_is_cut() -> None:
    async def scene(target: GrpcRig) -> None:
        call = target.channel.stream_unary(TRACES)()
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await target.export() == b""

    on_grpc(scene, reading=Reading(timeout_s=0.05))


def test_silent_clients_do_not_take_every_turn_to_be_read_for_ever() -> None:
    async def scene(target: GrpcRig) -> None:
        calls = [target.channel.stream_unary(TRACES)() for _ in range(2)]
        await asyncio.gather(*(call.wait_for_connection() for call in calls))
        async with asyncio.timeout(10):
            while True:
                try:
                    await target.export(request().SerializeToString())
                except aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
                    break
        for call in calls:
            call.cancel()
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await target.export() == b""
                    break
                except aio.AioRpcError:
                    continue

    on_grpc(scene, reading=Reading(at_once=2, wait_s=0.05))


def test_a_call_without_a_message_is_refused() -> None:
    async def scene(target: GrpcRig) -> None:
        call = target.channel.stream_unary(TRACES)()
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    on_grpc(scene)


def test_any_bytes_are_taken_or_refused_and_never_fail() -> None:
    @settings(max_examples=10, deadline=None)
    @given(bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=10))
    def play(bodies: list[bytes]) -> None:
        async def scene(target: GrpcRig) -> None:
            for body in bodies:
                for method in (TRACES, LOGS, METRICS):
                    try:
                        await target.export(body, method)
                    except aio.AioRpcError as error:
                        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
                        assert method == TRACES

        on_grpc(scene)

    play()


def test_only_this_receiver_imports_grpc() -> None:
    program = "import sys, sidecar.receive.http; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_nothing_of_a_call_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(target: GrpcRig) -> None:
        await target.export()
        await target.refused(b"\x0a\xff")

    on_grpc(scene)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

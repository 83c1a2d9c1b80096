"""Both receivers over the real buffer: what is acknowledged is on disk and in the ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
from grpc import aio
from prometheus_client import CollectorRegistry

from sidecar.buffer.buffer import open_buffer
from sidecar.buffer.leases import Lane, LeaseLimit
from sidecar.clock import SystemClock
from sidecar.config import BufferSettings
from sidecar.observe.metrics import Metrics
from sidecar.receive.auth import Guard
from sidecar.receive.budget import InFlight
from sidecar.receive.grpc import run_grpc
from sidecar.receive.http import run_http
from sidecar.receive.intake import Intake
from sidecar.receive.masking import nothing_masked
from sidecar.receive.pipeline import Pipeline
from tests.receive import grpc_rig
from tests.receive.rig import INSTANCE, LOG, MIB, PROTOBUF, OneDestination, loopback, run
from tests.spans import many, request, span

LIMIT = LeaseLimit(max_bytes=64 * MIB, max_raw_bytes=64 * MIB, max_spans=100_000)


def test_what_both_receivers_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    settings = BufferSettings(path=str(tmp_path / "buffer.db"), min_free_mib=0)

    async def first_life() -> None:
        metrics, clock, budget = Metrics(CollectorRegistry()), SystemClock(), InFlight(16 * MIB)
        async with open_buffer(settings, clock, metrics, LOG) as buffer:
            intake = Intake(buffer, OneDestination(), Pipeline(nothing_masked, None), clock, metrics, LOG)
            async with (
                run_http(loopback(), intake, Guard(None, "http"), budget, LOG, instance_id=INSTANCE) as http,
                run_grpc(grpc_rig.loopback(), intake, Guard(None, "grpc"), budget, LOG, instance_id=INSTANCE) as grpc,
                aiohttp.ClientSession() as session,
                aio.insecure_channel(f"127.0.0.1:{grpc.port}") as channel,
            ):

                async def over_http(seed: int) -> None:
                    body = many(2, 5, 1000, seed=seed).SerializeToString()
                    async with session.post(f"http://{http}/v1/traces", data=body, headers={"Content-Type": PROTOBUF}) as response:
                        assert response.status == 200

                async def over_grpc(seed: int) -> None:
                    assert await channel.unary_unary(grpc_rig.TRACES)(many(2, 5, 1000, seed=seed).SerializeToString()) == b""

                await asyncio.gather(*(over_http(seed) for seed in range(20)), *(over_grpc(seed) for seed in range(20, 40)))
                await over_http(0)
                await channel.unary_unary(grpc_rig.TRACES)(request(span(trace_id=b"bad")).SerializeToString())
            assert budget.bytes == 0

    async def second_life() -> None:
        async with open_buffer(settings, SystemClock(), Metrics(CollectorRegistry()), LOG) as buffer:
            assert buffer.pending_spans == 400
            assert buffer.ledger.imbalances(buffer.pending_spans) == []
            lease = await buffer.lease("default", Lane.BACKLOG, LIMIT)
            assert lease is not None
            assert (len(lease.rows), lease.spans) == (80, 400)
            await buffer.release(lease, ambiguous=False)

    run(first_life())
    run(second_life())

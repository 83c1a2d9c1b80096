"""A plain outage on virtual time: agents send on, nothing is sampled, and everything arrives when it is over.

Every part is the real one but the clock: intake, enrichment, buffer, forwarder and governor.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from prometheus_client import CollectorRegistry

from sidecar.buffer.buffer import open_buffer
from sidecar.config import BufferSettings, Config, Forward, Retry, Sampling
from sidecar.enrich.completer import Completer
from sidecar.enrich.enricher import Enricher
from sidecar.enrich.limits import Limits
from sidecar.enrich.prices import PriceBook
from sidecar.forward.forwarder import run_forwarder
from sidecar.forward.router import Router
from sidecar.observe.metrics import Metrics
from sidecar.receive.agent_metrics import AgentMetrics
from sidecar.receive.budget import InFlight
from sidecar.receive.governor import Parts, governed
from sidecar.receive.intake import Intake, Payload
from sidecar.receive.masking import nothing_masked
from sidecar.receive.pipeline import Enrichment, Pipeline
from sidecar.receive.sampling import Sampler, keep_rules_file
from sidecar.trace.live import LiveTraces
from sidecar.wire.encoding import Encoding
from tests.fakes.clock import FakeClock
from tests.fakes.langfuse import fake_langfuse
from tests.forward.rig import INSTANCE, NAME, destination, logger
from tests.receive.test_pipeline import TABLE
from tests.spans import request, span
from tests.waiting import until

DEADLINE_S = 120
OUTAGE_S, BEFORE_S = 600, 20
TRACES_A_SECOND = 5


def body(chance: random.Random) -> bytes:
    """A second's traces, of a child and its root each."""
    spans = []
    for _ in range(TRACES_A_SECOND):
        trace_id, root = chance.randbytes(16), chance.randbytes(8)
        spans += [span(trace_id=trace_id, span_id=chance.randbytes(8), parent=root), span(trace_id=trace_id, span_id=root)]
    return request(*spans).SerializeToString()


def test_ten_minutes_without_the_destination_sample_nothing_and_lose_nothing(tmp_path: Path) -> None:
    clock, metrics = FakeClock(), Metrics(CollectorRegistry())
    log, lines = logger()
    settings = Sampling()
    file = keep_rules_file(settings, {})
    file.load()
    enricher = Enricher(PriceBook.load(TABLE))
    parts = Enrichment(enricher, Completer(LiveTraces(1 << 20), settle_ms=6000), Limits(), AgentMetrics(), metrics, log)
    sampler, in_flight, chance = Sampler(file, settings, enricher.use_find, clock, metrics), InFlight(1 << 20), random.Random(9)
    probabilities: list[float] = []

    async def main() -> None:
        async with fake_langfuse() as fake:
            config = Config(destinations=[destination(fake.url)], forward=Forward(linger_ms=200, retry=Retry(initial_s=1, max_s=60)))
            async with (
                open_buffer(
                    BufferSettings(path=str(tmp_path / "b.db"), min_free_mib=0, reserve_mib=0), clock, metrics, log, seal=parts.seal
                ) as buffer,
                run_forwarder(config, buffer, clock, metrics, random.Random(0), log, INSTANCE) as forwarder,
                governed(Parts(sampler, buffer, in_flight, forwarder.pulses, parts.cut_harder), settings, clock, metrics, log),
            ):
                intake = Intake(
                    buffer, Router(config.destinations, config.routes), Pipeline(nothing_masked, parts), clock, metrics, log, sampler=sampler
                )

                def is_quiet() -> bool:
                    return not metrics.registry.get_sample_value("sidecar_forward_in_flight_requests", {"destination": NAME})

                async def seconds(count: int, *, sends: bool = True) -> None:
                    for _ in range(count):
                        if sends:
                            await intake.submit(Payload(body(chance), Encoding.PROTOBUF, "http"))
                        await clock.advance(1)
                        await until(is_quiet, "every request to be answered")
                        probabilities.append(sampler.probability)

                await seconds(BEFORE_S)
                fake.down()
                await seconds(OUTAGE_S)
                assert buffer.pending_spans > 2 * TRACES_A_SECOND * (OUTAGE_S - 10)
                assert "destination is down; spans are kept in the buffer" in lines.events
                fake.up()
                await seconds(90)
                await seconds(20, sends=False)

                assert set(probabilities) == {1.0}
                assert buffer.pending_spans == 0
                assert buffer.ledger.imbalances(0) == []
                sent = 2 * TRACES_A_SECOND * (BEFORE_S + OUTAGE_S + 90)
                assert {key: spans for key, spans in buffer.ledger.totals.items() if spans} == {
                    ("received", ""): sent,
                    ("stored", ""): sent,
                    ("delivered", ""): sent,
                }
                assert fake.seen.duplicates() == 0
                assert len(fake.seen.ids()) == sent

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))

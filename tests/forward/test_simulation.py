"""Any sequence of troubles, on virtual time: every row ends where it belongs.

Only the socket is left out: the sender, its delivery, breaker and retry are the real ones.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from sidecar.buffer.leases import Lane
from sidecar.config import Destination, Secret
from sidecar.forward.batch import Ceiling
from sidecar.forward.breaker import Breaker
from sidecar.forward.client import Body
from sidecar.forward.delivery import Line
from sidecar.forward.journal import Journal
from sidecar.forward.keys import Keys
from sidecar.forward.sender import LangfuseSender
from sidecar.forward.verdict import Answer, Failure, FailureKind
from sidecar.observe.metrics import Metrics
from sidecar.waiting import Changes
from sidecar.wire.split import decompress
from tests.fakes.clock import FakeClock
from tests.forward.memory import MemorySource
from tests.forward.rig import NAME, logger, rows, run, settings, span_row
from tests.spans import span

OK = Answer(200, "application/json", None, b"{}")
LIMIT_BYTES = 30_000
TROUBLES: dict[str, Answer | Failure | None] = {
    "fine": None,
    "503": Answer(503),
    "500": Answer(500),
    "429": Answer(429, retry_after="7"),
    "504 but taken": Answer(504),
    "reset after the body": Failure(FailureKind.RESET, body_was_out=True),
    "reset within the body": Failure(FailureKind.RESET, mid_body=True),
    "refused": Failure(FailureKind.REFUSED),
    "401": Answer(401),
    "redirect": Answer(302),
}
REFUSALS: dict[str, Answer | Failure | None] = {
    "400 for all": Answer(400, "application/json", None, b'{"error":"Failed to parse OTel Protobuf Trace"}'),
    "413 for all": Answer(413),
}
"""Come before everything else: a server that refuses a good span, takes others and refuses it again gets it buried."""


@dataclass
class Server:
    """Troubles first, then a healthy server that refuses bad spans and large bodies."""

    clock: FakeClock
    script: list[str]
    taken: Counter[bytes] = field(default_factory=Counter)
    unanswered: set[bytes] = field(default_factory=set)

    async def post(self, body: Body) -> Answer | Failure:
        await self.clock.sleep(0.02)
        trouble = self.script.pop(0) if self.script else "fine"
        reply = (TROUBLES | REFUSALS)[trouble]
        if reply is None:
            if len(b"".join(row.body for row in body.rows)) > LIMIT_BYTES:
                return Answer(413)
            if any(b"poison" in decompress(row.body) for row in body.rows):
                return Answer(400, "application/json", None, b'{"error":"Invalid OTLP trace export"}')
            reply = OK
        ambiguous = trouble in ("504 but taken", "reset after the body")
        if ambiguous:
            self.unanswered.update(row.body for row in body.rows)
        if reply is OK or ambiguous:
            self.taken.update(row.body for row in body.rows)
        return reply


def sender(clock: FakeClock, source: MemorySource, server: Server, concurrency: int, seed: int) -> LangfuseSender:
    rng = random.Random(seed)
    forward = settings(concurrency=concurrency)
    line = Line(
        name=NAME,
        settings=forward,
        source=source,
        client=server,
        breaker=Breaker(rng, initial_s=1, max_s=60, pause_probe_s=310),
        ceiling=Ceiling(100_000),
        journal=Journal(NAME, Metrics(CollectorRegistry()), logger()[0]),
        clock=clock,
        rng=rng,
        slots=asyncio.Semaphore(concurrency),
        changes=Changes(clock),
    )
    return LangfuseSender(line, Keys(Destination(public_key="pk", secret_key=Secret("sk"))))


async def play(clock: FakeClock, source: MemorySource, expected: int) -> None:
    """Let time pass, and healthy rows come in now and then, until every one of ``expected`` rows and spans has its end."""
    seed = 1000
    while source.waiting or source.leased or len(source.delivered_rows) + len(source.buried) < expected:
        await clock.settle()
        if waiting := clock.sleeping():
            await clock.advance(waiting[0])
        elif source.leased:
            source.add(rows(1, seed=seed))
            seed += 1


@given(
    refusals=st.lists(st.sampled_from(sorted(REFUSALS)), max_size=80),
    script=st.lists(st.sampled_from(sorted(TROUBLES)), max_size=25),
    bad=st.sets(st.integers(0, 19), max_size=3),
    large=st.sets(st.integers(0, 19), max_size=2),
    concurrency=st.integers(1, 4),
    seed=st.integers(0, 10),
)
@hypothesis_settings(max_examples=200, deadline=None)
def test_every_row_ends_where_it_belongs(refusals: list[str], script: list[str], bad: set[int], large: set[int], concurrency: int, seed: int) -> None:
    async def main() -> None:
        clock, source = FakeClock(), MemorySource()
        server = Server(clock, [*refusals, *script])
        new = rows(20, padding=2000, seed=seed)
        for i in large:
            new[i] = rows(1, padding=80_000, seed=500 + i)[0]
        for i in bad:
            new[i] = span_row(span(trace_id=bytes([i + 1] * 16), name="poison"))
        added = source.add(new[:10], Lane.BACKLOG) + source.add(new[10:])
        task = asyncio.create_task(sender(clock, source, server, concurrency, seed).run())
        try:
            await play(clock, source, len(added))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        hopeless = {added[i].id for i in bad | large}
        buried = [row.id for row, _ in source.buried]
        delivered = [row.id for row in source.delivered_rows]
        assert sorted(buried) == sorted(hopeless)
        assert {row.id for row in added} - hopeless <= set(delivered)
        assert len(delivered) == len(set(delivered))
        assert all(server.taken[row.body] >= 1 for row in source.delivered_rows)
        assert all(count == 1 or body in server.unanswered for body, count in server.taken.items())

    run(main())

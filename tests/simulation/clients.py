"""Agents in a simulation: they send, lose patience, send the same again, and sometimes give up."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidecar.errors import Overloaded
from sidecar.receive.intake import Payload
from sidecar.wire.encoding import Encoding
from tests import spans
from tests.fakes import otlp_json
from tests.simulation.audit import Request
from tests.simulation.destination import POISON

if TYPE_CHECKING:
    from tests.simulation.world import World

GIVES_UP = 0.1
"""After a refusal, or when nobody answered."""
TRACES_KEPT = 4
HUGE_BYTES = 8000


class Client:
    """One agent."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._chance = random.Random(f"client {number} of {world.plan.seed}")
        self._number = number
        self._spans = 0
        self._traces: list[bytes] = []

    async def run(self, until_s: float) -> None:
        """Send one request after the other until ``until_s`` or their number is reached, and go on until the last one is answered or given up."""
        loop, world = asyncio.get_running_loop(), self._world
        for _ in range(world.plan.requests):
            if loop.time() >= until_s:
                return
            await self.send(self.request(self._chance.choice(list(world.destinations))))
            await asyncio.sleep(self._chance.expovariate(1 / world.plan.request_every_s))

    async def send(self, request: Request) -> None:
        """Until it is acknowledged or given up."""
        world = self._world
        while not request.acknowledged:
            await world.up.wait()
            if await self._attempt(request) or (not request.must_arrive and self._chance.random() < GIVES_UP):
                return
            await asyncio.sleep(self._chance.uniform(0.01, 2))

    async def _attempt(self, request: Request) -> bool:
        """Whether it was acknowledged. A dead process answers nothing, whatever its last moments did."""
        world, life = self._world, self._world.life
        if life is None or not world.is_alive():
            return False
        life.requests += 1
        outcome = ""
        try:
            async with asyncio.timeout(world.plan.patience_s):
                await life.intake.submit(Payload(request.body, request.encoding, "http", request.destination))
        except TimeoutError:
            outcome = "no patience"
        except Overloaded:
            outcome = "refused"
        finally:
            life.requests -= 1
        if life.dead:
            outcome = "no answer"
        world.audit.answered(request, outcome)
        return not outcome

    def request(self, destination: str, *, good: bool = False) -> Request:
        """A new request of one to five spans. ``good``: one that any healthy destination takes, and that must arrive."""
        chance, plan = self._chance, self._world.plan
        made = [self._span(good=good) for _ in range(1 if good else chance.randint(1, 5))]
        whole = spans.request(*made)
        is_json = not good and chance.random() < 0.2
        body = otlp_json.to_json(whole) if is_json else whole.SerializeToString()
        bad = {each.span_id for each in made if each.name == POISON or len(each.attributes[0].value.string_value) >= HUGE_BYTES}
        payloads = {each.span_id: each.attributes[0].value.string_value for each in made}
        encoding = Encoding.JSON if is_json else Encoding.PROTOBUF
        request = Request(destination, body, encoding, payloads, frozenset(bad if plan.max_body_bytes < HUGE_BYTES or bad else ()), good)
        self._world.audit.sent(request)
        return request

    def _span(self, *, good: bool) -> Span:
        chance, plan = self._chance, self._world.plan
        self._spans += 1
        span_id = (self._number + 1).to_bytes(2, "big") + self._spans.to_bytes(6, "big")
        is_root = good or chance.random() < 0.3
        if is_root or not self._traces:
            self._traces = [*self._traces[-TRACES_KEPT:], chance.randbytes(16)]
        huge = not good and chance.random() < plan.huge
        size = HUGE_BYTES // 2 if huge else chance.choice((10, 100, 400))
        return spans.span(
            trace_id=self._traces[-1] if good else chance.choice(self._traces),
            span_id=span_id,
            parent=b"" if is_root else b"\x01" * 8,
            name=POISON if not good and chance.random() < plan.poison else "work",
            attributes={"payload": chance.randbytes(size).hex()},
        )

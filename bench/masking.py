"""Masking end to end: what the stage costs a KB of a request and a span, from parsed messages to masked ones.

    python -m bench.masking                 every workload with the fastest engine
    python -m bench.masking --engine re2    with another one: hyperscan, re2, stdlib
    python -m bench.masking --profile NAME  one workload under cProfile

CPU time is this process's own (``time.process_time``), the best of several rounds. Each round parses every request anew, because masking
changes spans in place; parsing is not timed. The longest turn is the wall time between two yields of the stage, which is how long it holds the event loop.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from bench.payload import copies, template, text
from sidecar.mask.engine import choose_engine
from sidecar.mask.hmac_keys import HmacKeys
from sidecar.mask.packs import DETECTORS
from sidecar.mask.policy import Policy, parse_policy
from sidecar.mask.stage import MaskingStage
from sidecar.mask.windows import Limits
from sidecar.wire import strict_pb2
from sidecar.wire.batch import SpanBatch, count_spans, decode_protobuf
from sidecar.wire.mend import mend
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest
from tests.corpus import trace_requests

Wanted = Literal["auto", "hyperscan", "re2", "stdlib"]
SECRETS: tuple[Callable[[random.Random], str], ...] = (
    lambda chance: f"user{chance.randrange(10**6)}@example.com",
    lambda chance: "ghp_" + "".join(chance.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789", k=36)),
    lambda chance: f"+1 415 555 {chance.randrange(10**4):04d}",
    lambda chance: "4111 1111 1111 1111" if chance.random() < 0.5 else "5555-5555-5555-4444",
    lambda chance: f"203.0.113.{chance.randrange(255)}",
    lambda chance: f"password: Hunter{chance.randrange(10**6)}!x",
)


@dataclass(frozen=True)
class Workload:
    """Serialized requests that stand for a kind of traffic."""

    name: str
    requests: list[bytes]

    @property
    def bytes(self) -> int:
        return sum(map(len, self.requests))

    @property
    def spans(self) -> int:
        return sum(count_spans(ExportTraceServiceRequest.FromString(body)) for body in self.requests)


def plain_spans() -> Workload:
    """Clean spans of 4 KB with 20 attributes, 100 a request."""
    return Workload("clean text", [next(copies(template(100, 4096, 5, seed), seed)) for seed in range(10)])


def changed_spans(name: str, change: Callable[[random.Random, str], str]) -> Workload:
    """The same spans with their messages changed."""
    bodies = []
    for number, body in enumerate(plain_spans().requests):
        chance = random.Random(number)
        request = strict_pb2.ExportTraceServiceRequest.FromString(body)
        for span in request.resource_spans[0].scope_spans[0].spans:
            for attribute in span.attributes:
                if attribute.key.endswith(".messages"):
                    attribute.value.string_value = change(chance, attribute.value.string_value)
        bodies.append(request.SerializeToString())
    return Workload(name, bodies)


def sown(chance: random.Random, clean: str) -> str:
    """The text with something sensitive every 300 bytes."""
    pieces = [clean[at : at + 280] for at in range(0, len(clean), 280)]
    return "".join(f"{piece} {chance.choice(SECRETS)(chance)} " for piece in pieces)


def messages(_: random.Random, said: str) -> str:
    """The text as a list of messages, 500 bytes each."""
    pieces = [said[at : at + 500] for at in range(0, len(said), 500)]
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": piece}]} for piece in pieces])


def corpus_spans() -> Workload:
    """Every captured request, mended."""
    bodies = []
    for sent in trace_requests():
        batch = decode_json(sent.body) if sent.is_json else decode_protobuf(sent.body)
        mend(batch)
        bodies.append(batch.request.SerializeToString())
    return Workload("corpus", bodies)


def large_values() -> Workload:
    """Spans with one value of 1 MB each, full of hits: the longest turn."""
    request = strict_pb2.ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(4):
        span = spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="large", start_time_unix_nano=1, end_time_unix_nano=2)
        attribute = span.attributes.add(key="gen_ai.prompt")
        attribute.value.string_value = sown(random.Random(number), text(random.Random(number), 900_000))
    return Workload("900 KB dense values", [request.SerializeToString()])


@dataclass(frozen=True)
class Spent:
    """What one round took."""

    cpu_s: float
    longest_turn_s: float


def run(load: Workload, stage: MaskingStage) -> Spent:
    cpu, longest = 0.0, 0.0
    for body in load.requests:
        batch = SpanBatch(ExportTraceServiceRequest.FromString(body), 0, clean=True)
        started, turn = time.process_time(), time.perf_counter()
        for _ in stage(batch):
            now = time.perf_counter()
            longest, turn = max(longest, now - turn), now
        longest = max(longest, time.perf_counter() - turn)
        cpu += time.process_time() - started
    return Spent(cpu, longest)


def report(load: Workload, stage: MaskingStage, rounds: int) -> None:
    first = run(load, stage)
    later = [run(load, stage) for _ in range(rounds)]
    cpu_s, turn_s = min(spent.cpu_s for spent in later), min(spent.longest_turn_s for spent in later)
    per_kb, per_span = cpu_s * 1e6 / load.bytes * 1024, cpu_s * 1e6 / load.spans
    print(
        f"{load.name:<22} {per_kb:6.1f} us/KB {per_span:8.1f} us/span   first round {first.cpu_s * 1e6 / load.bytes * 1024:6.1f} us/KB   "
        f"longest turn {turn_s * 1e3:5.1f} ms",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=get_args(Wanted), default="auto")
    parser.add_argument("--profile", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    policy = Policy(parse_policy({}, DETECTORS), HmacKeys("k1", {"k1": b"a key that is only for this bench"}))
    engine = choose_engine(policy.detectors, arguments.engine, Limits(policy.limits.max_value_bytes, policy.limits.max_hits))
    loads = [
        plain_spans(),
        changed_spans("clean JSON", messages),
        changed_spans("dense text", sown),
        changed_spans("dense JSON", lambda chance, said: messages(chance, sown(chance, said))),
        corpus_spans(),
        large_values(),
    ]
    print(f"{engine.name}, {len(policy.detectors)} detectors")
    for load in loads:
        stage = MaskingStage(policy, engine)
        if arguments.profile is None:
            report(load, stage, arguments.rounds)
        elif arguments.profile == load.name:
            profiler = cProfile.Profile()
            run(load, stage)
            profiler.enable()
            run(load, stage)
            profiler.disable()
            pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()

"""Enrichment: what one span costs from its bytes to the shape that Langfuse shows right, step by step.

    python -m bench.enrich                 CPU a span of each workload, whole and by step
    python -m bench.enrich --profile       the bench span under cProfile: where the time goes

CPU time is this process's own (``time.process_time``), the best of several rounds; each round parses every request anew, because
enrichment changes spans in place. Steps are timed on their own, each over a whole request, as the stage runs them.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources

from bench.payload import copies, template
from sidecar.enrich.completer import Completer
from sidecar.enrich.dialects import Plans, read_facts
from sidecar.enrich.dialects.doubles import mark_doubles
from sidecar.enrich.enricher import Enricher
from sidecar.enrich.prices import PriceBook, Unpriced
from sidecar.enrich.shape import Extra, shape
from sidecar.enrich.view import SpanView
from sidecar.trace.live import LiveTraces
from sidecar.wire import strict_pb2
from sidecar.wire.attributes import AttributeMemo
from sidecar.wire.batch import SpanBatch, count_spans, decode_protobuf
from sidecar.wire.mend import mend
from sidecar.wire.otlp_json import decode_json
from sidecar.wire.shallow_pb2 import ExportTraceServiceRequest, InstrumentationScope, Resource, Span
from tests.corpus import trace_requests

STEPS = ("parse", "view", "facts", "doubles", "price", "shape")
KEY_SETS = 1000
LIVE_BYTES = 16 << 20
"""Of the table of live traces, as the daemon has it."""


@dataclass(frozen=True)
class Workload:
    """Serialized requests that stand for a kind of traffic."""

    name: str
    requests: list[bytes]

    @property
    def spans(self) -> int:
        return sum(count_spans(ExportTraceServiceRequest.FromString(body)) for body in self.requests)


def bench_spans(requests: int = 20) -> Workload:
    """Spans of 4 KB with 20 attributes, 100 a request, five a trace."""
    bodies = []
    for seed in range(requests):
        bodies.append(next(copies(template(100, 4096, 5, seed), seed)))
    return Workload("4 KB spans", bodies)


SPEAKING = (b"user.id", b"session.id", b"gen_ai.agent.name", b"gen_ai.conversation.id")


def silent_spans() -> Workload:
    """The bench span, but only roots name a user, a session and an agent: what is below inherits."""
    bodies = []
    for body in bench_spans().requests:
        request = strict_pb2.ExportTraceServiceRequest.FromString(body)
        for span in request.resource_spans[0].scope_spans[0].spans:
            if span.parent_span_id:
                kept = [attribute for attribute in span.attributes if attribute.key.encode() not in SPEAKING]
                del span.attributes[:]
                span.attributes.extend(kept)
        bodies.append(request.SerializeToString())
    return Workload("4 KB, roots speak", bodies)


def corpus_spans() -> Workload:
    """Every captured request, as the intake hands it on: mended, JSON decoded."""
    bodies = []
    for sent in trace_requests():
        batch = decode_json(sent.body) if sent.is_json else decode_protobuf(sent.body)
        mend(batch)
        bodies.append(batch.request.SerializeToString())
    return Workload("corpus", bodies)


def key_sets(own_keys: Callable[[int], list[str]], name: str) -> Workload:
    """The bench span in 1,000 shapes that come by turns: each has keys of its own."""
    bodies, number = [], 0
    for body in bench_spans(10).requests:
        request = strict_pb2.ExportTraceServiceRequest.FromString(body)
        for span in request.resource_spans[0].scope_spans[0].spans:
            for key in own_keys(number % KEY_SETS):
                span.attributes.add(key=key).value.string_value = "x"
            number += 1
        bodies.append(request.SerializeToString())
    return Workload(name, bodies)


def spans_in_turn(request: ExportTraceServiceRequest) -> Iterable[tuple[Span, InstrumentationScope, Resource]]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield span, scope_spans.scope, resource_spans.resource


class Steps:
    """The steps of parsing and shaping, a request at a time; ``spent_s`` says what each took."""

    def __init__(self, book: PriceBook) -> None:
        self._price = Enricher(book).price
        self._memo = AttributeMemo()
        self._plans = Plans()
        self.spent_s = dict.fromkeys(STEPS, 0.0)

    def run(self, load: Workload) -> None:
        now = time.process_time
        spent = self.spent_s = dict.fromkeys(STEPS, 0.0)
        for body in load.requests:
            at = now()
            spans = list(spans_in_turn(ExportTraceServiceRequest.FromString(body)))
            spent["parse"] += (after := now()) - at
            views = [SpanView(span, scope, resource, self._memo) for span, scope, resource in spans]
            spent["view"] += (at := now()) - after
            seen = [(view, read_facts(view, self._plans)) for view in views]
            spent["facts"] += (after := now()) - at
            mark_doubles(seen)
            spent["doubles"] += (at := now()) - after
            costs = [self._price(view, facts) for view, facts in seen]
            spent["price"] += (after := now()) - at
            for (span, _, _), (view, facts), cost in zip(spans, seen, costs, strict=True):
                shape(span, view, facts, Extra(None if isinstance(cost, Unpriced) else cost))
            spent["shape"] += now() - after


def stage_s(load: Workload, enricher: Enricher) -> tuple[float, float]:
    """Seconds of CPU of parsing and the whole stage, with what it knows of agents, models and signals beside the steps; and of completing
    the spans by their traces, which are new each time. Nothing is masked in between.
    """
    enricher.live = live = LiveTraces(LIVE_BYTES)
    completer = Completer(live, settle_ms=6000)
    now = time.process_time
    enriching = completing = 0.0
    for body in load.requests:
        at = now()
        batch = SpanBatch(ExportTraceServiceRequest.FromString(body), 0)
        notes = enricher(batch)
        enriching += (after := now()) - at
        completer.complete(notes, 0)
        completing += now() - after
    return enriching, completing


def report(load: Workload, book: PriceBook, rounds: int) -> None:
    steps, enricher = Steps(book), Enricher(book)
    best = dict.fromkeys(STEPS, float("inf"))
    first = whole = enriching = completing = float("inf")
    for number in range(rounds + 1):
        steps.run(load)
        total = sum(steps.spent_s.values())
        if number == 0:
            first = total
            continue
        whole = min(whole, total)
        best = {step: min(best[step], steps.spent_s[step]) for step in STEPS}
    for _ in range(rounds):
        spent_s = stage_s(load, enricher)
        enriching, completing = min(enriching, spent_s[0]), min(completing, spent_s[1])
    us = 1e6 / load.spans
    parts = "  ".join(f"{step} {best[step] * us:.1f}" for step in STEPS)
    whole_stage = f"whole stage {enriching * us:.1f}  complete {completing * us:.1f}"
    print(f"{load.name:<22} {whole * us:6.1f} us/span (first round {first * us:.1f})   {parts}   {whole_stage}", flush=True)


def profile(load: Workload, book: PriceBook) -> None:
    enricher = Enricher(book)
    stage_s(load, enricher)
    profiler = cProfile.Profile()
    profiler.enable()
    stage_s(load, enricher)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    book = PriceBook.load(resources.files("sidecar.enrich").joinpath("prices.json").read_bytes())
    if arguments.profile:
        profile(bench_spans(), book)
        return
    report(bench_spans(), book, arguments.rounds)
    report(silent_spans(), book, arguments.rounds)
    report(corpus_spans(), book, arguments.rounds)
    report(key_sets(lambda number: [f"app.field_{number}"], "1,000 foreign keys"), book, arguments.rounds)
    report(key_sets(lambda number: [f"gen_ai.request.option_{number}"], "1,000 keys in gen_ai"), book, arguments.rounds)


if __name__ == "__main__":
    main()

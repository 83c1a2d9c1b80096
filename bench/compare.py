"""Two relays side by side, in turn (A B A B), so that a noisy machine is noisy for both.

    python -m bench.compare                                    the sidecar with everything on, and as a plain relay
    python -m bench.compare --b "otelcol --config {folder}/../x.yaml" --b-name collector
    python -m bench.compare --two                              two sidecars on two cores against one

A command may hold {http}, {sink}, {admin} and {folder}: see bench/subject.py. What is acknowledged must be delivered, or sampled
and counted; exit status 1 when it does not, or when two sidecars come to less than 1.7 of one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from statistics import median

from bench.figures import Figure, report
from bench.subject import HUNDRED, SINGLE, Cost, Running, Subject, Workload, external, measure, running, sidecar

TWO_AT_LEAST = 1.7
KEEP = ("sampling.min_probability=1",)  # a saturated process would sample
RELAY = ("masking.enabled=false", "sampling.enabled=false", "enrichment.enabled=false")


def in_turn(subjects: Sequence[Subject], load: Workload, rounds: int) -> bool:
    """Both run all the time; the load goes to one after the other. Whether nothing was lost."""
    good = True
    with ExitStack() as stack:
        started = [stack.enter_context(running(each)) for each in subjects]
        costs: dict[str, list[Cost]] = {each.name: [] for each in started}
        for seed in range(rounds):
            for each in started:
                costs[each.name].append(measure(each, load, seed))
        for each in started:
            good = show(each, load, costs[each.name]) and good
    return good


def show(subject: Running, load: Workload, costs: Sequence[Cost]) -> bool:
    best = min(costs, key=lambda cost: cost.us_per_span)
    last = costs[-1].result
    acknowledged, delivered, sampled = (sum(getattr(cost, name) for cost in costs) for name in ("acknowledged", "delivered", "sampled"))
    lost = any(cost.lost for cost in costs)
    print(
        f"{subject.name:<16} {load.name:<20} CPU {best.us_per_span:6.1f} us/span (median {median(cost.us_per_span for cost in costs):.1f}), "
        f"{best.us_per_kb:.1f} us/KB  {max(cost.spans_per_s for cost in costs):7.0f} spans/s  answers p50 {last.percentile_ms(0.5):.1f} "
        f"p99 {last.percentile_ms(0.99):.1f} ms  RSS {subject.rss_mib('VmHWM'):.0f} MiB  refused {sum(cost.result.refused for cost in costs)}  "
        f"acknowledged {acknowledged} delivered {delivered} sampled {sampled}{'  DIFFERENT' if lost else ''}",
        flush=True,
    )
    return not lost


def two(rounds: int) -> bool:
    """Capacity of two sidecars, each on a core of its own, against one.

    Where the load and the sinks share these cores, spans a second say little; so capacity is taken from CPU a span, which shows what
    two cost each other (caches, memory, the disk, locks of the kernel). Spans a second are shown beside it.
    """
    with ProcessPoolExecutor(2) as pool:
        with running(sidecar("one", *KEEP, core=0)) as one:
            alone = [pool.submit(measure, one, HUNDRED, seed).result() for seed in range(rounds)]
        with running(sidecar("first", *KEEP, core=0)) as first, running(sidecar("second", *KEEP, core=1)) as second:
            pairs = []
            for seed in range(rounds):
                both = [pool.submit(measure, each, HUNDRED, seed) for each in (first, second)]
                pairs.append([each.result() for each in both])
    single = min(cost.us_per_span for cost in alone)
    together = min(sum(cost.us_per_span for cost in pair) / 2 for pair in pairs)
    return report(
        [
            Figure("one sidecar", single, "us/span"),
            Figure("two sidecars, each", together, "us/span"),
            Figure("spans/s of one", max(cost.spans_per_s for cost in alone), "spans/s"),
            Figure("spans/s of two", max(sum(cost.spans_per_s for cost in pair) for pair in pairs), "spans/s"),
            Figure("capacity of two, by CPU a span", 2 * single / together, "of one", TWO_AT_LEAST, at_least=True),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--a", default="", help="command of the first; without it, the sidecar with everything on")
    parser.add_argument("--b", default="", help="command of the second; without it, the sidecar as a plain relay")
    parser.add_argument("--a-name", default="a")
    parser.add_argument("--b-name", default="b")
    parser.add_argument("--a-set", action="append", default=[], help="a setting of the sidecar, as for --set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--single", action="store_true", help="one span a request")
    parser.add_argument("--two", action="store_true", help="two sidecars against one")
    arguments = parser.parse_args()
    if arguments.two:
        sys.exit(not two(arguments.rounds))
    first = (
        external(arguments.a_name, arguments.a)
        if arguments.a
        else sidecar("sidecar", *([] if "sampling.enabled=false" in arguments.a_set else KEEP), *arguments.a_set)
    )
    second = external(arguments.b_name, arguments.b) if arguments.b else sidecar("plain relay", *RELAY)
    sys.exit(not in_turn([first, second], SINGLE if arguments.single else HUNDRED, arguments.rounds))


if __name__ == "__main__":
    main()

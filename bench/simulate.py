"""Are the counts right? Many seeds of simulated traces, each chosen by the sampler's own thresholds and decisions.

    python -m bench.simulate               200 seeds of 100,000 traces, four ways of sampling; then whole stories through the decisions
    python -m bench.simulate --seeds 20    fewer

First part, vectorised over packed arrays: R of every trace, T by the program's arithmetic, kept iff R >= T; the sum of adjusted
counts against the true number, overall and per agent. One seed of each way also goes through ``Decisions``, which must say the same.
Second part: traces of several requests, errors that come late, minimum rates, an allowance that runs out, p changing
under way; weights as they are written on spans: unbiased (tails are only printed, 4,000 traces are few). Exit status 1 when a bound is broken.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from array import array
from collections import Counter
from itertools import accumulate

from sidecar.enrich.notes import Finding
from sidecar.sample.decision import KEEP_ALL, NEVER, Decisions, Glimpse, adjusted_count, threshold_of
from sidecar.sample.keep_rules import ERRORS, parse_sampling

TRACES = 100_000
AGENTS = {"chat": 0.5, "search": 0.3, "pricing": 0.15, "audit": 0.04, "rare": 0.01}
WAYS = {
    "p = 0.5": (0.5,),
    "p = 0.1": (0.1,),
    "p = 0.01": (0.01,),
    "p changing": (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 0.02, 0.05, 0.2, 0.7),
}
Z_OF_MEAN, BEYOND, SHARE_BEYOND = 4.0, 3.0, 0.01


def errors_of(chance: random.Random, phases: tuple[float, ...]) -> dict[str, float]:
    """By agent and overall: (estimate - truth) in standard errors."""
    off, variance = dict.fromkeys(AGENTS, 0.0), dict.fromkeys(AGENTS, 0.0)
    for p in phases:
        t = threshold_of(p)
        bound, weight = t << 8, adjusted_count(t)
        for agent, share in AGENTS.items():
            traces = round(TRACES * share / len(phases))
            randomness = array("Q", chance.randbytes(8 * traces))  # R is the upper 56 bits of each
            kept = sum(map(bound.__le__, randomness))
            off[agent] += kept * weight - traces
            variance[agent] += traces * (weight - 1)
    off["all"], variance["all"] = sum(off.values()), sum(variance.values())
    return {agent: off[agent] / math.sqrt(variance[agent]) for agent in off}


def check_against_decisions(phases: tuple[float, ...]) -> None:
    """The decisions themselves keep what the arithmetic of the first part keeps."""
    chance = random.Random(0)
    made = Decisions(TRACES * 1024, parse_sampling({"minimum_per_minute": 0}), 0.0)
    plain = Finding(None, None, 1.0, 0.0, 0, None)
    for p in phases:
        t = threshold_of(p)
        for _ in range(TRACES // len(phases)):
            trace_id = chance.randbytes(16)
            glimpse = Glimpse(trace_id)
            glimpse.add(b"", plain)
            if made.decide(glimpse, p, 0.0).kept != (int.from_bytes(trace_id[9:], "big") >= t):
                sys.exit(f"the decisions and the arithmetic differ at p = {p}")


def judge(title: str, runs: list[dict[str, float]], *, bounds_tails: bool = True) -> bool:
    """Print one line a series; whether all bounds hold. ``runs`` are z values by series.

    Tails are not bounded (but printed) for few traces: one of 40 with a weight of 100 is no normal deviate.
    """
    good, beyond, total = True, 0, 0
    print(f"\n{title}: {len(runs)} seeds")
    for series in runs[0]:
        values = [run[series] for run in runs]
        z = statistics.fmean(values) * math.sqrt(len(values)) / (statistics.stdev(values) or 1)
        outside = sum(abs(value) > BEYOND for value in values)
        beyond, total = beyond + outside, total + len(values)
        good = good and abs(z) <= Z_OF_MEAN
        print(f"  {series:14} z of the mean {z:+5.2f}   s.d. of runs {statistics.stdev(values):.2f}   beyond 3 s.e. {outside}/{len(values)}")
    good = good and (beyond <= SHARE_BEYOND * total or not bounds_tails)
    print(f"  beyond 3 s.e. in all: {beyond}/{total} = {beyond / total:.2%}   {'good' if good else 'BROKEN'}")
    return good


STORY_TRACES, SPANS, ALIVE = 4000, 4, 40


def story(seed: int) -> tuple[dict[str, float], Counter[str]]:
    """Differences between estimate and truth, and what happened, for traces of four requests that overlap; p changes under way.

    An error comes with the third request of 3 traces in 100. Times are such that minimum rates are met and the allowance runs out.
    """
    chance = random.Random(seed)
    tree = {"minimum_per_minute": 6, "capacity": {"spans_per_s": 1.5, "burst_s": 10}}
    made = Decisions(1 << 24, parse_sampling(tree), 0.0)
    phases, names, shares = WAYS["p changing"], list(AGENTS), list(accumulate(AGENTS.values()))
    off: dict[str, float] = dict.fromkeys([*names, "all", "errors", "roots"], 0.0)
    seen: Counter[str] = Counter()
    traces = [
        (chance.randbytes(16), chance.choices(names, cum_weights=shares)[0], chance.random() < 0.03)  # id, agent, whether it fails
        for _ in range(STORY_TRACES)
    ]
    limbo: dict[bytes, int] = {}
    for tick in range(STORY_TRACES + SPANS * ALIVE):
        p = phases[min(tick, STORY_TRACES - 1) * len(phases) // STORY_TRACES]
        for part in range(SPANS):
            number = tick - part * ALIVE
            if not 0 <= number < STORY_TRACES:
                continue
            trace_id, agent, fails = traces[number]
            is_error, is_root = fails and part == 2, part == SPANS - 1
            glimpse = Glimpse(trace_id)
            glimpse.add(b"", Finding(ERRORS if is_error else None, agent, 1.0, 0.0, 0, None))
            decision = made.decide(glimpse, p, tick / 10)
            weight = adjusted_count(decision.threshold) if decision.kept else 0.0
            for series in (agent, "all", *(["errors"] if is_error else []), *(["roots"] if is_root else [])):
                off[series] += weight - 1
            seen["kept" if decision.kept else "dropped"] += 1
            seen["by rule"] += decision.rule is not None
            seen["rescued spans"] += decision.rescues
            if decision.rescues != (limbo.pop(trace_id, 0) if decision.rescues else 0):
                sys.exit("a rescue asked for other spans than were dropped")
            if not decision.kept:
                limbo[trace_id] = limbo.get(trace_id, 0) + 1
            if decision.kept and limbo.get(trace_id):
                seen["torn"] += 1
            if decision.threshold not in (KEEP_ALL, NEVER) and decision.rule is not None:
                sys.exit("a rule left a threshold")
    seen["refused to rules"] = sum(made.excess.values())
    return off, seen


def stories(seeds: int) -> bool:
    runs, seen = [], Counter[str]()
    for seed in range(seeds):
        off, happened = story(seed)
        runs.append(off)
        seen += happened
    scale = {series: statistics.stdev(run[series] for run in runs) or 1.0 for series in runs[0]}
    good = judge(
        "whole stories (by the spread of the runs)", [{series: run[series] / scale[series] for series in run} for run in runs], bounds_tails=False
    )
    print("  " + ", ".join(f"{what} {count}" for what, count in sorted(seen.items())) + f"; torn {seen['torn']}")
    return good and not seen["torn"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    arguments = parser.parse_args()
    started, good = time.monotonic(), True
    for title, phases in WAYS.items():
        check_against_decisions(phases)
        good &= judge(f"{title}, {TRACES} traces", [errors_of(random.Random(seed), phases) for seed in range(arguments.seeds)])
    good &= stories(arguments.seeds)
    print(f"\n{time.monotonic() - started:.0f} s; {'all bounds hold' if good else 'A BOUND IS BROKEN'}")
    sys.exit(not good)


if __name__ == "__main__":
    main()

"""Simulations by the thousand, or one of them in full.

    python -m tests.simulation                       2,000 seeds from a random one on
    python -m tests.simulation --seeds 100000        a night's
    python -m tests.simulation --seed 4711           one again, with everything that happens

A seed that fails is printed with what was violated; it fails again whenever it is run with the same code. Exit status 1 then.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.audit import Outcome
from tests.simulation.plan import plan_of
from tests.simulation.world import result_of


def show(outcome: Outcome) -> None:
    """What was violated, and how to see it again."""
    print(f"seed {outcome.seed} fails; again, in full: python -m tests.simulation --seed {outcome.seed}")
    for violation in outcome.violations:
        print(f"  {violation}", flush=True)


def one(seed: int) -> bool:
    trace: list[str] = []
    print(plan_of(seed))
    outcome = result_of(seed, trace)
    print("\n".join(trace))
    print(f"digest {outcome.digest}")
    if outcome.violations:
        show(outcome)
    return not outcome.violations


def many(first: int, seeds: int, jobs: int) -> bool:
    started, failed = time.monotonic(), 0
    totals: dict[str, int] = {}
    with ProcessPoolExecutor(jobs) as pool:
        for done, outcome in enumerate(pool.map(result_of, range(first, first + seeds), chunksize=10), start=1):
            for what, count in outcome.counts.items():
                totals[what] = totals.get(what, 0) + count
            if outcome.violations:
                failed += 1
                show(outcome)
            if done % 200 == 0:
                print(f"{done} of {seeds}, {failed} failed, {time.monotonic() - started:.0f} s", flush=True)
    print(", ".join(f"{what} {count}" for what, count in sorted(totals.items())))
    print(f"seeds {first} to {first + seeds - 1}: {failed} failed, {time.monotonic() - started:.0f} s")
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        sys.exit(not one(arguments.seed))
    first = random.SystemRandom().randrange(1 << 32) if arguments.first is None else arguments.first
    sys.exit(not many(first, arguments.seeds, arguments.jobs))


if __name__ == "__main__":
    main()

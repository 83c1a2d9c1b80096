"""Fuzz for as long as you like: ``python -m tests.fuzz [--seconds 60] [protobuf json masking intake configuration]``.

What breaks a target is shrunk, printed and kept in tests/fuzz/corpus/. Exit status 1 then.
"""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.fuzzing import Broken, fuzz
from tests.fuzz.targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60, help="of each target")
    arguments = parser.parse_args()
    good = True
    for name in arguments.targets or TARGETS:
        try:
            print(f"{name}: {fuzz(name, arguments.seconds, TARGETS[name])} inputs", flush=True)
        except Broken as broken:
            good = False
            print(f"{broken}\n  {broken.data!r}", flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()

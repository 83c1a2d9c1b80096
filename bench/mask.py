"""What masking costs: CPU microseconds per KB, by engine, kind of text and density, and the worst texts in milliseconds.

`python -m bench.mask` uses the shipped detectors. Figures are CPU time of this thread, the best of several rounds.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.payload import text as prose
from sidecar.mask.detector import Hit
from sidecar.mask.engine import Engine, Wanted, choose_engine
from sidecar.mask.json_text import KeyVerdict, mask_json
from sidecar.mask.json_text import Path as JsonPath
from sidecar.mask.packs import DETECTORS
from sidecar.mask.windows import WorkLimit
from tests.mask.looking import scanned_by

SECRETS = ("bob{}@example.com", "4111111111111111", "password: hunter{}", "AKIA" + "B" * 12 + "{:04}", "+49 151 2345 {:04}", "192.168.7.{}")
ROUNDS = 5


def planted(size: int, every: int | None, seed: int) -> str:
    """Word-like text with one sensitive value in ``every`` bytes."""
    rng = random.Random(seed)
    words = prose(rng, size)
    if every is None:
        return words
    pieces = [words[at : at + every] for at in range(0, size, every)]
    return " ".join(piece + " " + rng.choice(SECRETS).format(number) for number, piece in enumerate(pieces))


def as_messages(text: str) -> bytes:
    """The text as agents send it: messages with line ends and quotes in them."""
    parts = [text[at : at + 1500] for at in range(0, len(text), 1500)]
    return json.dumps([{"role": "user", "content": part.replace(". ", ".\n") + '\n"end"'} for part in parts]).encode()


def cpu_s(work: Callable[[], object], times: int) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.thread_time()
        for _ in range(times):
            work()
        best = min(best, (time.thread_time() - start) / times)
    return best


def masked_json(engine: Engine, document: bytes) -> bytes | None:
    def rewrite(_text: bytes, hit: Hit | None, _path: JsonPath) -> bytes:
        return b"[HIDDEN]" if hit is None else engine.detectors[hit.detector].label.encode()

    return mask_json(
        document, scanned_by(engine), rewrite, lambda name, _: KeyVerdict.HIDE if name == b"password" else KeyVerdict.PLAIN, engine.by_word
    )


def texts() -> dict[str, str]:
    return {
        "0.5 KB clean": planted(500, None, 1),
        "2 KB clean": planted(2_000, None, 2),
        "16 KB clean": planted(16_000, None, 3),
        "16 KB, 1 hit in 4 KB": planted(16_000, 4_000, 4),
        "16 KB, 1 hit in 300 B": planted(16_000, 300, 5),
        "70 KB, 1 hit in 300 B": planted(70_000, 300, 6),
    }


def worst() -> dict[str, bytes]:
    """100 KB each, made to hurt."""
    size = 100_000
    units = (
        b"a@a.", b"@", b"a", b"1", b"1 ", b"1.1.1.1 ", b"4111111111111112 ", b"eyJabc", b"eyJ", b"password=", b"password: ", b"-----BEGIN RSA PRIVATE KEY-----",
        b"AKIA", b"sk-", b"ghp_", b"+1 ", b"://", b"a:b@", b"DE00 ", b"::", b"0x", b"\\n", b"\\\\", b'{"a":', b"[", b'"', b"\xc3\xbc", b"=", b"a.b.", b"key ",
        b"Bearer ", b"2001:db8::1 ", b"123-45-6789 ", b"bob@example.com ", b"passport 123456789 ",
    )  # fmt: skip
    return {repr(unit)[2:-1]: (unit * (size // len(unit) + 1))[:size] for unit in units}


def show_speed(engines: list[Engine]) -> None:
    print(f"{len(DETECTORS)} detectors; us/KB of text / of the same text in JSON messages")
    print(f"{'':24}" + "".join(f"{engine.name:>20}" for engine in engines))
    for name, text in texts().items():
        raw, document = text.encode(), as_messages(text)
        cells = []
        for engine in engines:
            times = max(2, (400_000 if engine.name == "hyperscan" else 40_000) // len(raw))
            plain = cpu_s(partial(engine.find, raw), times) / len(raw)
            inside = cpu_s(partial(masked_json, engine, document), times) / len(document)
            cells.append(f"{plain * 1024e6:10.1f} /{inside * 1024e6:7.1f} ")
        print(f"{name:24}" + "".join(cells))


def show_worst(engine: Engine) -> None:
    rows = []
    for name, text in worst().items():
        for kind, work in (("text", engine.find), ("JSON", partial(masked_json, engine))):
            start = time.thread_time()
            try:
                work(text)
                end = "done"
            except WorkLimit as limit:
                end = limit.reason
            rows.append(((time.thread_time() - start) * 1e3, name, kind, end))
    print("worst texts of 100 KB, ms")
    for spent_ms, name, kind, end in sorted(rows, reverse=True)[:12]:
        print(f"{spent_ms:8.1f}  {name:34} {kind}  {end}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", choices=("hyperscan", "re2", "stdlib"), help="only this one (may be repeated)")
    arguments = parser.parse_args()
    wanted: list[Wanted] = arguments.engine or ["hyperscan", "re2", "stdlib"]
    with tempfile.TemporaryDirectory() as directory:
        for start in ("cold", "warm"):
            began = time.perf_counter()
            engines = [choose_engine(DETECTORS, wanted[0], cache=Path(directory))]
            print(f"{start} start, {engines[0].name}: {(time.perf_counter() - began) * 1e3:.0f} ms")
    engines += [choose_engine(DETECTORS, name) for name in wanted[1:]]
    show_speed(engines)
    show_worst(engines[0])


if __name__ == "__main__":
    main()

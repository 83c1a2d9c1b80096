"""Fuzzing for a time: examples with a structure, and changes of theirs by the thousand, until the time is up or something breaks."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.inputs import INPUTS

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = 10
"""New ones between two rounds of changes."""
ROUND_S = 2.0
"""Of changes: by then the examples have cost about as much."""
POOL = 500
INPUT_BYTES_MAX = 64 * 1024
SHRINK_S = 10.0
EDGES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff\x0f",
    b"\xff" * 9 + b"\x01",
    b"\x0a\x00",
    b'"',
    b"\\",
    b"{",
    b"[",
    b"\n",
    b"\xc3\x28",
    b"\xed\xa0\x80",
)


class Broken(AssertionError):
    """A target raised. The smallest input that was found is ``data``."""

    def __init__(self, path: Path, data: bytes, error: Exception) -> None:
        super().__init__(f"{path.parent.name} breaks: {type(error).__name__}: {error}; kept as {path}")
        self.data = data


def keep(folder: Path, data: bytes) -> Path:
    """Keep an input that broke a target: it is tried in every test run from then on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def fuzz(name: str, seconds: float, run: Callable[[bytes], None], corpus: Path = CORPUS) -> int:
    """How many inputs of the target ``name`` were tried with ``run``. Raises Broken, and keeps what broke it in the corpus."""
    chance, pool, tried = random.SystemRandom(), list[bytes](), 0
    _try(corpus / name, run, b"")  # whatever has to be made first is not part of the time
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        pool = [*pool, *examples(name, chance.randrange(1 << 64))][-POOL:]
        for data in pool[-EXAMPLES:]:
            tried += 1
            _try(corpus / name, run, data)
        round_s = min(until_s, time.monotonic() + ROUND_S)
        while time.monotonic() < round_s:
            tried += 1
            _try(corpus / name, run, changed(chance, chance.choice(pool), chance.choice(pool)))
    return tried


def examples(name: str, number: int) -> list[bytes]:
    """Inputs of a target, drawn by Hypothesis from a seed."""
    found: list[bytes] = []
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    plain = settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=checks)

    def take(data: bytes) -> None:
        found.append(data)

    seed(number)(plain(given(INPUTS[name])(take)))()
    return found


def changed(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """The input with one to eight changes; ``other`` lends pieces."""
    body = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at, length = chance.randint(0, len(body)), min(chance.randint(1, 16) ** 2, 256)
        match chance.randrange(8):
            case 0 if body:
                body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
            case 1:
                body[at : at + 1] = chance.choice(EDGES)
            case 2:
                body[at:at] = chance.choice(EDGES)
            case 3:
                del body[at : at + length]
            case 4:
                body[at:at] = body[at : at + length]
            case 5:
                start = chance.randint(0, len(other))
                body[at:at] = other[start : start + length]
            case 6:
                start = chance.randint(0, len(other))
                body[at:] = other[start:]
            case _:
                body[at : at + length] = chance.randbytes(length)
    return bytes(body[:INPUT_BYTES_MAX])


def _try(folder: Path, run: Callable[[bytes], None], data: bytes) -> None:
    try:
        run(data)
    except Exception as error:
        smallest = shrunk(run, data, type(error))
        raise Broken(keep(folder, smallest), smallest, error) from error


def shrunk(run: Callable[[bytes], None], data: bytes, error: type[Exception]) -> bytes:
    """Pieces are left out, large ones first, as long as it still breaks in the same way."""
    until_s, piece = time.monotonic() + SHRINK_S, max(1, len(data) // 2)
    while piece:
        at = 0
        while at < len(data) and time.monotonic() < until_s:
            smaller = data[:at] + data[at + piece :]
            if _breaks(run, smaller, error):
                data = smaller
            else:
                at += piece
        piece //= 2
    return data


def _breaks(run: Callable[[bytes], None], data: bytes, error: type[Exception]) -> bool:
    try:
        run(data)
    except error:
        return True
    except Exception:  # noqa: BLE001  (another defect: one at a time)
        return False
    return False

"""What one seed stands for: settings, clients and troubles, drawn from it and from nothing else."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

MODES = ("healthy", "down", "storm", "limited", "lossy", "suspended")
TROUBLES = ("mode", "kill", "kill at a commit", "stop", "disk full", "disk fault", "clock", "reload", "replay", "shed")


@dataclass(frozen=True)
class Plan:
    """A simulation's parameters."""

    seed: int
    destinations: int
    clients: int
    lasts_s: float
    """Of trouble; calm follows until everything is delivered."""
    request_every_s: float
    """Mean, for each client."""
    requests: int
    """Of each client, at most."""
    trouble_every_s: float
    troubles: tuple[str, ...]
    """Those that this seed has."""
    max_kib: float
    cache_kib: float
    batch_kib: float
    batch_spans: int
    concurrency: int
    linger_ms: float
    grace_s: float
    max_body_bytes: int
    """Of the destinations: more is answered 413."""
    poison: float
    """Share of spans that are refused for good."""
    huge: float
    """Share of spans that are larger than ``max_body_bytes``."""
    settles: float
    """Share of traces whose rows wait."""
    patience_s: float
    """Of a client: then it gives up waiting and sends the same once more."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of the destinations' modes."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(f"plan {seed}")
    few = chance.sample(TROUBLES, k=chance.randint(1, len(TROUBLES)))
    # what gives spans up on purpose hides losses from the strictest check, so most seeds go without
    troubles = tuple(each for each in TROUBLES if each in few and (each != "shed" or chance.random() < 0.3)) or ("mode",)
    return Plan(
        seed=seed,
        destinations=chance.choice((1, 1, 2)),
        clients=chance.randint(1, 6),
        lasts_s=chance.choice((10, 30, 90)),
        request_every_s=chance.choice((0.5, 2, 8)),
        requests=25,
        trouble_every_s=chance.choice((2, 6, 20)),
        troubles=troubles,
        max_kib=chance.choice((8, 32, 4096)),
        cache_kib=chance.choice((1, 8, 4096)),
        batch_kib=chance.choice((2, 16, 3584)),
        batch_spans=chance.choice((4, 32, 8192)),
        concurrency=chance.choice((1, 2, 4)),
        linger_ms=chance.choice((0, 50, 1000)),
        grace_s=chance.choice((0, 1, 25)),
        max_body_bytes=chance.choice((3000, 1 << 30, 1 << 30)),
        poison=chance.choice((0, 0, 0.02)),
        huge=chance.choice((0, 0, 0.02)),
        settles=chance.choice((0, 0.3, 0.9)),
        patience_s=chance.choice((0.05, 2, 30)),
        weights={mode: chance.choice((0.0, 1.0, 3.0)) if mode != "healthy" else 2.0 for mode in MODES},
    )

"""The ledger: every span is in exactly one place, and the counts prove it. Pure.

Owns the transition table. Every count is monotone; only ``pending`` goes up and down, and it is derived:

    received + rescued = stored + rejected{reason} + filtered + sampled{reason}
    stored + replayed  = delivered + buried{reason} + shed{reason} + expired + purged + quarantined
                         + omitted + pending

It must not know SQLite, files or clocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum, StrEnum
from typing import NamedTuple

CHECKPOINT_VERSION = 1


class State(StrEnum):
    """What is counted, in spans."""

    RECEIVED = "received"
    RESCUED = "rescued"
    STORED = "stored"
    REJECTED = "rejected"
    FILTERED = "filtered"
    SAMPLED = "sampled"
    REPLAYED = "replayed"
    DELIVERED = "delivered"
    BURIED = "buried"
    SHED = "shed"
    EXPIRED = "expired"
    PURGED = "purged"
    QUARANTINED = "quarantined"
    OMITTED = "omitted"
    """Left out by the span filter when their time to settle was over: their trace showed no LLM work."""


REASONED = frozenset({State.REJECTED, State.SAMPLED, State.BURIED, State.SHED})
"""States that are counted by reason."""

OFFERED = (State.RECEIVED, State.RESCUED)
ANSWERED = (State.STORED, State.REJECTED, State.FILTERED, State.SAMPLED)
ENTERED = (State.STORED, State.REPLAYED)
LEFT = (State.DELIVERED, State.BURIED, State.SHED, State.EXPIRED, State.PURGED, State.QUARANTINED, State.OMITTED)


class Effect(NamedTuple):
    """What a transition adds to, and what it does to ``pending``."""

    adds: tuple[State, ...]
    pending: int


class Transition(Enum):
    """All that can happen to a span: the whole table."""

    REJECT = Effect((State.RECEIVED, State.REJECTED), 0)
    FILTER = Effect((State.RECEIVED, State.FILTERED), 0)
    SAMPLE = Effect((State.RECEIVED, State.SAMPLED), 0)
    STORE = Effect((State.RECEIVED, State.STORED), +1)
    RESCUE = Effect((State.RESCUED, State.STORED), +1)
    REPLAY = Effect((State.REPLAYED,), +1)
    DELIVER = Effect((State.DELIVERED,), -1)
    BURY = Effect((State.BURIED,), -1)
    SHED = Effect((State.SHED,), -1)
    EXPIRE = Effect((State.EXPIRED,), -1)
    PURGE = Effect((State.PURGED,), -1)
    QUARANTINE = Effect((State.QUARANTINED,), -1)
    OMIT = Effect((State.OMITTED,), -1)


class Move(NamedTuple):
    """So many spans went through a transition."""

    transition: Transition
    spans: int
    reason: str = ""
    """A bounded label for the states in ``REASONED``."""


Key = tuple[str, str]
"""(state, reason); the reason is empty for states without one."""


class Ledger:
    """Totals by state and reason."""

    def __init__(self, totals: Mapping[Key, int] | None = None) -> None:
        self.totals: dict[Key, int] = dict(totals or {})

    def after(self, moves: Iterable[Move]) -> dict[Key, int]:
        """The totals that these moves change, with their new values. Changes nothing."""
        changed: dict[Key, int] = {}
        for transition, spans, reason in moves:
            if spans < 0:
                raise ValueError(f"{transition.name} of {spans} spans")
            for state in transition.value.adds:
                key = (state.value, reason if state in REASONED else "")
                changed[key] = changed.get(key, self.totals.get(key, 0)) + spans
        return changed

    def apply(self, changed: Mapping[Key, int]) -> None:
        """Take over what ``after`` computed."""
        self.totals.update(changed)

    def sum(self, states: Iterable[State]) -> int:
        wanted = {state.value for state in states}
        return sum(spans for (state, _), spans in self.totals.items() if state in wanted)

    @property
    def pending(self) -> int:
        """Spans that entered and have not left."""
        return self.sum(ENTERED) - self.sum(LEFT)

    def imbalances(self, pending_spans: int) -> list[str]:
        """Both identities, checked against the spans that really lie in the buffer. Empty: all is well."""
        found = []
        offered, answered = self.sum(OFFERED), self.sum(ANSWERED)
        if offered != answered:
            found.append(f"received + rescued is {offered}, stored + rejected + filtered + sampled is {answered}")
        if self.pending != pending_spans:
            found.append(f"the ledger says {self.pending} pending spans, the rows hold {pending_spans}")
        return found


def to_json(ledger: Ledger, *, broken: bool) -> str:
    """The checkpoint that lies beside the file for the day the file is corrupt.

    ``broken`` says that SQLite reported damage while running, so that the next start doesn't trust a quick check.
    """
    totals = [[state, reason, spans] for (state, reason), spans in sorted(ledger.totals.items())]
    return json.dumps({"version": CHECKPOINT_VERSION, "broken": broken, "totals": totals})


def from_json(text: str) -> tuple[Ledger, bool]:
    """The ledger and the ``broken`` mark of a checkpoint. Raises ValueError for anything else."""
    tree = json.loads(text)
    if not isinstance(tree, dict) or tree.get("version") != CHECKPOINT_VERSION:
        raise ValueError("not a ledger checkpoint of this version")
    known = {state.value for state in State}
    totals: dict[Key, int] = {}
    for entry in tree.get("totals", ()):
        state, reason, spans = entry
        if state not in known or not isinstance(reason, str) or type(spans) is not int or spans < 0:
            raise ValueError("a ledger checkpoint holds (state, reason, spans)")
        totals[state, reason] = spans
    return Ledger(totals), tree.get("broken") is True

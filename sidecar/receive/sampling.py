"""Sampling on the way in: one decision for each trace of a request, and what becomes of its rows.

Owns the pure parts of ``sidecar.sample`` that live as long as the process (decisions, limbo, the keep probability in force), and the
account of one request until it is committed or refused. It must not know what presses (``governor.py`` does), transports or SQLite.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from sidecar.clock import Clock
from sidecar.config import Sampling as Settings
from sidecar.enrich.enricher import Find
from sidecar.enrich.notes import Finding, Note
from sidecar.observe.metrics import Metrics
from sidecar.rulefiles import RuleFile
from sidecar.sample.decision import KEEP_ALL, Decision, Decisions, Glimpse, glimpses, mark_dropped, mark_kept
from sidecar.sample.keep_rules import ERRORS, KeepRules, parse_sampling
from sidecar.sample.limbo import Held, Limbo, mark_torn
from sidecar.sample.window import Window
from sidecar.wire.rows import NewRow
from sidecar.wire.shallow_pb2 import Span

MIB = 1024 * 1024
ANSWERS_LEAST = 20
"""Requests in ten seconds, from which the p95 says more than the slowest one."""
_ERROR = 2
"""OTLP's StatusCode."""


def keep_rules_file(settings: Settings, env: Mapping[str, str]) -> RuleFile[KeepRules]:
    """The file of keep rules; it must be loaded before its value is used."""
    return RuleFile("sampling.rules", settings.rules, partial(parse_sampling, default_probability=settings.probability), env)


@dataclass(slots=True)
class Usage:
    """What came and what was kept, since it was last taken away. A unit is what Langfuse bills: an observation, or a trace (counted by its root)."""

    offered_units: int = 0
    kept_units: int = 0
    offered_bytes: int = 0
    """Compressed."""
    kept_bytes: int = 0

    def of(self, budget: str) -> tuple[int, int]:
        """(offered, kept) in what a budget of this name counts."""
        return (self.offered_units, self.kept_units) if budget == "units" else (self.offered_bytes, self.kept_bytes)


class Sampler:
    """What all requests share."""

    def __init__(self, file: RuleFile[KeepRules], settings: Settings, use_find: Callable[[Find], None], clock: Clock, metrics: Metrics) -> None:
        """``file`` has been loaded; ``use_find`` is told who judges spans from now on."""
        self.probability = 1.0
        """What pressure and budgets allow; for new traces it is multiplied by their base probability."""
        self.decisions = Decisions(int(settings.decisions_mib * MIB), file.value, clock.monotonic())
        self.limbo = Limbo(int(settings.limbo_mib * MIB), settings.limbo_s)
        self.file = file
        self.rules = file.value
        self.usage = Usage()
        self.answers_ms = Window(least=ANSWERS_LEAST)
        """How long requests took from their last byte to their commit."""
        self.clock = clock
        self.metrics = metrics
        self._use_find = use_find
        use_find(self.rules.find)

    def renew(self) -> None:
        """Decide by what the file says now. What was decided stays."""
        self.rules = self.file.value
        self.decisions.use_rules(self.rules, self.clock.monotonic())
        self._use_find(self.rules.find)

    def answered(self, began_s: float) -> None:
        """A request that was complete at ``began_s`` (monotonic) is committed or refused."""
        now_s = self.clock.monotonic()
        self.answers_ms.add((now_s - began_s) * 1000, now_s)

    def take_usage(self) -> Usage:
        """The usage since the last call."""
        usage, self.usage = self.usage, Usage()
        return usage

    def begin(self) -> Draft:
        """A new request."""
        return Draft(self)


class Draft:
    """What sampling does to one request. After its rows were taken, exactly one of ``commit`` and ``undo`` is called.

    Decisions, limbo and rescues take effect at once, because requests of one trace may overlap; ``undo`` turns them back.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampled: Counter[str] = Counter()
        """Spans that were dropped, by reason."""
        self.rescued: list[NewRow] = []
        """Rows of earlier requests that come back."""
        self._sampler = sampler
        self._now_s = sampler.clock.monotonic()
        self._made: list[tuple[Glimpse, Decision]] = []
        self._decisions: dict[bytes, Decision] = {}
        self._adjusted: defaultdict[str, float] = defaultdict(float)
        self._usage = Usage()
        self._held: list[Held] = []
        self._taken_out: list[NewRow] = []

    def decide(self, notes: Iterable[Note], left_out: Collection[bytes]) -> None:
        """Decide on every trace of a batch but those ``left_out``, and write on its spans how they were chosen."""
        sampler = self._sampler
        seen = glimpses((note.span, note.finding or self._unread(note.span)) for note in notes if note.kept)
        for trace_id, glimpse in seen.items():
            if trace_id in left_out:
                continue
            decision = sampler.decisions.decide(glimpse, sampler.probability, self._now_s)
            self._made.append((glimpse, decision))
            if decision.rescues:
                decision = self._rescue(trace_id, decision)
            self._decisions[trace_id] = decision
            if decision.is_plain and not glimpse.has_state:
                self._adjusted[glimpse.label] += glimpse.spans
            elif decision.kept:
                self._adjusted[glimpse.label] += mark_kept(glimpse.members, decision)
            else:
                mark_dropped(glimpse.members)
            glimpse.members = []  # the batch is taken apart after this, and ``undo`` needs the rest only

    def take(self, row: NewRow, *, has_root: bool) -> NewRow | None:
        """The row as it is to be stored; None: its trace is dropped, and it waits in limbo."""
        decision = self._decisions[row.trace_id]
        units, size = row.spans + has_root, len(row.body)
        self._usage.offered_units += units
        self._usage.offered_bytes += size
        if not decision.kept:
            self.sampled[decision.reason] += row.spans
            held = self._sampler.limbo.put(row, self._now_s)
            if held is not None:
                self._held.append(held)
            return None
        self._usage.kept_units += units
        self._usage.kept_bytes += size
        threshold = max(row.threshold, decision.threshold)
        if (row.priority, row.threshold, row.randomness) == (decision.priority, threshold, decision.randomness):
            return row
        return replace(row, priority=decision.priority, threshold=threshold, randomness=decision.randomness)

    def commit(self) -> None:
        """The request was committed."""
        sampler, usage = self._sampler, self._usage
        for agent, count in self._adjusted.items():
            sampler.metrics.sampling_adjusted_spans.labels(agent).inc(count)
        sampler.usage.offered_units += usage.offered_units
        sampler.usage.kept_units += usage.kept_units
        sampler.usage.offered_bytes += usage.offered_bytes
        sampler.usage.kept_bytes += usage.kept_bytes

    def undo(self) -> None:
        """The request was refused: its spans never came, and what it rescued goes back to limbo."""
        sampler = self._sampler
        for glimpse, decision in reversed(self._made):
            sampler.decisions.take_back(glimpse, decision)
        for held in self._held:
            sampler.limbo.take_out(held)
        for row in self._taken_out:
            sampler.limbo.put(row, self._now_s)

    def _rescue(self, trace_id: bytes, decision: Decision) -> Decision:
        """Take back what was dropped of a trace; the decision for what comes with this request."""
        sampler = self._sampler
        rescue = sampler.limbo.rescue(trace_id, decision.rescues, self._now_s)
        self._taken_out += rescue.rows
        now_ms = sampler.clock.wall_ms()
        for row in rescue.rows:
            # Due at once: sealing completes it with what its trace has said since.
            back = replace(row, priority=decision.priority, threshold=KEEP_ALL, randomness=decision.randomness, seal_at_ms=now_ms)
            self.rescued.append(mark_torn(back) if rescue.torn else back)
            self._usage.kept_units += row.spans
            self._usage.kept_bytes += len(row.body)
        if not rescue.torn:
            return decision
        sampler.decisions.tear(trace_id)
        sampler.metrics.sampling_torn_rescues.inc()
        return decision._replace(torn=True)

    def _unread(self, span: Span) -> Finding:
        """Of a span that enrichment could not read: an error is an error all the same."""
        rules = self._sampler.rules
        is_error = rules.keep.errors and span.status.code == _ERROR
        return Finding(ERRORS if is_error else None, None, rules.probability(None, None), 0.0, 0, None)

"""The masking stage with its parts, built from the settings and the policy file, and exchanged as a whole when that changes.

Owns which parts belong together and their counts as metrics. It must not know what a policy means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sidecar.config import Masking as Settings
from sidecar.errors import ConfigError
from sidecar.mask.engine import Engine, choose_engine
from sidecar.mask.hmac_keys import HmacKeys
from sidecar.mask.packs import DETECTORS
from sidecar.mask.policy import Policy, parse_policy
from sidecar.mask.selftest import self_test
from sidecar.mask.stage import MaskingStage
from sidecar.mask.windows import Limits
from sidecar.observe.metrics import Metrics
from sidecar.wire.batch import SpanBatch

CACHE_FOLDER = "masking"
"""Beside the buffer: Hyperscan's compiled database, which takes a second to compile and milliseconds to load."""
_SHIPPED = frozenset(each.name for each in DETECTORS)


class Rules(NamedTuple):
    """A policy and the engine that was built and tested for it."""

    policy: Policy
    engine: Engine


class RulesParser:
    """What a rule file parses the masking policy with. One call at a time, on any thread.

    A policy that looks for the same as the one before keeps its engine: most changes are about what becomes of what is found, and
    compiling takes a second.
    """

    def __init__(self, settings: Settings, keys: HmacKeys, cache: Path | None) -> None:
        """``cache`` is the directory for Hyperscan's compiled database, made when it is needed; None: it is compiled at each start."""
        self._settings = settings
        self._keys = keys
        self._cache = cache
        self._last: Rules | None = None

    def __call__(self, tree: object) -> Rules:
        """The rules in what a policy file holds. ConfigError with every problem, also when a detector does not find its own examples."""
        policy = Policy(parse_policy(tree, DETECTORS), self._keys)
        last = self._last
        same = last is not None and last.policy.limits == policy.limits and last.engine.detectors == policy.detectors
        self._last = Rules(policy, last.engine if last is not None and same else self._engine(policy))
        return self._last

    def _engine(self, policy: Policy) -> Engine:
        limits = policy.limits
        engine = choose_engine(policy.detectors, self._settings.engine, Limits(limits.max_value_bytes, limits.max_hits), own_folder(self._cache))
        # They stand first in the engine's table. Patterns of the policy have no examples.
        problems = self_test(engine, [each for each in policy.detectors if each.name in _SHIPPED])
        if problems:
            raise ConfigError([f"masking self-test: {each}" for each in problems])
        return engine


def own_folder(path: Path | None) -> Path | None:
    """The directory, made if need be; None when it belongs to somebody else, or others may write there. Without it each start compiles, nothing else."""
    if path is None:
        return None
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.stat()
    except OSError:
        return None
    return None if found.st_uid != os.geteuid() or found.st_mode & 0o022 else path


def rules_parser(settings: Settings, keys: HmacKeys, buffer_path: str) -> RulesParser:
    """The parser with the cache beside the buffer."""
    return RulesParser(settings, keys, None if buffer_path == ":memory:" else Path(buffer_path).parent / CACHE_FOLDER)


def nothing_masked(_: SpanBatch) -> Iterator[None]:
    """The mask of a sidecar that is configured to mask nothing."""
    return iter(())


class Masking:
    """The mask of the pipeline."""

    def __init__(self, rules: Rules, metrics: Metrics) -> None:
        self._stage = MaskingStage(rules.policy, rules.engine)
        self._metrics = metrics

    def use(self, rules: Rules) -> None:
        """Mask new batches by these rules. There is no moment without rules."""
        self._stage.use(rules.policy, rules.engine)

    def __call__(self, batch: SpanBatch) -> Iterator[None]:
        """Mask the batch, with breaths between values."""
        try:
            yield from self._stage(batch)
        finally:
            self._publish()

    def _publish(self) -> None:
        for (detector, action), values in self._stage.counts.items():
            self._metrics.masked_values.labels(detector, action).inc(values)
        self._stage.counts.clear()
        for reason, values in self._stage.failures.items():
            self._metrics.masking_failures.labels(reason).inc(values)
        self._stage.failures.clear()

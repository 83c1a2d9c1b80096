"""What all tests share: the same examples in every run, compiled triggers, and a heap that the garbage collector does not walk again and again."""

from __future__ import annotations

import functools
import gc
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings

from sidecar.mask import hyperscan_engine
from sidecar.mask.hyperscan_engine import Compiled, compile_triggers
from sidecar.mask.triggers import Trigger

# Nothing here depends on how busy the machine is: no deadline, no check of how long examples take to make.
settings.register_profile("fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("fixed")


@functools.lru_cache(maxsize=32)
def _compiled(triggers: tuple[Trigger, ...]) -> Compiled:
    return compile_triggers(triggers)


def compile_once(triggers: Sequence[Trigger]) -> Compiled:
    """Engines for the same triggers share databases, which nothing changes: the shipped ones take a second to compile."""
    return _compiled(tuple(triggers))


def pytest_configure(config: pytest.Config) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(hyperscan_engine, "compile_triggers", compile_once)
    config.add_cleanup(patch.undo)


def pytest_collection_finish() -> None:
    """Modules and collected tests stay to the end; each full collection would walk them, for half a second."""
    gc.collect()
    gc.freeze()

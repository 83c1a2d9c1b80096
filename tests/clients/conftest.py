"""One sidecar and one fake Langfuse for all client libraries of a module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.fakes.langfuse import FakeLangfuse, langfuse_thread
from tests.processes import Sidecar, sidecar_process


@dataclass(frozen=True, slots=True)
class Relay:
    """The way from a client library to Langfuse."""

    sidecar: Sidecar
    langfuse: FakeLangfuse


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with langfuse_thread() as fake, sidecar_process(tmp_path_factory.mktemp("sidecar"), fake.url) as sidecar:
        yield Relay(sidecar, fake)
        assert fake.seen.lost == [] and fake.seen.oddities == [] and fake.seen.duplicates() == 0
        assert sidecar.ledger().problems() == []

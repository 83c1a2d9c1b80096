from __future__ import annotations

import logging

import pytest

from sidecar.errors import ForwardingLoop
from sidecar.receive.echo import EchoDetector


@pytest.mark.parametrize("instance", [None, "", "another"])
def test_requests_of_others_pass(instance: str | None) -> None:
    EchoDetector("me", logging.getLogger("echo")).check(instance)


def test_our_own_requests_are_refused_and_the_alarm_rings_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    echoes = EchoDetector("me", logging.getLogger("echo"), lambda: now[0])
    for after_s in (0.0, 1.0, 58.0, 2.0):
        now[0] += after_s
        with pytest.raises(ForwardingLoop):
            echoes.check("me")
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]

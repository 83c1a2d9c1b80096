"""The soak that `make soak` runs for half an hour, for less than a minute: it must be able to pass and to fail."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.soak import SPANS_A_REQUEST, Numbers
from tests.fakes.langfuse_rules import flatten
from tests.processes import ROOT

pytestmark = pytest.mark.acceptance


def test_a_short_soak_with_a_kill_loses_nothing() -> None:
    command = [sys.executable, "-m", "bench.soak", "--minutes", "0.6", "--rate", "500", "--seed", "5", "--kills"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)

    assert "SIGKILL" in done.stdout, done.stdout + done.stderr
    figures = {line[:44].strip(): line[44:].split() for line in done.stdout.splitlines()}
    for name in ("acknowledged minus delivered", "delivered and never sent", "ledger out of balance", "pending at the end"):
        assert (figures[name][0], figures[name][-1]) == ("0", "held"), done.stdout


def test_a_span_that_did_not_arrive_is_missed() -> None:
    numbers = Numbers(random.Random(1))
    first, second = (ExportTraceServiceRequest.FromString(numbers.body(request)) for request in (0, 1))
    numbers.acknowledge(0)
    numbers.acknowledge(1)
    numbers.take(Counter(span.id for span in flatten(first)))
    numbers.take(Counter([span.id for span in flatten(second)][1:]))
    numbers.take(Counter([next(iter(flatten(first))).id]))
    numbers.take(Counter([(bytes(16), bytes(8))]))

    assert (numbers.lost, numbers.duplicates, numbers.strangers) == (1, 1, 1)
    assert sum(numbers.acknowledged) == 2 * SPANS_A_REQUEST

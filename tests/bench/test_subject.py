from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import pytest

from bench.load import saturate
from bench.subject import HUNDRED, Subject, external, measure, running, sidecar

SMALL = replace(HUNDRED, spans=10, requests=20)
PLAIN = ("masking.enabled=false", "sampling.enabled=false", "enrichment.enabled=false")
LOSER = """
import http.server, sys
class Loser(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Loser).serve_forever()
"""


def test_a_round_costs_time_and_delivers_what_was_acknowledged() -> None:
    with running(sidecar("relay", *PLAIN)) as started:
        cost = measure(started, SMALL, 1)

        assert (cost.acknowledged, cost.delivered, cost.sampled, cost.lost) == ((10 + 20) * 10, (10 + 20) * 10, 0, 0)
        assert cost.us_per_span > 0 and cost.us_per_kb == pytest.approx(cost.us_per_span / 4, rel=0.01)
        assert started.rss_mib() > 20


def test_a_relay_that_delivers_nothing_is_noticed() -> None:
    loser = Subject("loser", [sys.executable, "-c", LOSER, "{http}"])
    with running(loser) as started:
        sent = asyncio.run(saturate(started.http, SMALL.bodies(1), SMALL.requests, 2))
        assert (sent.requests, sent.refused) == (20, 0)

        with pytest.raises(TimeoutError, match="loser delivered 0 of 200 spans"):
            started.drain(200, 0.1)


def test_a_program_that_does_not_start_is_named_with_its_words() -> None:
    with pytest.raises(SystemExit, match="no such luck"), running(external("broken", f"{sys.executable} -c 'raise ValueError(\"no such luck\")'")):
        pass

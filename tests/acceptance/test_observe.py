"""A real Prometheus beside a real sidecar: alerts fire in an outage that is played, end with it, and every query of every dashboard has data."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import string
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests import corpus, spans
from tests.acceptance.sending import corpus_requests, outgoing, over_http, send_now, traces
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, FakeLangfuse, langfuse_thread
from tests.processes import ROOT, Sidecar, sidecar_process
from tests.prometheus import Prometheus, needs, prometheus

pytestmark = [pytest.mark.acceptance, needs("prometheus", "prometheus")]

BOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
WITHOUT_DATA = {"sidecar_sampling_": "sampling is off here: it would shed the backlog of the full buffer that the alerts need"}
"""Metrics of a query that can have no data here, and why: states that can't be provoked from outside."""
POISON = "poison"
BURIED = 'sidecar_ledger_spans_total{state="buried"} > 0'
DEFECTS = frozenset({"SidecarLedgerOutOfBalance", "SidecarSpansExpired", "SidecarSpansQuarantined", "SidecarSpansShed"})
HITS_MAX = 500
CAPTURE_BYTES_MAX = 60_000
"""Of one request of the corpus: one of each framework, and all of them in a buffer of 1 MiB."""


class Shown(NamedTuple):
    """One query of a dashboard."""

    board: str
    panel: str
    expr: str


def asked(path: Path) -> list[Shown]:
    """Every query of a board, of its panels and of its variables, with every variable's choice left open."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    variables = {each["name"]: each for each in tree["templating"]["list"]}
    found = [Shown(tree["uid"], panel["title"], target["expr"]) for panel in tree["panels"] for target in panel.get("targets", ())]
    for name, variable in variables.items():
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]  # ours
            found.append(Shown(tree["uid"], f"${name}", f"count by ({label}) ({series})"))
    return [each._replace(expr=with_choices(each.expr, variables.keys())) for each in found]


def with_choices(expr: str, variables: Iterable[str]) -> str:
    """What Grafana makes of a query when "All" is chosen; it looks back over the whole run."""
    text = re.sub(r"\$__(rate_interval|interval|range)\b", "10m", expr)
    for name in variables:
        text = re.sub(rf"\$(?:{name}\b|{{{name}}})", ".*", text)
    assert "$" not in text, f"a variable that the board does not have: {text}"
    return text


def gaps(server: Prometheus) -> list[Shown]:
    """The queries without data."""
    queries = [each for path in BOARDS for each in asked(path)]
    assert queries
    return [each for each in queries if not any(metric in each.expr for metric in WITHOUT_DATA) and not server.query(each.expr)]


def rule_files(folder: Path) -> dict[str, dict[str, object]]:
    """An agent that is expected to use another model than it does, and a masking policy that gives up early."""
    agents = {"agents": [{"match": "planner", "model": ["gpt-4o*"], "team": "core", "budget": {"usd_per_day": 1_000_000, "tokens_per_day": 10**9}}]}
    (folder / "agents.yaml").write_text(yaml.safe_dump(agents), encoding="utf-8")
    (folder / "masking.yaml").write_text(yaml.safe_dump({"limits": {"max_hits": HITS_MAX}}), encoding="utf-8")
    return {
        "enrichment": {"enabled": True, "settle_s": 1, "agents": str(folder / "agents.yaml")},
        "masking": {"enabled": True, "policy": str(folder / "masking.yaml")},
    }


def agents_at_work() -> list[ExportTraceServiceRequest]:
    """The smallest request of every captured framework."""
    found: dict[str, ExportTraceServiceRequest] = {}
    pairs = zip(corpus.trace_requests(), corpus_requests(), strict=True)
    for each, request in sorted(pairs, key=lambda pair: -len(pair[0].body)):
        if len(each.body) < CAPTURE_BYTES_MAX:
            found.setdefault(each.capture, request)
    return list(found.values())


def telling() -> list[ExportTraceServiceRequest]:
    """Spans that make every counter of the content count: an agent's call of an unexpected model without a price, something to mask, a mend, a repeat, no root;
    a decision, and more agents than labels.
    """
    call: spans.Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.agent.name": "planner",
        "gen_ai.request.model": "no-such-model-7",
        "gen_ai.usage.input_tokens": 3,
        "note": "ann@example.com",
    }
    child = spans.request(spans.span(span_id=b"child-01", parent=b"absent-1", attributes=call))
    mended = spans.request(spans.span(trace_id=b"another-trace-01", span_id=b"mended-1", parent=bytes(8)))
    decision = spans.span(trace_id=b"a-decision-trace", attributes={"agent.decision": "discount", "agent.decision.confidence": 0.75})
    crowd = [
        spans.span(
            trace_id=b"a-crowded-trace.", span_id=number.to_bytes(8), attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
        )
        for number, name in enumerate((f"{one}{two} agent" for one in string.ascii_lowercase for two in string.ascii_lowercase[:10]), 1)
    ]
    return [child, child, mended, spans.request(decision), spans.request(*crowd)]


def fill(sidecar: Sidecar) -> None:
    """Send until the buffer refuses it."""

    async def scenario() -> None:
        async with over_http(sidecar) as send:
            for request in traces(500, spans_each=10, bytes_each=8000, seed=9):
                if await send(outgoing(request)) == "503":
                    return
        raise AssertionError("the buffer was never full")

    asyncio.run(scenario())


def play_an_outage(fake: FakeLangfuse, sidecar: Sidecar, server: Prometheus) -> None:
    """The destination refuses connections until the buffer is full; then it is back."""
    fake.down()
    send_now(sidecar, traces(5, seed=1))
    server.wait_for("SidecarDestinationDown", "SidecarDeliverySuccessLow")
    fill(sidecar)
    server.wait_for("SidecarSpansRefused", "SidecarBufferNearlyFull", "SidecarUnattended")
    assert server.firing() & DEFECTS == set()
    assert [text for text in server.annotations() if "error" in text.lower() and "expand" in text.lower()] == []

    fake.up()
    sidecar.settled()
    server.wait_for_end("SidecarDestinationDown", "SidecarDeliverySuccessLow", "SidecarSpansRefused", "SidecarBufferNearlyFull", "SidecarUnattended")


def play_wrong_keys(fake: FakeLangfuse, sidecar: Sidecar, server: Prometheus) -> None:
    """The destination no longer knows our key until somebody mends that and says so."""
    fake.keys = {}
    send_now(sidecar, traces(2, seed=2))
    server.wait_for("SidecarKeysWrong")
    assert "SidecarDestinationDown" not in server.firing()

    fake.keys = {PUBLIC_KEY: SECRET_KEY}
    sidecar.signal(signal.SIGHUP)
    sidecar.settled()
    server.wait_for_end("SidecarKeysWrong")


def play_a_poison(sidecar: Sidecar, server: Prometheus) -> None:
    """A span that the destination refuses, among others that it takes."""
    bad = spans.request(spans.span(trace_id=b"poisonous-trace1", span_id=b"poison-1", name=POISON))
    send_now(sidecar, [bad, *traces(3, seed=3)])
    sidecar.wait_until(lambda: sidecar.ledger().pending == 1 or sidecar.ledger().total("buried") == 1, 20, "delivery of the others")
    send_now(sidecar, traces(3, seed=4))
    ledger = sidecar.settled()
    assert ledger.total("buried") == 1
    server.wait_until(lambda: server.query(BURIED) != [], "the dead letter in Prometheus")


def play_a_value_that_cannot_be_masked(sidecar: Sidecar, server: Prometheus) -> None:
    """More addresses than the policy lets masking work on."""
    assert "SidecarMaskingFailures" not in server.firing()
    text = " ".join(f"reader{number}@example.com" for number in range(2 * HITS_MAX))
    send_now(sidecar, [spans.request(spans.span(trace_id=b"unmaskable-trace", span_id=b"too-much", attributes={"note": text}))])
    server.wait_for("SidecarMaskingFailures")
    sidecar.settled()
    server.wait_for_end("SidecarMaskingFailures")


def test_alerts_fire_in_a_real_outage_and_end_with_it_and_every_query_of_every_dashboard_has_data(tmp_path: Path) -> None:
    config: dict[str, object] = {
        **rule_files(tmp_path),
        "buffer": {"max_mib": 1},
        "forward": {"retry": {"initial_s": 0.1, "max_s": 0.5}},
    }
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, config) as sidecar, prometheus(tmp_path / "prometheus", sidecar) as server:
        fake.reject_if(lambda span: span.name == POISON)
        send_now(sidecar, traces(5))
        sidecar.settled()
        server.wait_for_quiet()

        send_now(sidecar, [*agents_at_work(), *telling()])
        server.wait_for("SidecarModelDrift")
        play_a_value_that_cannot_be_masked(sidecar, server)
        play_an_outage(fake, sidecar, server)
        play_wrong_keys(fake, sidecar, server)
        play_a_poison(sidecar, server)
        assert gaps(server) == []

        sidecar.kill()
        server.wait_for("SidecarNotScraped")

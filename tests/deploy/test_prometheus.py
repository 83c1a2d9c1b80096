"""Rules and alerts: what they name exists, each is explained and tested, and they fire in an outage that is played for real.

Debian's package ``prometheus`` brings ``promtool`` and the server, ``prometheus-alertmanager`` brings ``amtool``.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypedDict

import pytest
import yaml

from scripts.generate_dashboards import ROWS, SELECT
from sidecar.app import new_metrics
from sidecar.buffer.ledger import ANSWERED, ENTERED, LEFT, OFFERED, State
from sidecar.enrich.completer import Outcome
from sidecar.enrich.prices import Reason
from sidecar.errors import BufferFull, ForwardingLoop, Overloaded, Unexpected
from sidecar.forward.verdict import PauseReason
from tests import spans
from tests.acceptance.sending import outgoing, over_http, send_now, traces
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, FakeLangfuse, langfuse_thread
from tests.fakes.listener import HOST, HeldPort
from tests.processes import Sidecar, sidecar_process

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "prometheus"
SCENARIOS = sorted((FOLDER / "tests").glob("*.yaml"))
OPERATIONS = ROOT / "docs" / "operations.md"
KEYWORDS = frozenset({"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "group_left", "group_right"})
OF_TARGETS = frozenset({"job", "instance"})
OF_ALERTS = frozenset({"alertname", "alertstate", "severity"})
RULE = re.compile(r"[a-z]+:[a-z0-9_]+:[a-z0-9_]+")


def needs(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is missing (Debian: apt-get install {package})")


class Rule(NamedTuple):
    """A recording rule or an alert."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def rules(file: str) -> list[Rule]:
    tree = yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))
    found = [rule for group in tree["groups"] for rule in group["rules"]]
    return [Rule(each.get("record") or each["alert"], each["expr"], each.get("labels", {}), each.get("annotations", {})) for each in found]


RECORDED, ALERTS = rules("rules.yaml"), rules("alerts.yaml")


class Selector(NamedTuple):
    """A matcher on a label: ``name=~"value"``."""

    label: str
    values: frozenset[str]


def matchers(expr: str) -> list[Selector]:
    """Every matcher; a pattern of alternatives is taken apart."""
    return [Selector(label, frozenset(text.split("|"))) for label, text in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', expr)]


def grouped(expr: str) -> set[str]:
    """Labels that are grouped, summed or matched by."""
    return {label for text in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expr) for label in re.findall(r"\w+", text)}


def names(expr: str) -> set[str]:
    """Metrics and recorded series of an expression; a histogram's parts count as the histogram."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)|offset\s+\w+", " ", bare)
    words = re.findall(r"[A-Za-z_:][\w:]*(?!\w|:|\s*\()", bare)
    return {re.sub(r"_bucket$", "", word) for word in words if word not in KEYWORDS}


def documented() -> dict[str, set[str]]:
    """docs/metrics.md as {metric: labels}."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return {name: set(re.findall(r"\w+", labels)) for name, labels in re.findall(r"^\| `(\w+)` \| \w+ \|([^|]*)\|", text, re.MULTILINE)}


def of_every_process() -> set[str]:
    """What the client library shows of any process."""
    return {
        sample.name for family in new_metrics().registry.collect() for sample in family.samples if sample.name.startswith(("process_", "python_"))
    }


def test_every_series_in_a_rule_exists() -> None:
    recorded = {rule.name for rule in RECORDED}
    known = {*documented(), *of_every_process(), *recorded, "up", "ALERTS"}

    assert {rule.name: missing for rule in (*RECORDED, *ALERTS) if (missing := names(rule.expr) - known)} == {}
    assert recorded - {name for rule in (*RECORDED, *ALERTS) for name in names(rule.expr)} - shown_series() == set()


def shown_series() -> set[str]:
    return {name for row in ROWS for panel in row.panels for query in panel.queries for name in names(query.expr)}


def test_every_label_in_a_rule_is_one_of_its_series() -> None:
    labels = {**documented(), **{rule.name: set[str]() for rule in RECORDED}}
    for rule in RECORDED:
        labels[rule.name] = {label for name in names(rule.expr) for label in labels.get(name, ())}

    for rule in (*RECORDED, *ALERTS):
        known = {label for name in names(rule.expr) for label in labels.get(name, ())} | OF_TARGETS | {"le"}
        known |= OF_ALERTS if "ALERTS" in rule.expr else set()
        assert {each.label for each in matchers(rule.expr)} | grouped(rule.expr) <= known, rule.name


def test_every_label_value_in_a_rule_is_one_that_the_code_has() -> None:
    known: dict[str, set[str]] = {
        "state": {*State},
        "verdict": {"delivered", "retry", "ambiguous", "pause", "split", "refused"},
        "reason": {*PauseReason, *Reason},
        "outcome": {*Outcome, "failed", "ok", *(error.reason for error in (BufferFull, Overloaded, Unexpected, ForwardingLoop))},
        "signal": {"traces"},
    }
    checked = [each for rule in (*RECORDED, *ALERTS) for each in matchers(rule.expr) if each.label not in OF_TARGETS | OF_ALERTS]

    assert {each.label for each in checked} == set(known)
    assert [each for each in checked if not each.values <= known[each.label]] == []


def test_the_ledgers_rules_name_exactly_the_states_of_the_ledger() -> None:
    """A state that is added to the ledger and not to the rules would alert for ever, or hide a loss."""

    def states(name: str) -> list[frozenset[str]]:
        (rule,) = [each for each in RECORDED if each.name == name]
        return [each.values for each in matchers(rule.expr) if each.label == "state"]

    assert states("instance:sidecar_ledger_unanswered_spans:difference") == [frozenset(OFFERED), frozenset(ANSWERED)]
    assert states("instance:sidecar_ledger_missing_spans:difference") == [frozenset(ENTERED), frozenset(LEFT)]


def test_recorded_series_are_named_level_metric_operation() -> None:
    assert [rule.name for rule in RECORDED if not RULE.fullmatch(rule.name)] == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_says_what_happened_how_bad_it_is_and_where_to_read_on(alert: Rule) -> None:
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert all(text.strip() for text in alert.annotations.values())
    assert alert.labels["severity"] in {"critical", "warning", "info"}
    assert alert.annotations["runbook_url"] == f"docs/operations.md#{alert.name.lower()}"


def test_the_runbook_has_meaning_and_action_for_every_alert_and_for_nothing_else() -> None:
    sections = re.split(r"^### ", OPERATIONS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]

    assert [section.split("\n")[0] for section in sections] == [alert.name for alert in ALERTS]
    assert [section.split("\n")[0] for section in sections if not re.search(r"\nMeaning: .+\n(.+\n)*\nAction: .+", section)] == []


def test_every_alert_has_a_scenario_in_which_it_fires_and_one_in_which_its_series_are_there_and_it_does_not() -> None:
    firing: set[str] = set()
    quiet: set[str] = set()
    for file in SCENARIOS:
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            series = {name for each in test["input_series"] for name in names(each["series"])}
            for moment in test["promql_expr_test"]:
                fires = {str(sample["labels"]).split('"')[1] for sample in moment.get("exp_samples", ())}
                firing |= fires
                quiet |= {alert.name for alert in ALERTS if alert.name not in fires and sources(alert.expr) & series}

    everything = {alert.name for alert in ALERTS}
    assert firing == everything
    assert quiet | {"SidecarUnattended"} == everything  # its source is other alerts: a scenario with a warning alone shows it quiet


def sources(expr: str) -> set[str]:
    """The scraped series behind an expression."""
    recorded = {rule.name: rule.expr for rule in RECORDED}
    found: set[str] = set()
    for name in names(expr):
        found |= sources(recorded[name]) if name in recorded else {name}
    return found - {"up"} if found != {"up"} else found


@needs("promtool", "prometheus")
@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@needs("promtool", "prometheus")
def test_prometheus_takes_the_example_configuration_with_every_rule() -> None:
    done = subprocess.run(["promtool", "check", "config", str(FOLDER / "prometheus.yaml")], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout and f"{len(RECORDED)} rules found" in done.stdout


@needs("amtool", "prometheus-alertmanager")
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "SidecarDiskFull", "severity": "critical"}, "on-call"),
        ({"alertname": "SidecarUnattended", "severity": "critical", "escalate": "true"}, "escalation"),
        ({"alertname": "SidecarReloadFailed", "severity": "warning"}, "chat"),
        ({"alertname": "SidecarModelDrift", "severity": "info"}, "digest"),
    ],
)
def test_alertmanager_sends_each_severity_to_its_receiver(labels: dict[str, str], receiver: str) -> None:
    command = [
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={FOLDER / 'alertmanager.yaml'}",
        *(f"{key}={value}" for key, value in labels.items()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr


def test_alertmanagers_routes_and_inhibitions_name_what_exists() -> None:
    tree = yaml.safe_load((FOLDER / "alertmanager.yaml").read_text(encoding="utf-8"))
    routes = [tree["route"], *tree["route"]["routes"]]
    kinds = {key for each in tree["receivers"] for key in each if key != "name"}
    named = {
        name
        for rule in tree["inhibit_rules"]
        for each in (*rule["source_matchers"], *rule["target_matchers"])
        for name in re.findall(r"Sidecar\w+", each)
    }

    assert {route["receiver"] for route in routes} == {each["name"] for each in tree["receivers"]}
    assert kinds == {"email_configs", "slack_configs", "webhook_configs"}
    assert named <= {alert.name for alert in ALERTS}


class Sample(TypedDict):
    """One element of an instant vector, as the server's API writes it."""

    metric: dict[str, str]
    value: list[float | str]


START_S, PATIENCE_S = 20.0, 60.0
_LOOK_S = 0.1


class Prometheus:
    """A server that scrapes one sidecar every second, with the shipped rules and short times."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self._url, self._process = f"http://{HOST}:{port}", process

    def query(self, expr: str) -> list[Sample]:
        """The vector of an instant query."""
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}", timeout=10) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        result: list[Sample] = answer["data"]["result"]
        return result

    def firing(self) -> set[str]:
        return {each["metric"]["alertname"] for each in self.query('ALERTS{alertstate="firing"}')}

    def annotations(self) -> list[str]:
        """The rendered texts of all active alerts."""
        with urllib.request.urlopen(f"{self._url}/api/v1/alerts", timeout=10) as response:
            return [text for alert in json.load(response)["data"]["alerts"] for text in alert["annotations"].values()]

    def ready(self) -> bool:
        with suppress(OSError, urllib.error.URLError):
            return bool(self.query("up == 1"))
        return False

    def wait_until(self, predicate: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Poll; raises AssertionError that names ``what`` and the alerts."""
        for _ in range(int(patience_s / _LOOK_S)):
            if predicate():
                return
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"Prometheus ended with {self._process.wait(_LOOK_S)} before {what}")
        raise AssertionError(f"no {what} within {patience_s} s; firing: {sorted(self.firing())}")

    def wait_for(self, *alerts: str) -> None:
        self.wait_until(lambda: set(alerts) <= self.firing(), f"alerts {alerts}")

    def wait_for_quiet(self) -> None:
        self.wait_until(lambda: not self.firing(), "end of every alert")


def hurried(text: str) -> str:
    """A copy of the rules for an outage of seconds: what is looked back at and waited for is short, what is compared stays."""
    text = re.sub(r"\[(5|10|15|30)m\]", "[10s]", text)
    text = re.sub(r"offset 10m", "offset 10s", text)
    return re.sub(r"for: \w+", "for: 1s", text)


@contextmanager
def prometheus(folder: Path, sidecar: Sidecar) -> Iterator[Prometheus]:
    folder.mkdir()
    for name in ("rules.yaml", "alerts.yaml"):
        (folder / name).write_text(hurried((FOLDER / name).read_text(encoding="utf-8")), encoding="utf-8")
    job = {"job_name": "langfuse-sidecar", "static_configs": [{"targets": [f"{HOST}:{sidecar.admin_port}"]}]}
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml", "alerts.yaml"],
        "scrape_configs": [job],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with HeldPort() as port, (folder / "log").open("wb") as log:
        listen = f"{HOST}:{port.port}"
        command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={listen}",
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            server = Prometheus(port.port, process)
            server.wait_until(server.ready, "first scrape", START_S)
            yield server
        finally:
            process.kill()
            process.wait()


NOT_PLAYED = frozenset({"sidecar_masking_failures_total", "sidecar_enrich_model_drift_calls_total"})
"""Shown by the dashboard, and not provoked by the outage below: a defect of masking, an agent that is expected to use another model."""
POISON = "poison"


def telling(sidecar: Sidecar) -> None:
    """Spans that make every counter of the content count: something to mask, a model without a price, a mend, a repeat, no root."""
    call: spans.Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "no-such-model-7",
        "gen_ai.usage.input_tokens": 3,
        "note": "ann@example.com",
    }
    child = spans.request(spans.span(span_id=b"child-01", parent=b"absent-1", attributes=call))
    mended = spans.request(spans.span(trace_id=b"another-trace-01", span_id=b"mended-1", parent=bytes(8)))
    send_now(sidecar, [child, child, mended])


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
    assert server.firing() & BALANCE == set()
    assert [text for text in server.annotations() if "error" in text.lower() and "expand" in text.lower()] == []

    fake.up()
    sidecar.settled()
    server.wait_for_quiet()


def play_wrong_keys(fake: FakeLangfuse, sidecar: Sidecar, server: Prometheus) -> None:
    """The destination no longer knows our key until somebody mends that and says so."""
    fake.keys = {}
    send_now(sidecar, traces(2, seed=2))
    server.wait_for("SidecarKeysWrong")
    assert "SidecarDestinationDown" not in server.firing()

    fake.keys = {PUBLIC_KEY: SECRET_KEY}
    sidecar.signal(signal.SIGHUP)
    sidecar.settled()
    server.wait_for_quiet()


def play_a_poison(sidecar: Sidecar, server: Prometheus) -> None:
    """A span that the destination refuses, among others that it takes."""
    bad = spans.request(spans.span(trace_id=b"poisonous-trace1", span_id=b"poison-1", name=POISON))
    send_now(sidecar, [bad, *traces(3, seed=3)])
    sidecar.wait_until(lambda: sidecar.ledger().pending == 1 or sidecar.ledger().total("buried") == 1, 20, "delivery of the others")
    send_now(sidecar, traces(3, seed=4))
    ledger = sidecar.settled()
    assert ledger.total("buried") == 1
    server.wait_until(lambda: server.query(BURIED) != [], "the dead letter in Prometheus")


BALANCE = frozenset({"SidecarLedgerOutOfBalance", "SidecarSpansExpired", "SidecarSpansQuarantined", "SidecarSpansShed"})
BURIED = 'sidecar_ledger_spans_total{state="buried"} > 0'


def dashboard_gaps(server: Prometheus) -> dict[str, str]:
    """{query: panel} of those without data, but for what is not played. Looks back over the whole run."""
    found = {}
    for row in ROWS:
        for panel in row.panels:
            for query in panel.queries:
                expr = query.expr.replace(SELECT, 'job=~".+", instance=~".+"').replace("$__rate_interval", "10m")
                if not names(query.expr) & NOT_PLAYED and not server.query(expr):
                    found[query.expr] = panel.title
    return found


@pytest.mark.acceptance
@needs("prometheus", "prometheus")
def test_alerts_fire_in_a_real_outage_and_end_with_it_and_every_query_of_the_dashboard_has_data(tmp_path: Path) -> None:
    config = {
        "enrichment": {"enabled": True, "settle_s": 1},
        "masking": {"enabled": True},
        "buffer": {"max_mib": 1},
        "forward": {"retry": {"initial_s": 0.1, "max_s": 0.5}},
    }
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url, config) as sidecar, prometheus(tmp_path / "prometheus", sidecar) as server:
        fake.reject_if(lambda span: span.name == POISON)
        send_now(sidecar, traces(5))
        telling(sidecar)
        sidecar.settled()
        server.wait_for_quiet()

        play_an_outage(fake, sidecar, server)
        play_wrong_keys(fake, sidecar, server)
        play_a_poison(sidecar, server)
        assert dashboard_gaps(server) == {}

        sidecar.kill()
        server.wait_for("SidecarNotScraped")

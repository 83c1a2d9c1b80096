"""Rules and alerts: what they name exists, and each is explained and tested. tests/acceptance/test_observe.py plays an outage.

Debian's package ``prometheus`` brings ``promtool``, ``prometheus-alertmanager`` brings ``amtool``.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from scripts.generate_dashboards import BOARDS
from sidecar.app import new_metrics
from sidecar.buffer.ledger import ANSWERED, ENTERED, LEFT, OFFERED, State
from sidecar.enrich.completer import Outcome
from sidecar.enrich.facts import ErrorKind, Kind
from sidecar.enrich.orchestration_rules import SignalKind
from sidecar.enrich.prices import Reason
from sidecar.errors import BufferFull, ForwardingLoop, Overloaded, Unexpected
from sidecar.forward.verdict import PauseReason
from tests.prometheus import needs

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "prometheus"
SCENARIOS = sorted((FOLDER / "tests").glob("*.yaml"))
OPERATIONS = ROOT / "docs" / "operations.md"
KEYWORDS = frozenset({"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "group_left", "group_right"})
OF_TARGETS = frozenset({"job", "instance"})
OF_ALERTS = frozenset({"alertname", "alertstate", "severity"})
RULE = re.compile(r"[a-z]+:[a-z0-9_]+:[a-z0-9_]+")


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
    return {name for board in BOARDS for row in board.rows for panel in row.panels for query in panel.queries for name in names(query.expr)}


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
        "signal": {"traces", *SignalKind},
        "operation": {*Kind},
        "kind": {*ErrorKind},
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
def test_alertmanager_takes_the_example_configuration() -> None:
    done = subprocess.run(["amtool", "check-config", str(FOLDER / "alertmanager.yaml")], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 receivers" in done.stdout


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

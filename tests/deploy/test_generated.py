"""The files of deploy/ that repeat others are current, and say what their sources say."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml

from scripts import generate_deploy
from tests.deploy.manifests import CHART, DEPLOY, KUBERNETES, of_kind, one, rendered

RULE = KUBERNETES / "monitoring" / "cluster" / "prometheus-rule.yaml"
APPLY_BYTES_MAX = 262_144
"""`kubectl apply` keeps a copy of the object in an annotation, and annotations end here."""


def groups_of(name: str) -> list[object]:
    found = yaml.safe_load((DEPLOY / "prometheus" / name).read_text(encoding="utf-8"))["groups"]
    assert isinstance(found, list)
    return found


def test_every_copy_is_current() -> None:
    assert generate_deploy.stale() == []


def test_the_rule_of_the_operator_and_of_the_chart_has_every_group_of_prometheus() -> None:
    groups = [*groups_of("rules.yaml"), *groups_of("alerts.yaml")]

    assert one(RULE)["spec"].value == {"groups": groups}
    assert one(CHART / "files" / "groups.yaml").value == {"groups": groups}


def test_the_folder_for_the_cluster_renders_to_the_rule_and_a_config_map_for_each_dashboard() -> None:
    documents = rendered(KUBERNETES / "monitoring" / "cluster")
    maps = of_kind(documents, "ConfigMap")
    boards = {path.name: path.read_text(encoding="utf-8") for path in (DEPLOY / "grafana").glob("*.json")}

    assert {each["metadata"]["namespace"].value for each in documents} == {"monitoring"}
    assert {name: each["data"][name].value for each in maps for name in each["data"].value} == boards  # type: ignore[attr-defined]  # a map
    assert {each["metadata"]["labels"]["grafana_dashboard"].value for each in maps} == {"1"}
    assert [each["metadata"]["name"].value for each in maps if len(json.dumps(each.value)) > APPLY_BYTES_MAX] == []
    assert len(of_kind(documents, "PrometheusRule")) == 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing (Debian: apt-get install prometheus)")
def test_promtool_takes_the_rules_of_the_chart() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(CHART / "files" / "groups.yaml")], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr

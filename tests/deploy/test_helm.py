"""The chart: its values against its schema, its configuration against the real loader, and what helm makes of it where helm is present."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import sidecar
from tests.deploy import rules
from tests.deploy.manifests import CHART, KUBERNETES, Tree, changed, of_kind, one, parse, pod_of
from tests.deploy.schema import is_map, problems
from tests.deploy.test_kubernetes import JOBS

VALUES = CHART / "values.yaml"
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def values() -> dict[str, object]:
    loaded = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    assert is_map(loaded)
    return loaded


def paths(tree: object, prefix: str = "") -> set[str]:
    return {prefix} | {each for key, below in tree.items() for each in paths(below, f"{prefix}.{key}")} if is_map(tree) else {prefix}


def helm_or_skip() -> list[str]:
    """The command that renders the chart; skips the test where there is no helm."""
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed")
    return [helm, "template", "rel", str(CHART), "--kube-version", "1.36.0"]


def template(*sets: str, apis: str = "") -> list[Tree]:
    """What `helm template` makes of the chart, for a cluster that has ``apis`` too."""
    command = helm_or_skip() + (["--api-versions", apis] if apis else [])
    for each in sets:
        command += ["--set", each]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def test_the_values_fit_their_schema() -> None:
    assert problems(values(), SCHEMA) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.repository", ""),
        ("image.tag", "latest"),
        ("imagee", {}),
        ("existingSecret", "Not A Name"),
        ("gateway.replicas", 0),
        ("gateway.replicas", True),
        ("gateway.persistence.size", "10GB"),
        ("gateway.persistence.accessMode", "ReadWriteMany"),
        ("gateway.config.shutdown", {}),
        ("gateway.config.bufer", {}),
        ("gateway.config.destinations", []),
        ("gateway.config.destinations", [{"name": "default", "secret_key": "sk-lf-00000000"}]),
        ("gateway.ruleFiles", {"sidecar.yaml": "x"}),
        ("gateway.networkPolicy.destinationPorts", [0]),
        ("gateway.autoscaling.cpuPercent", 101),
        ("policy", {"enabled": "yes"}),
    ],
)
def test_the_schema_refuses_what_would_not_work(path: str, value: object) -> None:
    assert problems(changed(Tree(values()), path, value).value, SCHEMA)


def test_every_value_that_a_template_names_is_there_and_every_value_is_named() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").iterdir()))
    text = text.replace("$gateway.", ".Values.gateway.")
    named = {found.removeprefix(".Values") for found in re.findall(r"\.Values(?:\.\w+)+", text)}
    known = paths(values())

    assert named - known == set()
    leaves = {path for path in known if path and not any(each.startswith(f"{path}.") for each in known)}
    assert [path for path in sorted(leaves) if not any(path == each or path.startswith(f"{each}.") for each in named)] == []


def test_the_charts_configuration_is_the_gateways() -> None:
    config = Tree(values())["gateway"]["config"]
    expected = one(KUBERNETES / "gateway" / "sidecar.yaml")

    assert config == expected


def test_the_chart_has_the_programs_version() -> None:
    chart = one(CHART / "Chart.yaml")

    assert chart["appVersion"] == sidecar.__version__


def test_the_rendered_gateway_is_that_of_the_manifests(tmp_path: Path) -> None:
    documents = template("gateway.autoscaling.enabled=true")
    (workload,) = of_kind(documents, "StatefulSet")
    (config_map,) = of_kind(documents, "ConfigMap")
    pod, theirs = pod_of(workload), pod_of(one(KUBERNETES / "gateway" / "stateful-set.yaml"))
    (container,), (expected,) = pod["spec"]["containers"].items(), theirs["spec"]["containers"].items()
    config = rules.loaded(container, config_map, tmp_path)

    for key in expected.keys() - {"image"}:
        assert container[key] == expected[key], key
    assert pod["spec"]["securityContext"] == theirs["spec"]["securityContext"]
    rules.check_restrictions(container)
    rules.check_common_config(config)
    rules.check_grace(pod, config, container["lifecycle"]["preStop"]["sleep"]["seconds"].number())
    assert container["image"] == f"langfuse-sidecar:{sidecar.__version__}"


def test_everything_rendered_selects_the_pods_of_its_release() -> None:
    documents = template("gateway.autoscaling.enabled=true", "gateway.podMonitor.enabled=true")
    (workload,) = of_kind(documents, "StatefulSet")
    selector, labels = workload["spec"]["selector"]["matchLabels"], pod_of(workload)["metadata"]["labels"]

    assert selector.keys() < labels.keys()
    assert [each["spec"]["selector"] for each in of_kind(documents, "Service")] == [selector, selector]
    assert [each["spec"]["podSelector"]["matchLabels"] for each in of_kind(documents, "NetworkPolicy")] == [selector]
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        assert [each["spec"]["selector"]["matchLabels"] for each in of_kind(documents, kind)] == [selector]
    assert "replicas" not in workload["spec"]
    assert workload["spec"]["serviceName"].value in {each["metadata"]["name"].value for each in of_kind(documents, "Service")}


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_the_policy_is_rendered_for_the_api_that_the_cluster_has(version: str) -> None:
    apis = f"admissionregistration.k8s.io/{version}/MutatingAdmissionPolicy"
    documents = template("policy.enabled=true", "gateway.enabled=false", "existingSecret=other", apis=apis)
    spec = of_kind(documents, "MutatingAdmissionPolicy")[0]["spec"]
    text = str(one(KUBERNETES / "policy" / "policy.yaml")["spec"])

    assert {each["kind"].value for each in documents} == {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"}
    assert {each["apiVersion"].value for each in documents} == {f"admissionregistration.k8s.io/{version}"}
    secret = re.compile(r'(\{name: |secretName: )"langfuse-sidecar"(?=, (?:key|defaultMode):)')
    assert str(spec).count('"other"') == 3
    assert str(spec) == secret.sub(r'\1"other"', text)


def test_the_monitors_job_is_one_that_the_alerts_look_for() -> None:
    documents = template("gateway.podMonitor.enabled=true")
    (monitor,) = of_kind(documents, "PodMonitor")
    labels = pod_of(of_kind(documents, "StatefulSet")[0])["metadata"]["labels"]

    assert JOBS.fullmatch(labels[monitor["spec"]["jobLabel"].text()].text())


def test_the_rendered_rules_are_those_of_the_manifests_with_the_labels_that_an_operator_asks_for() -> None:
    (rule,) = template("gateway.enabled=false", "prometheusRule.enabled=true", "prometheusRule.labels.release=monitoring")

    assert rule["spec"] == one(KUBERNETES / "monitoring" / "cluster" / "prometheus-rule.yaml")["spec"]
    assert rule["metadata"]["labels"]["release"] == "monitoring"


def test_grace_periods_and_replicas_that_contradict_each_other_are_refused() -> None:
    helm = helm_or_skip()
    for each, message in (
        ("gateway.terminationGracePeriodSeconds=45", "grace_s + 10"),
        ("gateway.autoscaling.minReplicas=9", "over maxReplicas"),
        ("gateway.replicas=0", "replicas"),
    ):
        done = subprocess.run([*helm, "--set", each], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr

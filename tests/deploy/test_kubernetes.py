"""The Kubernetes files, field by field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import sidecar
from tests.deploy import rules
from tests.deploy.manifests import DEPLOY, KUBERNETES, SIDECAR, Tree, environment, of_kind, one, pod_of, read, rendered

GRACE = "SIDECAR_GRACE_S"
CONFIG_MAP = Tree({"data": {name: (KUBERNETES / "sidecar" / name).read_text(encoding="utf-8") for name in ("sidecar.yaml", "agents.yaml")}})
FOLDERS = ("example", "gateway", "monitoring", "monitoring/cluster", "policy", "policy/namespace")
INJECT = "langfuse-sidecar/inject"
JOBS = re.compile(r".*langfuse-(sidecar|gateway)")
"""Of the alert SidecarNotScraped."""


def pod_patch(name: str) -> Tree:
    return pod_of(one(KUBERNETES / "sidecar" / name))


def policy() -> Tree:
    return one(KUBERNETES / "policy" / "policy.yaml")["spec"]


def policy_objects(path: str) -> list[Tree]:
    """What the policy's expression adds at a path. Its object literals are YAML once the types are taken off and the conditions decided, as for a Deployment."""
    text = policy()["mutations"].items()[0]["jsonPatch"]["expression"].text()
    text = re.sub(r"variables\.ends \? \S+ : (\S+?)}", r"\1}", text)
    text = re.sub(r"Object[\w.]*\{", "{", text)
    found = []
    for match in re.finditer(rf'path: "{re.escape(path)}", value: ', text):
        depth, end = 0, match.end()
        while depth or end == match.end():
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append(Tree(yaml.safe_load(text[match.end() : end])))
    return found


@pytest.mark.parametrize("path", sorted(KUBERNETES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_file_is_yaml_and_every_document_says_what_it_is(path: Path) -> None:
    for document in read(path):
        if path.name in ("sidecar.yaml", "agents.yaml"):
            continue
        assert document["kind"].text()
        assert document["apiVersion"].text()
        assert document["kind"].value in ("Kustomization", "Component") or document["metadata"]["name"].text()


@pytest.mark.parametrize("path", sorted(KUBERNETES.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_every_file_that_a_kustomization_names_exists_and_none_is_left_out(path: Path) -> None:
    tree, folder = one(path), path.parent
    files = {name for generator in tree["configMapGenerator"].items() for name in generator["files"].value}  # type: ignore[attr-defined]  # a list of names
    files |= {patch["path"].text() for patch in tree["patches"].items()}
    files |= {each.text() for key in ("resources", "components") for each in tree[key].items()}

    assert [name for name in files if not (folder / name).exists()] == []
    assert {each.name for each in folder.glob("*.yaml")} - files == {"kustomization.yaml"}


def test_the_pod_patch_has_the_configuration_the_grace_and_the_room_of_a_sidecar(tmp_path: Path) -> None:
    pod = pod_patch("pod-template.yaml")
    config = rules.loaded(pod["spec"]["initContainers"].items()[0], CONFIG_MAP, tmp_path)

    rules.check_sidecar_config(config)
    rules.check_grace(pod, config)
    rules.check_room(pod["spec"]["volumes"].named("langfuse-sidecar-buffer")["emptyDir"]["sizeLimit"].text(), config)


def test_the_patch_does_not_touch_what_is_the_agents() -> None:
    """Neither its security context nor its grace period nor its own containers."""
    assert pod_patch("pod-template.yaml")["spec"].keys() == {"initContainers", "volumes"}


def test_the_cron_job_patch_is_the_pod_patch_with_the_grace_of_jobs() -> None:
    """kustomize has no way to say it once: a CronJob's pod lies one level deeper."""
    pod, job, cron = (pod_patch(name) for name in ("pod-template.yaml", "job-grace.yaml", "cron-job.yaml"))
    container, ours = pod["spec"]["initContainers"].items()[0], cron["spec"]["initContainers"].items()[0]

    assert cron["spec"]["volumes"] == pod["spec"]["volumes"]
    assert cron["metadata"] == pod["metadata"]
    assert cron["spec"]["terminationGracePeriodSeconds"] == job["spec"]["terminationGracePeriodSeconds"]
    assert environment(ours) == environment(container) | environment(job["spec"]["initContainers"].items()[0])
    for key in container.keys() - {"env"}:
        assert ours[key] == container[key], key


def test_the_component_reaches_every_kind_of_workload_by_its_label() -> None:
    targets = [each["target"] for each in one(KUBERNETES / "sidecar" / "kustomization.yaml")["patches"].items()]

    assert {each["labelSelector"].value for each in targets} == {f"{INJECT}=true"}
    assert {kind for each in targets for kind in each["kind"].text().split("|")} == {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}


@pytest.mark.parametrize("name", ["assistant", "nightly-report", "backfill"])
def test_the_example_renders_to_pods_with_a_native_sidecar(name: str, tmp_path: Path) -> None:
    documents = rendered(KUBERNETES / "example")
    workload = next(each for each in documents if each["metadata"]["name"] == name)
    (config_map,) = of_kind(documents, "ConfigMap")
    pod = pod_of(workload)
    container = rules.check_sidecar(pod)
    config = rules.loaded(container, config_map, tmp_path)

    rules.check_sidecar_config(config)
    rules.check_grace(pod, config)
    assert pod["spec"]["volumes"].named("langfuse-sidecar-config")["configMap"]["name"] == config_map["metadata"]["name"]
    assert container["image"] == f"{SIDECAR}:{sidecar.__version__}"
    assert "reporter" in (tmp_path / "agents.yaml").read_text(encoding="utf-8")
    agent = pod["spec"]["containers"].items()[0]
    assert pod["metadata"]["annotations"]["langfuse-sidecar/container"] == agent["name"]
    assert not [variable for variable in environment(agent) if "LANGFUSE" in variable], "the agent knows nothing of Langfuse"


def test_a_selector_of_the_example_still_fits_its_pods() -> None:
    for workload in of_kind(rendered(KUBERNETES / "example"), "Deployment"):
        labels = pod_of(workload)["metadata"]["labels"]
        selector = workload["spec"]["selector"]["matchLabels"]
        assert selector
        assert all(labels[key] == selector[key] for key in selector.keys())  # noqa: SIM118  (a Tree, not a mapping)


def test_a_job_with_a_claim_leaves_its_buffer_to_the_next_pod(tmp_path: Path) -> None:
    documents = rendered(KUBERNETES / "example")
    (claim,) = of_kind(documents, "PersistentVolumeClaim")
    (cron,) = of_kind(documents, "CronJob")
    pod = pod_of(cron)
    volume = pod["spec"]["volumes"].named("langfuse-sidecar-buffer")
    config = rules.loaded(pod["spec"]["initContainers"].items()[0], CONFIG_MAP, tmp_path)

    assert volume == {"name": "langfuse-sidecar-buffer", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"].value}}
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert pod["spec"]["securityContext"]["fsGroup"] == rules.USER
    rules.check_room(claim["spec"]["resources"]["requests"]["storage"].text(), config)


def test_the_policy_adds_what_the_component_adds() -> None:
    ours = pod_patch("pod-template.yaml")
    (container,) = policy_objects("/spec/initContainers/0")
    expected = ours["spec"]["initContainers"].items()[0]

    assert container["image"] == "params.data.image"
    for key in expected.keys() - {"image", "env"}:
        assert container[key] == expected[key], key
    assert [each for each in container["env"].items() if each["name"] != GRACE] == expected["env"].items()
    assert environment(container)[GRACE] == "10"
    assert policy_objects("/spec/volumes/-") == ours["spec"]["volumes"].items()


def test_the_policy_never_stops_a_pod_and_never_adds_a_second_sidecar() -> None:
    spec = policy()

    assert spec["failurePolicy"] == "Ignore"
    assert spec["matchConstraints"]["objectSelector"]["matchLabels"] == {INJECT: "true"}
    assert spec["matchConstraints"]["resourceRules"] == [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    assert 'each.name == "langfuse-sidecar"' in spec["matchConditions"].items()[0]["expression"].text()
    binding = one(KUBERNETES / "policy" / "binding.yaml")["spec"]
    assert binding["policyName"] == one(KUBERNETES / "policy" / "policy.yaml")["metadata"]["name"]
    assert binding["paramRef"]["parameterNotFoundAction"] == "Allow"


def test_the_policy_gives_the_sidecar_the_time_that_its_configuration_takes(tmp_path: Path) -> None:
    variables = {each["name"].value: each["expression"].text() for each in policy()["variables"].items()}
    found = re.fullmatch(r"variables\.ends \? (\d+) : (\d+)", variables["graceWanted"])
    graces = re.search(rf'name: "{GRACE}", value: variables\.ends \? "(\d+)" : "(\d+)"', str(policy()["mutations"]))
    assert found
    assert graces
    container = pod_patch("pod-template.yaml")["spec"]["initContainers"].items()[0]
    for given_s, grace_s in zip(found.groups(), graces.groups(), strict=True):
        env = [*container["env"].value, {"name": GRACE, "value": grace_s}]  # type: ignore[misc]  # a list of maps
        config = rules.loaded(Tree({"env": env}), CONFIG_MAP, tmp_path)
        assert config.shutdown.grace_s == float(grace_s)
        rules.check_grace(Tree({"spec": {"terminationGracePeriodSeconds": int(given_s)}}), config)


def test_a_namespace_of_the_policy_has_the_components_files() -> None:
    config = one(KUBERNETES / "policy" / "namespace" / "config.yaml")

    assert config["metadata"]["name"] == SIDECAR
    assert config["data"].keys() == {"image", "sidecar.yaml", "agents.yaml"}
    assert config["data"]["image"] == f"{SIDECAR}:{sidecar.__version__}"
    for name in ("sidecar.yaml", "agents.yaml"):
        assert config["data"][name] == CONFIG_MAP["data"][name], name


def gateway() -> dict[str, Tree]:
    """The gateway's documents by file."""
    return {path.stem: document for path in (KUBERNETES / "gateway").glob("*.yaml") for document in read(path)[:1]}


def test_the_gateway_is_a_restricted_stateful_set_with_a_volume_each(tmp_path: Path) -> None:
    workload = gateway()["stateful-set"]
    pod = pod_of(workload)
    (container,) = pod["spec"]["containers"].items()
    (claim,) = workload["spec"]["volumeClaimTemplates"].items()
    config = rules.loaded(
        container, Tree({"data": {"sidecar.yaml": (KUBERNETES / "gateway" / "sidecar.yaml").read_text(encoding="utf-8")}}), tmp_path
    )

    rules.check_restrictions(container)
    rules.check_resources(container)
    rules.check_mounts(container, pod["spec"]["volumes"], frozenset({claim["metadata"]["name"].text()}))
    rules.check_keys(container)
    rules.check_common_config(config)
    rules.check_grace(pod, config, container["lifecycle"]["preStop"]["sleep"]["seconds"].number())
    rules.check_room(claim["spec"]["resources"]["requests"]["storage"].text(), config)
    assert [(config.receivers.http.endpoint.port, config.receivers.grpc.endpoint.port)] == [(4318, 4317)]
    assert pod["spec"]["securityContext"]["fsGroup"] == rules.USER
    assert container["startupProbe"]["httpGet"]["path"] == "/livez"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert workload["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenScaled": "Retain", "whenDeleted": "Retain"}
    assert "replicas" not in workload["spec"], "the autoscaler owns the number"


def test_everything_of_the_gateway_selects_its_pods_and_names_their_ports() -> None:
    documents, workload = gateway(), gateway()["stateful-set"]
    labels = pod_of(workload)["metadata"]["labels"]
    ports = {each["name"].value for each in pod_of(workload)["spec"]["containers"].items()[0]["ports"].items()}
    services = read(KUBERNETES / "gateway" / "service.yaml")

    assert workload["spec"]["selector"]["matchLabels"] == labels
    assert [each["spec"]["selector"] for each in services] == [labels, labels]
    assert {port["targetPort"].value for each in services for port in each["spec"]["ports"].items()} == ports
    assert workload["spec"]["serviceName"].value in [each["metadata"]["name"].value for each in services if each["spec"]["clusterIP"] == "None"]
    assert documents["disruption-budget"]["spec"]["selector"]["matchLabels"] == labels
    assert documents["network-policy"]["spec"]["podSelector"]["matchLabels"] == labels
    target = documents["autoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (workload["kind"], workload["metadata"]["name"])
    monitors = read(KUBERNETES / "monitoring" / "pod-monitor.yaml")
    assert monitors[1]["spec"]["selector"]["matchLabels"] == labels
    assert {each["port"].value for monitor in monitors for each in monitor["spec"]["podMetricsEndpoints"].items()} == {"sidecar-admin"}


def test_every_monitors_job_is_one_that_the_alerts_look_for() -> None:
    """The operator calls a job by the namespace and the monitor."""
    assert f'job=~"{JOBS.pattern}"' in (DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8")
    for monitor in read(KUBERNETES / "monitoring" / "pod-monitor.yaml"):
        assert "jobLabel" not in monitor["spec"]
        assert JOBS.fullmatch(f"agents/{monitor['metadata']['name'].text()}")


def test_the_autoscaler_uses_a_metric_that_exists_and_the_bound_of_the_configuration(tmp_path: Path) -> None:
    from prometheus_client import CollectorRegistry

    from sidecar.observe.metrics import Metrics

    (metric,) = [each["pods"] for each in gateway()["autoscaler"]["spec"]["metrics"].items() if each["type"] == "Pods"]
    registry = CollectorRegistry()
    Metrics(registry)
    container = pod_of(gateway()["stateful-set"])["spec"]["containers"].items()[0]
    config = rules.loaded(
        container, Tree({"data": {"sidecar.yaml": (KUBERNETES / "gateway" / "sidecar.yaml").read_text(encoding="utf-8")}}), tmp_path
    )

    assert metric["metric"]["name"].value in {family.name for family in registry.collect()}
    assert metric["target"]["averageValue"] == f"{int(config.buffer.max_mib * 0.6)}Mi"


def test_the_gateway_talks_to_dns_and_langfuse_alone_and_is_read_by_monitoring_alone() -> None:
    spec = gateway()["network-policy"]["spec"]
    agents, monitoring = spec["ingress"].items()

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert sorted(port["port"].number() for rule in spec["egress"].items() for port in rule["ports"].items()) == [53, 53, 443]
    assert [port["port"].value for port in monitoring["ports"].items()] == ["sidecar-admin"]
    assert monitoring["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert "sidecar-admin" not in str(agents)


def test_the_admin_ports_policy_leaves_every_other_port_of_the_agent_as_it_was() -> None:
    spec = one(KUBERNETES / "monitoring" / "network-policy.yaml")["spec"]
    free, monitoring = spec["ingress"].items()
    open_ports = {
        (port["protocol"].value, number)
        for port in free["ports"].items()
        for number in range(int(port["port"].number()), int(port["endPort"].number()) + 1)
    }

    assert spec["policyTypes"] == ["Ingress"]
    assert {(protocol, number) for protocol in ("TCP", "UDP", "SCTP") for number in range(1, 65536)} - open_ports == {("TCP", 9464)}
    assert [port["port"].value for port in monitoring["ports"].items()] == [9464]
    assert spec["podSelector"]["matchLabels"] == {"langfuse-sidecar/injected": "true"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_renders(folder: str) -> None:
    documents = rendered(KUBERNETES / folder)

    assert documents
    assert len({(each["kind"].value, each["metadata"]["name"].value) for each in documents}) == len(documents)

"""Everything that kubectl and helm render, and everything that the policy adds, against the schemas of Kubernetes' own API, strictly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.deploy.manifests import KUBERNETES, Tree, changed, one, read, rendered
from tests.deploy.schema import problems
from tests.deploy.test_helm import template
from tests.deploy.test_kubernetes import FOLDERS, policy_objects

SCHEMAS: dict[str, object] = json.loads((Path(__file__).parent / "schemas.json").read_text(encoding="utf-8"))
CORE = "io.k8s.api.core.v1"
CHART_CHOICES = (
    (),
    ("gateway.autoscaling.enabled=true", "gateway.podMonitor.enabled=true", "gateway.podMonitor.labels.release=x", "prometheusRule.enabled=true"),
    ("policy.enabled=true", "gateway.enabled=false"),
    ("image.pullSecrets[0].name=pull", "gateway.nodeSelector.disk=ssd", "gateway.tolerations[0].key=x", "gateway.persistence.storageClassName=fast"),
    ("gateway.networkPolicy.enabled=false", "gateway.disruptionBudget.enabled=false", "gateway.podAnnotations.a=b"),
)


def wrong(document: Tree) -> list[str]:
    """What Kubernetes would refuse, or drop without a word."""
    name = f"{document['apiVersion'].text()}/{document['kind'].text()}"
    return problems(document.value, SCHEMAS[name], name, SCHEMAS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_kubernetes_knows_every_field_that_kubectl_renders(folder: str) -> None:
    assert [each for document in rendered(KUBERNETES / folder) for each in wrong(document)] == []


@pytest.mark.parametrize("sets", CHART_CHOICES, ids=lambda sets: ",".join(each.split("=")[0] for each in sets) or "as it is")
def test_kubernetes_knows_every_field_that_helm_renders(sets: tuple[str, ...]) -> None:
    assert [each for document in template(*sets) for each in wrong(document)] == []


@pytest.mark.parametrize("folder", ["gateway", "monitoring", "policy", "policy/namespace"])
def test_kubernetes_knows_every_field_of_the_plain_files(folder: str) -> None:
    """Without kubectl too."""
    documents = [document for path in sorted((KUBERNETES / folder).glob("*.yaml")) for document in read(path) if document["apiVersion"]]
    known = [document for document in documents if "kustomize" not in document["apiVersion"].text()]

    assert known
    assert [each for document in known for each in wrong(document)] == []


def test_kubernetes_knows_every_field_that_the_policy_adds() -> None:
    added = {"Container": policy_objects("/spec/initContainers/0"), "Volume": policy_objects("/spec/volumes/-")}

    assert all(added.values())
    assert [
        each
        for kind, objects in added.items()
        for added_one in objects
        for each in problems(added_one.value, SCHEMAS[f"{CORE}.{kind}"], kind, SCHEMAS)
    ] == []


def gateway() -> Tree:
    return one(KUBERNETES / "gateway" / "stateful-set.yaml")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.replica", 2),
        ("spec.template.spec.containers.0.startupProb", {}),
        ("spec.template.spec.containers.0.image", ["a"]),
        ("spec.template.spec.containers.0.livenessProbe.periodSeconds", "10"),
        ("spec.template.spec.containers.0.ports", [{"name": "x"}]),
        ("spec.template.spec.securityContext.fsGroup", True),
        ("spec.selector", None),
    ],
)
def test_a_field_that_is_unknown_missing_or_of_another_type_is_found(path: str, value: object) -> None:
    assert wrong(changed(gateway(), path, value))


def test_the_gateway_itself_is_good() -> None:
    assert wrong(changed(gateway(), "spec.replicas", 2)) == []

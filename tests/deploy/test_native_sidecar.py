"""Each rule of a native sidecar, on what kubectl renders and on what the policy makes; and that each breach is found."""

from __future__ import annotations

import copy

import pytest

from tests.deploy.manifests import KUBERNETES, Tree, changed, one, pod_of, rendered
from tests.deploy.native_sidecar import RULES, Rule, broken, opened
from tests.deploy.schema import is_map
from tests.deploy.test_kubernetes import policy_objects

WORKLOADS = ("assistant", "nightly-report", "backfill")


def made_by_the_policy() -> Tree:
    """The example's own pod with what the policy adds to it."""
    template = copy.deepcopy(pod_of(one(KUBERNETES / "example" / "deployment.yaml")).value)
    assert is_map(template)
    assert is_map(template["spec"])
    assert is_map(template["metadata"])
    assert is_map(template["metadata"]["labels"])
    template["metadata"]["labels"]["langfuse-sidecar/injected"] = "true"
    template["spec"]["initContainers"] = [each.value for each in policy_objects("/spec/initContainers/0")]
    template["spec"]["volumes"] = [each.value for each in policy_objects("/spec/volumes/-")]
    return Tree(template)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rendered_pod_keeps_the_rule(rule: Rule) -> None:
    pods = {each["metadata"]["name"].text(): pod_of(each) for each in rendered(KUBERNETES / "example") if each["metadata"]["name"].value in WORKLOADS}

    assert sorted(pods) == sorted(WORKLOADS)
    assert [name for name, pod in pods.items() if not rule.holds(opened(pod))] == [], rule.because


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_pod_of_the_policy_keeps_the_rule_and_its_breach_is_found(rule: Rule) -> None:
    pod = made_by_the_policy()

    assert rule.holds(opened(pod)), rule.because
    assert not rule.holds(opened(changed(pod, *rule.breach)))


def test_a_pod_without_a_sidecar_is_found() -> None:
    pod = made_by_the_policy()

    assert broken(pod) == []
    assert broken(changed(pod, "spec.initContainers", []))

"""Kubernetes manifests as plain trees: reading, rendering with kubectl where it is present, and finding what belongs together."""

from __future__ import annotations

import copy
import functools
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from tests.deploy.schema import is_map

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
CHART = DEPLOY / "helm" / "langfuse-sidecar"
SIDECAR = "langfuse-sidecar"
TERMINATION_GRACE_S = 30
"""Kubernetes' default of terminationGracePeriodSeconds."""

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


class Tree:
    """A node of a manifest: ``tree["spec"]["template"]``; what is missing is an empty node, so that a check says what it misses."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __getitem__(self, key: str) -> Tree:
        return Tree(self.value.get(key)) if isinstance(self.value, dict) else Tree(None)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def __eq__(self, other: object) -> bool:
        return self.value == (other.value if isinstance(other, Tree) else other)

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __repr__(self) -> str:
        return repr(self.value)

    def text(self) -> str:
        assert isinstance(self.value, str), f"a text is expected, not {self.value!r}"
        return self.value

    def number(self) -> float:
        assert isinstance(self.value, int | float), f"a number is expected, not {self.value!r}"
        return self.value

    def items(self) -> list[Tree]:
        return [Tree(each) for each in self.value] if isinstance(self.value, list) else []

    def keys(self) -> set[str]:
        return set(self.value) if isinstance(self.value, dict) else set()

    def named(self, name: str) -> Tree:
        """The item of a list that has this name."""
        found = [each for each in self.items() if each["name"] == name]
        assert len(found) == 1, f"{name!r} is there {len(found)} times"
        return found[0]


def read(path: Path) -> list[Tree]:
    """Every document of a file."""
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> list[Tree]:
    return [Tree(each) for each in yaml.safe_load_all(text) if each is not None]


def one(path: Path) -> Tree:
    (document,) = read(path)
    return document


@functools.cache
def rendered(folder: Path) -> list[Tree]:
    """What `kubectl kustomize` makes of a folder; skips the test where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def changed(tree: Tree, path: str, value: object) -> Tree:
    """A copy with one field changed, or taken away for None; numbers in the path count items of lists."""
    result = copy.deepcopy(tree.value)
    *parents, last = path.split(".")
    node: object = result
    for key in parents:
        if is_map(node):
            node = node[key]
        else:
            assert isinstance(node, list), f"{path}: nothing lies below {key}"
            node = node[int(key)]
    if isinstance(node, list):
        node[int(last)] = value
    else:
        assert is_map(node), f"{path}: no place for {last}"
        node.pop(last, None)
        node.update({last: value} if value is not None else {})
    return Tree(result)


def of_kind(documents: Iterable[Tree], kind: str) -> list[Tree]:
    return [each for each in documents if each["kind"] == kind]


def pod_of(workload: Tree) -> Tree:
    """The pod template of a workload."""
    spec = workload["spec"]
    return spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]


def size_bytes(text: str) -> int:
    """A quantity such as `512Mi`."""
    found = re.fullmatch(r"([0-9]+)(Ki|Mi|Gi|Ti)", text)
    assert found, f"{text!r} has no binary unit"
    return int(found[1]) * _UNITS[found[2]]


def environment(container: Tree) -> dict[str, str]:
    """The plain variables of a container."""
    return {each["name"].text(): each["value"].text() for each in container["env"].items() if "value" in each}


def sources(container: Tree) -> dict[str, Tree]:
    """The variables of a container that come from elsewhere."""
    return {each["name"].text(): each["valueFrom"] for each in container["env"].items() if "valueFrom" in each}

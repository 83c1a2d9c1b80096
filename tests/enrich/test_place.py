"""Place, environment and release on resources."""

from __future__ import annotations

import pytest

from sidecar.enrich.place import Place
from sidecar.wire.attributes import decode, encode_string
from sidecar.wire.shallow_pb2 import Resource


def written(place: Place, *said: tuple[str, str]) -> dict[str, object]:
    resource = Resource(attributes=[encode_string(key, text) for key, text in said])
    place.write(resource)
    return dict(decode(raw) for raw in resource.attributes)


def test_what_a_resource_lacks_is_added() -> None:
    place = Place({"k8s.pod.name": "shop-7", "k8s.node.name": ""}, "production", "2.1.0")
    assert written(place, ("service.name", "shop")) == {
        "service.name": "shop",
        "k8s.pod.name": "shop-7",
        "deployment.environment": "production",
        "langfuse.release": "2.1.0",
    }


def test_what_a_resource_says_itself_stands() -> None:
    place = Place({"k8s.pod.name": "shop-7"}, "production", "2.1.0")
    said = {"k8s.pod.name": "other", "langfuse.release": "3"}
    assert written(place, *said.items(), ("langfuse.environment", "dev")) == {**said, "langfuse.environment": "dev"}


@pytest.mark.parametrize("key", ["langfuse.environment", "deployment.environment.name", "deployment.environment"])
def test_an_environment_under_any_name_is_one(key: str) -> None:
    assert written(Place({}, "production", ""), (key, "dev")) == {key: "dev"}


def test_nothing_known_is_nothing_added() -> None:
    assert written(Place({"k8s.pod.name": ""}, "", "")) == {}

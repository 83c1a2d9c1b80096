"""Generate tests/deploy/schemas.json, against which the tests hold every manifest: ``python -m scripts.generate_schemas SWAGGER CRD...``.

SWAGGER is `api/openapi-spec/swagger.json` of a Kubernetes release, each CRD a CustomResourceDefinition of the Prometheus Operator (both Apache-2.0).
Owns what is kept of them: the kinds that deploy/ uses, their structure, no descriptions. An object with named properties takes no others, as
`kubectl apply --validate=strict` has it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TypeAlias

import yaml

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

TARGET = Path(__file__).parent.parent / "tests" / "deploy" / "schemas.json"
KINDS = frozenset(
    {
        "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
        "admissionregistration.k8s.io/v1/MutatingAdmissionPolicyBinding",
        "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy",
        "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicyBinding",
        "apps/v1/DaemonSet",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "autoscaling/v2/HorizontalPodAutoscaler",
        "batch/v1/CronJob",
        "batch/v1/Job",
        "networking.k8s.io/v1/NetworkPolicy",
        "policy/v1/PodDisruptionBudget",
        "v1/ConfigMap",
        "v1/Namespace",
        "v1/PersistentVolumeClaim",
        "v1/Pod",
        "v1/Service",
    }
)
KEPT = frozenset(
    {"type", "properties", "additionalProperties", "items", "required", "enum", "pattern", "minLength", "maxLength", "minItems", "minimum", "maximum"}
)
REF = "#/definitions/"


def trimmed(schema: Json) -> Json:
    """A schema with what structure needs alone. Quantities and ports that may have names are texts or numbers."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields"):
        return {}
    if "$ref" in schema:
        return {"$ref": str(schema["$ref"]).removeprefix(REF)}
    result: dict[str, Json] = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            result[key] = {name: trimmed(below) for name, below in value.items()}
        elif key in KEPT:
            result[key] = trimmed(value)
    if "properties" in result:
        result.setdefault("additionalProperties", False)
    return result


def references(schema: Json) -> set[str]:
    return set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(schema)))


def of_kubernetes(swagger: dict[str, Json]) -> dict[str, Json]:
    """The kinds, and every definition that they lead to."""
    definitions = swagger["definitions"]
    assert isinstance(definitions, dict)
    result: dict[str, Json] = {}
    for name, schema in definitions.items():
        assert isinstance(schema, dict)
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        assert isinstance(kinds, list)
        for kind in kinds:
            assert isinstance(kind, dict)
            full = "/".join(str(kind[key]) for key in ("group", "version", "kind")).lstrip("/")
            if full in KINDS:
                result[full] = {"$ref": name}
    assert result.keys() == KINDS, KINDS - result.keys()
    while missing := {name for schema in result.values() for name in references(schema)} - result.keys():
        for name in missing:
            result[name] = {} if name.endswith(".resource.Quantity") else trimmed(definitions[name])
    return result


def of_custom(definition: dict[str, Json]) -> dict[str, Json]:
    """The kind that a CustomResourceDefinition defines; its metadata are everybody's."""
    spec = definition["spec"]
    assert isinstance(spec, dict)
    assert isinstance(spec["names"], dict)
    assert isinstance(spec["versions"], list)
    result: dict[str, Json] = {}
    for version in spec["versions"]:
        assert isinstance(version, dict)
        assert isinstance(version["schema"], dict)
        schema = trimmed(version["schema"]["openAPIV3Schema"])
        assert isinstance(schema, dict)
        assert isinstance(schema["properties"], dict)
        schema["properties"]["metadata"] = {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
        result[f"{spec['group']}/{version['name']}/{spec['names']['kind']}"] = schema
    return result


def text(schemas: dict[str, Json]) -> str:
    """One definition a line, so that a change can be read."""
    lines = [f" {json.dumps(name)}: {json.dumps(schemas[name], sort_keys=True)}" for name in sorted(schemas)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> int:
    """Write the file; 2 without arguments."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    swagger, *custom = (Path(each).read_text(encoding="utf-8") for each in sys.argv[1:])
    schemas = of_kubernetes(json.loads(swagger))
    for each in custom:
        schemas |= of_custom(yaml.safe_load(each))
    TARGET.write_text(text(schemas), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

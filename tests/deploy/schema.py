"""The part of JSON Schema (draft 7) that the chart's values.schema.json and Kubernetes' API use.

A keyword that is not known here is an error, so that no rule is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeGuard

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
_NOTES = {"$schema", "title", "description"}


Definitions = Mapping[str, object]
"""The schemas that ``$ref`` names."""


def problems(value: object, schema: object, path: str = "$", definitions: Definitions = MappingProxyType({})) -> list[str]:
    """What is wrong with a value, each with its path."""
    assert is_map(schema), f"{path}: a schema is an object"
    found: list[str] = []
    for keyword, rule in schema.items():
        if keyword == "$ref":
            found += problems(value, definitions[str(rule)], path, definitions)
        elif keyword not in _NOTES:
            found += _check(keyword, rule, value, schema, path, definitions)
    return found


def is_map(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _check(keyword: str, rule: object, value: object, schema: dict[str, object], path: str, definitions: Definitions) -> list[str]:
    match keyword:
        case "type":
            kind = _TYPES[str(rule)]
            good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        case "enum":
            good = isinstance(rule, list) and value in rule
        case "const":
            good = value == rule
        case "not":
            good = bool(problems(value, rule, path, definitions))
        case "pattern":
            good = not isinstance(value, str) or re.search(str(rule), value) is not None
        case "minLength" | "maxLength" | "minItems" | "minimum" | "maximum" | "exclusiveMinimum":
            good = _in_bound(keyword, rule, value)
        case "required":
            assert isinstance(rule, list)
            return [f"{path}: {name} is missing" for name in rule if is_map(value) and name not in value]
        case "properties" | "additionalProperties" | "propertyNames" | "items":
            return _check_parts(keyword, rule, value, schema, path, definitions)
        case _:
            raise AssertionError(f"{path}: the keyword {keyword} is not known here")
    return [] if good else [f"{path}: {keyword} {rule!r}"]


def _in_bound(keyword: str, rule: object, value: object) -> bool:
    assert isinstance(rule, int | float)
    if keyword in ("minLength", "maxLength", "minItems"):
        if not isinstance(value, str | list):
            return True
        return len(value) <= rule if keyword == "maxLength" else len(value) >= rule
    if not isinstance(value, int | float):
        return True
    return value <= rule if keyword == "maximum" else value > rule if keyword == "exclusiveMinimum" else value >= rule


def _check_parts(keyword: str, rule: object, value: object, schema: dict[str, object], path: str, definitions: Definitions) -> list[str]:
    if keyword == "items":
        return [each for i, item in enumerate(value) for each in problems(item, rule, f"{path}[{i}]", definitions)] if isinstance(value, list) else []
    if not is_map(value):
        return []
    if keyword == "propertyNames":
        return [each for name in value for each in problems(name, rule, f"{path}.{name}", definitions)]
    known = schema.get("properties", {})
    assert is_map(known)
    if keyword == "properties":
        return [each for name, below in known.items() if name in value for each in problems(value[name], below, f"{path}.{name}", definitions)]
    others = {name: each for name, each in value.items() if name not in known}
    if rule is False:
        return [f"{path}: {name} is not known" for name in others]
    return [each for name, other in others.items() for each in problems(other, rule, f"{path}.{name}", definitions)]

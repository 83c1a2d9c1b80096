"""JSON schemas under names that hide their values: `{"password": {"type": "string"}}` describes a password and holds none. Pure.

Owns which keywords a schema has, and what may stand under each (JSON Schema 2020-12, OpenAPI 3). It must not know how a document is walked. It is strict: an
object with anything else in it is no schema, and is hidden.
"""

from __future__ import annotations

from enum import Enum


class Part(Enum):
    """What stands somewhere in a schema."""

    SCHEMA = "schema"
    SCHEMAS = "a list of schemas"
    PROPERTIES = "schemas by name"
    ITEMS = "a schema or a list of schemas"
    TYPE = "the name of a type, or a list of names"
    TYPES = "a list of names of types"
    NAMES = "a list of names"
    NAME = "a name, not longer than one"
    NUMBER = "a number, true, false or null"
    TEXT = "any text"
    VALUE = "something that has the type: a value of what is hidden"


_KEYWORDS: dict[bytes, Part] = {
    keyword.encode(): part
    for part, keywords in {
        Part.TYPE: "type",
        Part.TEXT: "description title $comment pattern $ref $id $schema",
        Part.NAME: "format $anchor contentEncoding contentMediaType",
        Part.NUMBER: "minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems uniqueItems minProperties maxProperties "
        "nullable deprecated readOnly writeOnly strict",
        Part.NAMES: "required",
        Part.SCHEMA: "not additionalProperties propertyNames contains if then else",
        Part.ITEMS: "items",
        Part.SCHEMAS: "anyOf oneOf allOf prefixItems",
        Part.PROPERTIES: "properties patternProperties $defs definitions",
        Part.VALUE: "default example examples const enum",
    }.items()
    for keyword in keywords.split()
}
_SAYS_WHAT = frozenset({b"type", b"$ref", b"anyOf", b"oneOf", b"allOf"})
_TYPES = frozenset(
    b'"%b"' % name for each in (b"string", b"number", b"integer", b"boolean", b"object", b"array", b"null") for name in (each, each.upper())
)
_NAME_BYTES_MAX = 64
_OPENS = {
    (Part.SCHEMA, b"{"): Part.SCHEMA,
    (Part.ITEMS, b"{"): Part.SCHEMA,
    (Part.ITEMS, b"["): Part.SCHEMAS,
    (Part.SCHEMAS, b"["): Part.SCHEMAS,
    (Part.PROPERTIES, b"{"): Part.PROPERTIES,
    (Part.TYPE, b"["): Part.TYPES,
    (Part.NAMES, b"["): Part.NAMES,
}
_ELEMENTS = {Part.SCHEMAS: Part.SCHEMA, Part.PROPERTIES: Part.SCHEMA, Part.TYPES: Part.TYPE, Part.NAMES: Part.NAME}


def below(container: Part, name: bytes) -> Part | None:
    """What may stand under a member's name, or as an element, of a part that is a container; None: it is no schema."""
    return _KEYWORDS.get(name) if container is Part.SCHEMA else _ELEMENTS[container]


def opened(part: Part | None, bracket: bytes) -> Part | None:
    """What a container that stands for a part is; None: it is no schema."""
    return None if part is None else _OPENS.get((part, bracket))


def says_what(keyword: bytes) -> bool:
    """Whether a keyword makes a schema of an object: one that only has a title may be anything."""
    return keyword in _SAYS_WHAT


def fits(part: Part | None, raw: bytes) -> bool:
    """Whether a literal of a document may stand for a part."""
    is_text = raw.startswith(b'"')
    match part:
        case Part.TYPE:
            return raw in _TYPES
        case Part.NAME:
            return is_text and len(raw) <= _NAME_BYTES_MAX
        case Part.TEXT:
            return is_text
        case Part.NUMBER:
            return not is_text
        case Part.SCHEMA:
            return raw in {b"true", b"false"}
    return False

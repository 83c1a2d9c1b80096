"""What a schema is, token by token."""

from __future__ import annotations

import pytest

from sidecar.mask.json_schema import Part, below, fits, opened, says_what


def test_only_keywords_stand_in_a_schema_and_any_name_among_properties() -> None:
    assert below(Part.SCHEMA, b"type") is Part.TYPE
    assert below(Part.SCHEMA, b"default") is Part.VALUE
    assert below(Part.SCHEMA, b"value") is None
    assert below(Part.PROPERTIES, b"value") is Part.SCHEMA
    assert below(Part.SCHEMAS, b"") is Part.SCHEMA


def test_containers_stand_only_where_a_schema_has_them() -> None:
    assert opened(Part.SCHEMA, b"{") is Part.SCHEMA
    assert opened(Part.ITEMS, b"[") is Part.SCHEMAS
    assert opened(Part.TEXT, b"{") is None
    assert opened(Part.PROPERTIES, b"[") is None
    assert opened(None, b"{") is None


@pytest.mark.parametrize(
    ("part", "yes", "no"),
    [
        (Part.TYPE, b'"string"', b'"hunter2"'),
        (Part.TYPE, b'"STRING"', b'"String"'),
        (Part.NUMBER, b"12", b'"12"'),
        (Part.TEXT, b'"any words"', b"12"),
        (Part.NAME, b'"uri"', b'"' + b"x" * 80 + b'"'),
        (Part.SCHEMA, b"false", b'"bob"'),
    ],
)
def test_literals_are_of_the_kind_that_their_keyword_asks_for(part: Part, yes: bytes, no: bytes) -> None:
    assert fits(part, yes)
    assert not fits(part, no)


def test_a_title_alone_makes_no_schema() -> None:
    assert says_what(b"type")
    assert not says_what(b"title")

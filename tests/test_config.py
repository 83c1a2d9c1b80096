"""The settings types."""

from __future__ import annotations

import msgspec
import pytest

from scripts.generate_docs import field_texts, section_of
from sidecar.config import Base, Config


def sections(kind: type[Base]) -> list[type[Base]]:
    below = [section_of(each.type) for each in msgspec.structs.fields(kind)]
    return [kind, *(found for each in below if each is not None for found in sections(each))]


@pytest.mark.parametrize("kind", sections(Config), ids=lambda kind: kind.__name__)
def test_every_key_says_what_it_means(kind: type[Base]) -> None:
    texts = field_texts(kind)

    undocumented = [each.name for each in msgspec.structs.fields(kind) if each.name not in texts and section_of(each.type) is None]

    assert undocumented == []


def test_sizes_and_times_carry_their_unit_in_the_key() -> None:
    unitless = {"concurrency", "port", "probability", "min_probability"}

    numbers = [
        each.name
        for kind in sections(Config)
        for each in msgspec.structs.fields(kind)
        if isinstance(each.default, int | float) and not isinstance(each.default, bool)
    ]

    assert [name for name in numbers if name not in unitless and not name.endswith(("_mib", "_kib", "_s", "_ms", "_h", "_spans", "_percent"))] == []


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        setattr(Config().buffer, "path", "elsewhere")  # noqa: B010  (mypy would not allow the assignment, which is the point)

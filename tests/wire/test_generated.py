"""The generated modules."""

from __future__ import annotations

import pytest

from scripts import generate_proto


def test_the_modules_are_what_the_schemas_give() -> None:
    assert generate_proto.main(["--check"]) == 0


def test_an_unknown_option_is_answered_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_proto.main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().out

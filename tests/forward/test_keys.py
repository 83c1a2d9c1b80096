"""Keys from the configuration and from files."""

from __future__ import annotations

import os
from base64 import b64decode
from pathlib import Path

import pytest

from sidecar.config import Destination, Secret
from sidecar.errors import StartError
from sidecar.forward.keys import Keys


def from_file(path: Path) -> Keys:
    return Keys(Destination(public_key="pk", secret_key_file=str(path)))


def pair(keys: Keys) -> str:
    scheme, _, encoded = keys.authorization().partition(" ")
    assert scheme == "Basic"
    return b64decode(encoded).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("sk-one\n")
    return path


def test_configured_keys_become_basic_authentication() -> None:
    keys = Keys(Destination(public_key="pk", secret_key=Secret("sk")))

    assert pair(keys) == "pk:sk"
    assert not keys.refresh()


def test_a_secret_is_read_from_its_file_without_the_line_end(file: Path) -> None:
    assert pair(from_file(file)) == "pk:sk-one"


def test_a_file_that_did_not_change_is_no_news(file: Path) -> None:
    assert not from_file(file).refresh()


def test_a_changed_file_gives_the_new_secret(file: Path) -> None:
    keys = from_file(file)
    file.write_text("sk-another")

    assert keys.refresh()
    assert pair(keys) == "pk:sk-another"
    assert not keys.refresh()


def test_a_link_that_is_switched_gives_the_new_secret(tmp_path: Path) -> None:
    """As Kubernetes updates a mounted Secret."""
    for version in ("a", "b"):
        (tmp_path / version).write_text(f"sk-{version}")
    link = tmp_path / "secret"
    link.symlink_to(tmp_path / "a")
    keys = from_file(link)
    (tmp_path / "next").symlink_to(tmp_path / "b")
    (tmp_path / "next").rename(link)

    assert keys.refresh()
    assert pair(keys) == "pk:sk-b"


def test_the_same_secret_written_again_is_no_news(file: Path) -> None:
    keys = from_file(file)
    os.utime(file, ns=(1, 1))

    assert not keys.refresh()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("")], ids=["missing", "empty"])
def test_a_file_that_is_gone_for_a_moment_leaves_the_old_secret(file: Path, damage: object) -> None:
    keys = from_file(file)
    assert callable(damage)
    damage(file)

    assert not keys.refresh()
    assert pair(keys) == "pk:sk-one"


def test_a_missing_file_at_the_start_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"destination default: secret_key_file .*/none can't be read \(No such file"):
        from_file(tmp_path / "none")


def test_an_empty_file_at_the_start_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")

    with pytest.raises(StartError, match="is empty"):
        from_file(tmp_path / "empty")


def test_keys_do_not_show(file: Path) -> None:
    assert "sk-one" not in repr(from_file(file))

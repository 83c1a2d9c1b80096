"""Where the keys of pseudonyms come from."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sidecar.config import Secret
from sidecar.errors import ConfigError, StartError
from sidecar.mask.hmac_keys import parse_hmac_keys
from sidecar.receive.masking_keys import FILE_BYTES_MAX, SUFFIX, masking_keys

KEY = "synthetic key, " + "x" * 20


def test_a_key_in_the_configuration_is_used_without_a_warning(tmp_path: Path) -> None:
    found = masking_keys(Secret(KEY), str(tmp_path / "not-there"), str(tmp_path / "buffer.db"))

    assert found.keys.key("k1") == parse_hmac_keys(KEY, "x").key("k1")
    assert found.warning is None
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_is_read_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"k2:{KEY}\nk1:{KEY}\n")

    found = masking_keys(Secret(""), str(path), str(tmp_path / "buffer.db"))

    assert (found.keys.ids, found.warning) == (("k2", "k1"), None)


def test_without_a_key_one_is_made_beside_the_buffer_and_kept(tmp_path: Path) -> None:
    buffer = str(tmp_path / "buffer.db")

    first, second = masking_keys(Secret(""), "", buffer), masking_keys(Secret(""), "", buffer)

    path = Path(buffer + SUFFIX)
    assert [each.name for each in tmp_path.iterdir()] == ["buffer.db.masking-key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.keys.key("k1") == second.keys.key("k1")
    assert first.warning is not None and "only inside this buffer" in first.warning and str(path) in first.warning
    assert path.read_text().removeprefix("k1:").strip() not in first.warning + repr(first)


def test_two_buffers_have_two_keys(tmp_path: Path) -> None:
    one, two = (masking_keys(Secret(""), "", str(tmp_path / name)).keys.key("k1") for name in ("a.db", "b.db"))

    assert one != two


def test_a_buffer_in_memory_has_a_key_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    found = masking_keys(Secret(""), "", ":memory:")

    assert found.warning is not None and "ends with this process" in found.warning
    assert list(tmp_path.iterdir()) == []


def test_a_key_made_before_that_was_damaged_stops_the_start(tmp_path: Path) -> None:
    buffer = str(tmp_path / "buffer.db")
    Path(buffer + SUFFIX).write_text("")

    with pytest.raises(ConfigError, match="holds no key"):
        masking_keys(Secret(""), "", buffer)


def test_a_file_that_is_missing_or_too_large_stops_the_start(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * (FILE_BYTES_MAX + 1))

    with pytest.raises(StartError, match="No such file"):
        masking_keys(Secret(""), str(tmp_path / "none"), ":memory:")
    with pytest.raises(StartError, match="is it a key"):
        masking_keys(Secret(""), str(large), ":memory:")


def test_a_directory_that_can_not_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"can't be written .*set masking\.hmac_key"):
        masking_keys(Secret(""), "", str(tmp_path / "none" / "buffer.db"))


def test_bytes_that_are_no_text_are_a_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(bytes(range(128, 160)))

    assert masking_keys(Secret(""), os.fspath(path), ":memory:").keys.ids == ("k1",)

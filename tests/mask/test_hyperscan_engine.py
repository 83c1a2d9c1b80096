"""Places found with Hyperscan, and the file that keeps the compiled database."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.mask.hyperscan_engine import DatabaseFile, HyperscanScanner, compile_triggers
from sidecar.mask.windows import WorkLimit

TRIGGERS = [("aba", False), ("key=", True), ("a{2,3}", False), ("(?:^|[^0-9])[0-9]{3}", False), ("(?:^|[^0-9])[0-9]{16}", False)]
"""For all three databases."""
TEXT = b"ababa KEY= aaa 1234 " + b"5" * 16
PLACES = {0: [3, 5], 1: [10], 2: [13, 14], 3: [18, 23], 4: [36]}


def the_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_every_end_is_reported() -> None:
    assert HyperscanScanner(TRIGGERS).places(TEXT, 100) == PLACES


def test_a_trigger_that_hyperscan_refuses_is_searched_all_the_same(tmp_path: Path) -> None:
    """It takes no look-around; the file remembers that."""
    triggers = [*TRIGGERS, ("(?=K)KE", False)]

    for _ in range(2):
        assert HyperscanScanner(triggers, tmp_path).places(TEXT, 100) == PLACES | {5: [8]}


def test_no_triggers_fire_never(tmp_path: Path) -> None:
    for _ in range(2):
        assert HyperscanScanner([], tmp_path).places(TEXT, 100) == {}


def test_a_storm_of_triggers_ends_in_a_work_limit() -> None:
    scanner = HyperscanScanner([("a", False)])

    with pytest.raises(WorkLimit):
        scanner.places(b"a" * 11, 10)
    assert scanner.places(b"a" * 10, 10) == {0: list(range(1, 11))}


def test_the_database_is_kept_for_its_owner_only_and_used_again(tmp_path: Path) -> None:
    HyperscanScanner(TRIGGERS, tmp_path)

    assert stat.S_IMODE(the_file(tmp_path).stat().st_mode) == 0o600
    loaded = DatabaseFile(tmp_path, TRIGGERS).load()
    assert loaded and len(loaded.databases) == 3 and loaded.refused == ()
    assert HyperscanScanner(TRIGGERS, tmp_path).places(TEXT, 100) == PLACES


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "open to others"])
def test_a_file_that_is_not_whole_and_ours_is_compiled_anew(tmp_path: Path, damage: str) -> None:
    HyperscanScanner(TRIGGERS, tmp_path)
    path = the_file(tmp_path)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        path.write_bytes(hashlib.sha256(b"\nnot a database").digest() + b"\nnot a database")
    else:
        path.chmod(0o644)

    assert DatabaseFile(tmp_path, TRIGGERS).load() is None
    assert HyperscanScanner(TRIGGERS, tmp_path).places(TEXT, 100) == PLACES
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_than_its_directory_is_not_used(tmp_path: Path) -> None:
    HyperscanScanner(TRIGGERS, tmp_path)
    assert DatabaseFile(tmp_path, TRIGGERS).load() is not None

    os.chown(the_file(tmp_path), 12_345, -1)
    assert DatabaseFile(tmp_path, TRIGGERS).load() is None


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    file = DatabaseFile(tmp_path, TRIGGERS)
    other = DatabaseFile(tmp_path, TRIGGERS)
    other.path = tmp_path / "elsewhere"
    other.save(compile_triggers(TRIGGERS))
    file.path.symlink_to(other.path)

    assert file.load() is None
    assert other.load() is not None


def test_other_triggers_have_another_file_and_the_old_one_goes(tmp_path: Path) -> None:
    HyperscanScanner(TRIGGERS, tmp_path)
    before = the_file(tmp_path)
    HyperscanScanner(TRIGGERS[:1], tmp_path)

    assert the_file(tmp_path) != before


def test_a_directory_that_is_missing_costs_only_time(tmp_path: Path) -> None:
    assert HyperscanScanner(TRIGGERS, tmp_path / "missing").places(TEXT, 100) == PLACES


def test_threads_scan_side_by_side() -> None:
    scanner = HyperscanScanner(TRIGGERS)
    found: list[Mapping[int, list[int]]] = []
    threads = [threading.Thread(target=lambda: found.extend(scanner.places(TEXT * 500, 10**5) for _ in range(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 80
    assert all(places == found[0] for places in found)

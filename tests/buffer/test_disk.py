from __future__ import annotations

import stat
from pathlib import Path

from sidecar.buffer.disk import MIB, FileDisk, NoDisk


def test_the_reserve_takes_real_blocks_for_its_owner_only(tmp_path: Path) -> None:
    disk = FileDisk(tmp_path / "buffer.db", MIB)

    assert disk.make_reserve()

    found = (tmp_path / "buffer.db.reserve").stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (MIB, 0o600)
    assert found.st_blocks * 512 >= MIB


def test_the_reserve_is_given_back_once(tmp_path: Path) -> None:
    disk = FileDisk(tmp_path / "buffer.db", MIB)
    disk.make_reserve()

    assert disk.free_reserve()
    assert not disk.free_reserve()
    assert disk.make_reserve()


def test_a_reserve_of_another_size_is_made_anew(tmp_path: Path) -> None:
    FileDisk(tmp_path / "buffer.db", MIB).make_reserve()
    disk = FileDisk(tmp_path / "buffer.db", 3 * MIB)

    assert disk.missing_bytes() == 2 * MIB
    assert disk.make_reserve()
    assert disk.missing_bytes() == 0


def test_the_size_of_the_log_is_that_of_its_file(tmp_path: Path) -> None:
    disk = FileDisk(tmp_path / "buffer.db", MIB)
    sizes = [disk.log_bytes()]
    (tmp_path / "buffer.db-wal").write_bytes(bytes(1234))
    sizes.append(disk.log_bytes())

    assert sizes == [0, 1234]


def test_a_reserve_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    disk = FileDisk(tmp_path / "buffer.db", 1 << 55)

    assert not disk.make_reserve()
    assert list(tmp_path.iterdir()) == []


def test_no_reserve_is_asked_for(tmp_path: Path) -> None:
    assert FileDisk(tmp_path / "buffer.db", 0).make_reserve()
    assert list(tmp_path.iterdir()) == []


def test_free_room_is_known(tmp_path: Path) -> None:
    assert FileDisk(tmp_path / "buffer.db", 0).free_bytes() > 0


def test_memory_has_room_and_no_reserve() -> None:
    disk = NoDisk()

    assert disk.free_bytes() > 1 << 40
    assert disk.make_reserve()
    assert (disk.missing_bytes(), disk.log_bytes()) == (0, 0)
    assert not disk.free_reserve()

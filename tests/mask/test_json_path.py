"""Paths of values."""

from __future__ import annotations

from sidecar.mask.json_path import ROOT, Path


def test_a_path_reads_from_the_root_on() -> None:
    path = Path(Path(Path(ROOT, b"messages"), 0), "größe".encode())

    assert (str(path), path.words, str(ROOT), ROOT.words) == ("$.messages[0].größe", "messages größe".encode(), "$", b"")


def test_very_deep_paths_are_cut_at_the_root() -> None:
    path = ROOT
    for number in range(1000):
        path = Path(path, b"n%d" % number)

    assert str(path) == "$" + "".join(f".n{number}" for number in range(936, 1000))
    assert path.words == b" ".join(b"n%d" % number for number in range(984, 1000))

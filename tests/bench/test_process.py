from __future__ import annotations

import os
import subprocess
import sys

from bench.process import cpu_s, rss_mib, tree

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "x = b'x' * 30_000_000; sum(range(3_000_000)); print('up', flush=True); input()"], stdin=subprocess.PIPE)
input()
child.communicate(b"\\n")
"""


def test_children_count() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert len(tree(process.pid)) == 2
        assert rss_mib(process.pid) > 40
        assert rss_mib(process.pid, "VmHWM") >= rss_mib(process.pid)
        assert cpu_s(process.pid) > 0.02
        process.stdin.write(b"\n")


def test_a_process_that_is_gone_uses_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    assert rss_mib(process.pid) == cpu_s(process.pid) == 0


def test_one_knows_oneself() -> None:
    assert tree(os.getpid())[0] == os.getpid()
    assert rss_mib(os.getpid()) > 10

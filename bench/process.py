"""What a process and its children use, by the kernel's own account."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and everything below it that lives."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*"):
            try:
                found += map(int, (task / "children").read_text(encoding="ascii").split())
            except OSError:
                continue
    return found


def cpu_s(pid: int) -> float:
    """User and system seconds of the process, of its living children, and of those that it has waited for."""
    total = 0
    for each in tree(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICKS_PER_S


def rss_mib(pid: int, key: str = "VmRSS") -> float:
    """Resident MiB of the process and its children; ``VmHWM``: the most that each ever had."""
    total = 0
    for each in tree(pid):
        try:
            status = Path(f"/proc/{each}/status").read_text(encoding="ascii")
        except OSError:
            continue
        if f"{key}:" in status:
            total += int(status.partition(f"{key}:")[2].split()[0])
    return total / 1024

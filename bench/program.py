"""The real program with the buffer's runner chosen, so that both can be measured: ``python -m bench.program hybrid|aiosqlite|inline ...``."""

from __future__ import annotations

import os
import sys

from sidecar.app import serve
from sidecar.buffer.runner import hybrid, inline, threaded
from sidecar.loader import load

if __name__ == "__main__":
    runner = {"hybrid": hybrid, "aiosqlite": threaded, "inline": inline}[sys.argv[1]]
    sys.exit(serve(load([], sys.argv[2:], os.environ), os.environ, runner))

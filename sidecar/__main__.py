"""``python -m sidecar`` is the same program as ``sidecar``."""

from sidecar.cli import main

main()

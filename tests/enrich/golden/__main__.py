"""``python -m tests.enrich.golden --update`` writes the golden files; without the option it prints what would change."""

from __future__ import annotations

import difflib
import sys

from tests.enrich.golden import FOLDER, captures, render


def main() -> int:
    """Exit code 1 when a file differs and is not updated."""
    update = "--update" in sys.argv[1:]
    changed = 0
    for capture in captures():
        path = FOLDER / f"{capture}.txt"
        old, new = path.read_text(encoding="utf-8") if path.exists() else "", render(capture)
        if old == new:
            continue
        changed += 1
        if update:
            path.write_text(new, encoding="utf-8")
        else:
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), path.name, path.name))
    return 1 if changed and not update else 0


if __name__ == "__main__":
    sys.exit(main())

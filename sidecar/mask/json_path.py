"""Where a value stands in a document: `$.messages[0].content`. Pure. It must not know what stands there."""

from __future__ import annotations

_PATH_STEPS_MAX = 64
_PATH_WORDS = 8


class Path:
    """A place below the root. Built only when somebody asks."""

    __slots__ = ("_parent", "_step")

    def __init__(self, parent: Path | None = None, step: bytes | int = b"") -> None:
        self._parent = parent
        self._step = step

    def _steps(self, most: int) -> list[bytes | int]:
        steps: list[bytes | int] = []
        node = self
        while node._parent is not None and len(steps) < most:
            steps.append(node._step)
            node = node._parent
        return steps[::-1]

    @property
    def words(self) -> bytes:
        """The nearest member names, outermost first: context for what stands there. At most 512 bytes."""
        return b" ".join(step for step in self._steps(_PATH_WORDS * 2) if isinstance(step, bytes))[-512:]

    def __str__(self) -> str:
        """Names as they are, indices in brackets; of very deep paths the innermost 64 steps."""
        return "$" + "".join(f"[{step}]" if isinstance(step, int) else "." + step.decode("utf-8", "replace") for step in self._steps(_PATH_STEPS_MAX))


ROOT = Path()

"""Rule files: small YAML files beside the configuration that may change while the program runs.

Owns reading them within bounds, the version in use of each, and noticing changes. It must not know what a rule means
(its parser does), nor who uses it: whoever does is told of each new version.

A bad file stops the start, and never the running program: the last good version stays, and the problem is logged once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Generic, TypeVar

import yaml

from sidecar.clock import Clock
from sidecar.errors import ConfigError
from sidecar.loader import expand
from sidecar.observe.metrics import Metrics

MAX_FILE_BYTES = 1024 * 1024
MAX_NODES = 50_000
"""Keys and values of a tree, each alias counted as what it stands for, so that a few lines can't unfold to gigabytes.
PyYAML needs 600 bytes for each: 30 MB while it reads. Enough for 2,000 agents with everything said of each."""
MAX_DEPTH = 32
MAX_SCALAR_CHARS = 16 * 1024
"""YAML's numbers to base 60 take quadratic time."""
LOOK_S = 2.0
"""Between looks at the files: who writes them sends no signal."""
LOGGED_PROBLEMS, LOGGED_CHARS = 20, 400
"""Of one bad file; a log line holds 16 KiB."""

_YAML_ERRORS = (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""PyYAML's own, and what it raises for tags that do not fit their text: `!!bool x`, `!!int ""`, `!!timestamp x`."""

T_co = TypeVar("T_co", covariant=True)


class RuleFile(Generic[T_co]):
    """One file and the value of its last good version.

    ``name`` is the setting that holds ``path``; an empty path means that the file is not configured, and the value is what
    ``parse`` makes of an empty map. ``parse`` is given the tree with ``${env:NAME}`` expanded from ``env``, as in the
    configuration; it raises ConfigError with every problem. It may run on another thread than the caller of ``value``.
    """

    def __init__(self, name: str, path: str, parse: Callable[[object], T_co], env: Mapping[str, str]) -> None:
        self.name = name
        self.path = path
        self._parse = parse
        self._env = env
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._digest = b""
        self._good: tuple[T_co] | None = None

    @property
    def value(self) -> T_co:
        """What the last good version says. The file must have been loaded."""
        if self._good is None:
            raise RuntimeError(f"{self.name} is used before it is loaded")
        return self._good[0]

    def load(self) -> None:
        """Read the file for the first time. Raises ConfigError with every problem, each with the file's path."""
        if self.path:
            self.reload()
        else:
            self._good = (self._parse({}),)

    def reload(self) -> bool:
        """Read the file again; False when it says what it said before, or is not configured.

        Raises ConfigError as ``load`` does; the value stays then. Takes 2.5 ms a KiB of YAML.
        """
        if not self.path:
            return False
        with self._lock:
            # Noted before it is read: a change in between is seen at the next look.
            self._seen = _identity(self.path)
            try:
                content = _read(self.path, self.name)
                digest = hashlib.blake2b(content).digest()
                if digest == self._digest:
                    return False
                self._digest = b""
                tree = _tree(content, self._env)
                self._good = (self._parse(tree),)
            except ConfigError as error:
                self._digest = b""
                raise ConfigError([f"{self.path}: {each}" for each in error.problems]) from None
            self._digest = digest
            return True

    def changed(self) -> bool:
        """Whether the file is another one than at the last reading, whatever came of that. Costs one stat."""
        return bool(self.path) and _identity(self.path) != self._seen


OnChange = Callable[[RuleFile[object]], None]
"""Is told of a file whose value is another one now, on the event loop. It must not raise."""


class RuleFiles:
    """All rule files of the program."""

    def __init__(self, files: Sequence[RuleFile[object]]) -> None:
        self._files = tuple(files)

    @property
    def configured(self) -> bool:
        """Whether there is any file to look at."""
        return any(each.path for each in self._files)

    def load_all(self) -> None:
        """Read every file for the first time. Raises ConfigError with the problems of all of them."""
        problems: list[str] = []
        for each in self._files:
            try:
                each.load()
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)

    async def read_again(self, on_change: OnChange, log: logging.Logger, metrics: Metrics) -> None:
        """Read every file again, changed or not, as ``watch`` does: on a thread, with what is wrong logged and counted."""
        for each in self._files:
            await _take(each, on_change, log, metrics)

    async def watch(self, clock: Clock, on_change: OnChange, log: logging.Logger, metrics: Metrics) -> None:
        """Until cancelled, look every 2 s and read again what changed; each change of a file is logged and counted once."""
        while True:
            await clock.sleep(LOOK_S)
            for each in self._files:
                if each.changed():
                    await _take(each, on_change, log, metrics)


@asynccontextmanager
async def watched(files: RuleFiles, clock: Clock, on_change: OnChange, log: logging.Logger, metrics: Metrics) -> AsyncIterator[Callable[[], None]]:
    """Watch the files, which are loaded, while the block runs. Yields what has them all read again, beside the caller: a policy of masking takes a second."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(files.watch(clock, on_change, log, metrics), name="rule files") if files.configured else None

        def read_again() -> None:
            group.create_task(files.read_again(on_change, log, metrics), name="rule files, again")

        yield read_again
        if task is not None:
            task.cancel()


async def _take(file: RuleFile[object], on_change: OnChange, log: logging.Logger, metrics: Metrics) -> None:
    """The new version of a file, if it is good."""
    about: dict[str, object] = {"setting": file.name, "path": file.path}
    try:
        # On a thread, because a large file takes seconds; PyYAML's pure loader gives way to the loop, libyaml's would not.
        is_new = await asyncio.to_thread(file.reload)
    except ConfigError as error:
        metrics.config_reloads.labels("failed").inc()
        problems = [each if len(each) <= LOGGED_CHARS else f"{each[:LOGGED_CHARS]}..." for each in error.problems[:LOGGED_PROBLEMS]]
        about |= {"problems": problems, "more": max(0, len(error.problems) - LOGGED_PROBLEMS)}
        log.error("rule file is wrong, the last good version stays", extra=about)  # noqa: TRY400  (an operator's mistake needs no stack)
    except Exception:
        metrics.config_reloads.labels("failed").inc()
        # One file, put onto every machine at once, must not stop them all.
        log.exception("rule file could not be read by a defect, the last good version stays", extra=about)
    else:
        if is_new:
            on_change(file)
            metrics.config_reloads.labels("ok").inc()
            log.info("rule file changed and was read again", extra=about)


def _identity(path: str) -> tuple[int, int, int] | None:
    """What tells one version of a file from the next, also when a link is switched (Kubernetes' ConfigMaps); None: it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116  (the look of every two seconds makes no objects)
    except (OSError, ValueError):  # a ValueError: a NUL in the path
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: str, setting: str) -> bytes:
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            # Opening a pipe would wait for its writer.
            raise ConfigError([f"is no regular file; check {setting}"])
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"can't be read ({error.strerror}); check {setting}"]) from None
    except ValueError:
        raise ConfigError([f"is no path; check {setting}"]) from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError([f"over {MAX_FILE_BYTES} bytes; is it a rule file?"])
    if not content.strip():
        # A file that is being written is empty for a moment; that must not take every rule away.
        raise ConfigError(["is empty; write {} for no rules"])
    return content


class _Loader(yaml.SafeLoader):
    """Stops at a bound: a MiB of short values would take 300 MB."""

    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node; raises ConfigError when there are too many."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ConfigError([f"over {MAX_NODES} keys and values"])
        return super().compose_node(parent, index)


def _tree(content: bytes, env: Mapping[str, str]) -> object:
    """The tree of a YAML document; raises ConfigError."""
    try:
        loader = _Loader(content)
        try:
            root = loader.get_single_node()
            problems = [] if root is None else _check(root)
            if problems:
                raise ConfigError(problems)
            tree: object = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except _YAML_ERRORS as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        # The parser's own text can quote a line of the file, and with it a secret.
        said = getattr(error, "problem", None) or type(error).__name__
        raise ConfigError([f"not YAML at {where}: {said[:LOGGED_CHARS]}"]) from None
    expanded = expand({} if tree is None else tree, env, "", problems)
    if problems:
        raise ConfigError(problems)
    return expanded


def _check(root: yaml.Node) -> list[str]:
    """What YAML forbids and PyYAML takes, keys given twice; and what would cost too much."""
    problems: dict[str, None] = {}
    nodes, waiting = 1, [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [each for pair in node.value for each in pair]
            problems.update(dict.fromkeys(_twice(node)))
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif len(node.value) > MAX_SCALAR_CHARS:
            return [f"line {node.start_mark.line + 1}: a value of over {MAX_SCALAR_CHARS} characters"]
        nodes += len(inner)
        if nodes > MAX_NODES:
            return [f"over {MAX_NODES} keys and values with every alias unfolded"]
        if inner and depth >= MAX_DEPTH:
            return [f"line {node.start_mark.line + 1}: nested deeper than {MAX_DEPTH} levels"]
        waiting += [(each, depth + 1) for each in inner]
    return list(problems)


def _twice(node: yaml.MappingNode) -> list[str]:
    seen: set[tuple[str, str]] = set()
    problems = []
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                problems.append(f"line {key.start_mark.line + 1}: the key {key.value[:64]!r} is given twice")
            seen.add((key.tag, key.value))
    return problems

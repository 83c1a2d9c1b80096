"""Rule files: what is read, what is refused, and what happens when they change."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from sidecar.enrich.models import parse_models
from sidecar.errors import ConfigError
from sidecar.observe.metrics import Metrics
from sidecar.rulefiles import LOOK_S, MAX_FILE_BYTES, MAX_NODES, MAX_SCALAR_CHARS, RuleFile, RuleFiles, watched
from tests.fakes.clock import FakeClock
from tests.waiting import until

NAME = "enrichment.rules"


def words(tree: object) -> tuple[str, ...]:
    """A parser: the list under ``words``."""
    if not isinstance(tree, Mapping):
        raise ConfigError(["expected a map"])
    found = tree.get("words", [])
    if not isinstance(found, list):
        raise ConfigError(["words: expected a list"])
    problems = [f"words[{i}]: expected a string" for i, each in enumerate(found) if not isinstance(each, str)]
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def whole(tree: object) -> object:
    return tree


def rule_file(path: Path, text: str | bytes | None = None, env: Mapping[str, str] | None = None) -> RuleFile[tuple[str, ...]]:
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return RuleFile(NAME, str(path), words, env or {})


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    path.unlink()


def problems_of(call: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        call()
    return caught.value.problems


def problem(path: Path, text: str | bytes) -> str:
    """The only problem of a file, without the path before it."""
    (found,) = problems_of(rule_file(path, text).load)
    assert found.startswith(f"{path}: ")
    return found.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


def test_a_file_is_read_and_its_environment_expanded_as_in_the_configuration(path: Path) -> None:
    file = rule_file(path, 'words: [a, "${env:TEAM}", "${env:NONE:-b}", "$$", "^x$"]', {"TEAM": "retail"})

    file.load()

    assert file.value == ("a", "retail", "b", "$", "^x$")


@pytest.mark.parametrize("text", ["# nothing\n", "{}", "~", "words: []"])
def test_a_file_may_say_nothing(path: Path, text: str) -> None:
    file = rule_file(path, text)

    file.load()

    assert file.value == ()


def test_a_file_that_is_not_configured_gives_what_an_empty_one_does_and_never_changes() -> None:
    file = RuleFile(NAME, "", words, {})

    file.load()

    assert file.value == ()
    assert not file.changed()
    assert file.reload() is False


def test_a_value_is_not_given_before_the_file_is_loaded(path: Path) -> None:
    with pytest.raises(RuntimeError, match=NAME):
        _ = rule_file(path, "{}").value


def test_every_problem_of_the_parser_is_reported_with_the_path_of_the_file(path: Path) -> None:
    file = rule_file(path, "words: [a, 1, b, 2]")

    assert problems_of(file.load) == (f"{path}: words[1]: expected a string", f"{path}: words[3]: expected a string")


def test_a_missing_file_is_a_problem_that_names_the_setting(path: Path) -> None:
    assert problems_of(rule_file(path).load) == (f"{path}: can't be read (No such file or directory); check {NAME}",)


def test_a_path_that_is_no_file_is_refused_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for each in (tmp_path, tmp_path / "pipe"):
        assert problems_of(rule_file(each).load) == (f"{each}: is no regular file; check {NAME}",)
    assert problems_of(RuleFile(NAME, "a\0b", words, {}).load) == (f"a\0b: is no path; check {NAME}",)


@pytest.mark.parametrize("text", [b"", b" \n\n"])
def test_an_empty_file_is_refused_because_it_may_be_half_written(path: Path, text: bytes) -> None:
    assert problem(path, text) == "is empty; write {} for no rules"


def test_a_key_given_twice_is_refused_at_any_depth(path: Path) -> None:
    (first, second) = problems_of(rule_file(path, "words: [a]\ninner: {x: 1, x: 2}\nwords: [b]").load)

    assert {first, second} == {f"{path}: line 3: the key 'words' is given twice", f"{path}: line 2: the key 'x' is given twice"}


def test_a_merged_map_may_be_overridden(path: Path) -> None:
    write(path, "base: &base {a: 1, b: 2}\nmine: {<<: *base, b: 3}\n")
    file = RuleFile(NAME, str(path), whole, {})

    file.load()

    assert file.value == {"base": {"a": 1, "b": 2}, "mine": {"a": 1, "b": 3}}


def test_unknown_expansions_are_problems_with_their_place(path: Path) -> None:
    assert problem(path, 'words: [a, "${TEAM}"]') == "words[1]: ${TEAM} is not ${env:NAME} or ${env:NAME:-default}"


def test_what_is_not_yaml_is_refused_with_its_place_and_without_its_text(path: Path) -> None:
    found = problem(path, "words: [a]\nb: c: sk-canary\n")

    assert found == "not YAML at line 2, column 5: mapping values are not allowed here"


@pytest.mark.parametrize(
    "text", ["a: !!bool x", 'a: !!int ""', "!!timestamp x", "a: !!float ''", "!!python/object:os.system x", b"\xff\xfe\x00", b"\x00"]
)
def test_tags_and_bytes_that_break_the_yaml_library_are_problems(path: Path, text: str | bytes) -> None:
    assert problem(path, text).startswith("not YAML at ")


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(8))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 10)}]}}\n" for i in range(8))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#" * (MAX_FILE_BYTES + 1), f"over {MAX_FILE_BYTES} bytes; is it a rule file?"),
        ("words: [" + "1," * MAX_NODES + "]", f"over {MAX_NODES} keys and values"),
        (LAUGHS, f"over {MAX_NODES} keys and values with every alias unfolded"),
        (MERGED, f"over {MAX_NODES} keys and values with every alias unfolded"),
        ("words: &a [*a]", "line 1: nested deeper than 32 levels"),
        ("words: &a {<<: *a}", "line 1: nested deeper than 32 levels"),
        ("[" * 33 + "]" * 33, "line 1: nested deeper than 32 levels"),
        ("[" * 5000, "not YAML at somewhere: RecursionError"),
        ("words: 1" + ":00" * MAX_SCALAR_CHARS, f"line 1: a value of over {MAX_SCALAR_CHARS} characters"),
    ],
    ids=["bytes", "values", "laughs", "merges", "itself", "merges-itself", "deep", "deeper", "base-60"],
)
def test_a_file_that_would_cost_too_much_is_refused(path: Path, text: str, said: str) -> None:
    assert problem(path, text) == said


@given(st.one_of(st.binary(max_size=200), st.text("ab:-[]{}&*!<>|'\"#%@\n ?~0123456789$,.", max_size=120).map(str.encode)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_value_or_problems(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    file = RuleFile(NAME, str(path), whole, {})

    try:
        file.load()
    except ConfigError as error:
        assert error.problems
        assert all(each.startswith(f"{path}: ") for each in error.problems)
    else:
        assert file.value is not None


def test_a_reload_says_whether_the_file_says_something_else(path: Path) -> None:
    file = rule_file(path, "words: [a]")
    file.load()
    before = file.value

    assert file.reload() is False
    assert file.value is before
    write(path, "words: [b]")
    assert file.reload() is True
    assert file.value == ("b",)


def test_a_bad_version_leaves_the_last_good_one_and_is_reported_each_time_it_is_asked_for(path: Path) -> None:
    file = rule_file(path, "words: [a]")
    file.load()
    write(path, "words: 7")

    for _ in range(2):
        assert problems_of(file.reload) == (f"{path}: words: expected a list",)
        assert file.value == ("a",)


def test_the_good_version_put_back_counts_as_a_change(path: Path) -> None:
    """Whoever was told of a bad version is told that it is over."""
    file = rule_file(path, "words: [a]")
    file.load()
    write(path, "words: 7")
    problems_of(file.reload)

    write(path, "words: [a]")

    assert file.reload() is True
    assert file.value == ("a",)


def test_a_change_is_seen_until_the_file_is_read_again_whatever_comes_of_it(path: Path) -> None:
    file = rule_file(path, "words: [a]")
    file.load()
    assert not file.changed()

    for text in ("words: [a, b]", "words: 7"):
        write(path, text)
        assert file.changed()
        try:
            file.reload()
        except ConfigError:
            assert text == "words: 7"
        assert not file.changed()
    path.unlink()
    assert file.changed()
    problems_of(file.reload)
    assert not file.changed()


def test_a_switched_link_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes replaces a ConfigMap: rules.yaml -> ..data/rules.yaml, ..data -> a directory of its own for each version."""
    for version, text in (("..1", "words: [a]"), ("..2", "words: [b]")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "rules.yaml").write_text(text, encoding="utf-8")
        os.utime(tmp_path / version / "rules.yaml", ns=(1, 1))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "rules.yaml").symlink_to("..data/rules.yaml")
    file = rule_file(tmp_path / "rules.yaml")
    file.load()

    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")

    assert file.changed()
    assert file.reload() is True
    assert file.value == ("b",)


def test_the_models_file_is_a_rule_file() -> None:
    file = RuleFile("enrichment.models", str(Path(__file__).parent.parent / "config/models.yaml"), parse_models, {})

    file.load()

    assert file.reload() is False


def pair(tmp_path: Path) -> tuple[RuleFile[tuple[str, ...]], RuleFile[tuple[str, ...]]]:
    return rule_file(tmp_path / "a.yaml", "words: [a]"), rule_file(tmp_path / "b.yaml", "words: [b]")


def test_loading_all_reports_the_problems_of_every_file_at_once(tmp_path: Path) -> None:
    files = RuleFiles([rule_file(tmp_path / "a.yaml", "words: 1"), rule_file(tmp_path / "b.yaml", "{}"), rule_file(tmp_path / "c.yaml")])

    first, second = problems_of(files.load_all)

    assert first == f"{tmp_path / 'a.yaml'}: words: expected a list"
    assert second.startswith(f"{tmp_path / 'c.yaml'}: can't be read")


class Rig:
    """Files under watch, and what came of it."""

    def __init__(self, *files: RuleFile[object]) -> None:
        self.files = RuleFiles(files)
        self.files.load_all()
        self.clock = FakeClock()
        self.metrics = Metrics(CollectorRegistry())
        self.changed: list[object] = []

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Callable[[], None]]:
        log = logging.getLogger("sidecar.rules")
        async with watched(self.files, self.clock, lambda file: self.changed.append(file.value), log, self.metrics) as read_again:
            yield read_again

    async def look(self) -> None:
        """One look at the files, to its end: until the watch sleeps again."""
        await self.clock.wait_for_sleeper()
        await self.clock.advance(LOOK_S)
        await self.clock.wait_for_sleeper()

    def count(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("sidecar_config_reloads_total", {"outcome": outcome}) or 0.0


def test_reading_again_lets_good_files_take_effect_beside_a_bad_one_without_a_look(tmp_path: Path) -> None:
    bad, good = pair(tmp_path)
    rig = Rig(bad, good)
    Path(bad.path).write_text("words: 7", encoding="utf-8")
    Path(good.path).write_text("words: [new]", encoding="utf-8")

    async def scenario() -> None:
        async with rig.watching() as read_again:
            read_again()
            assert rig.changed == []  # it goes on beside the caller

    asyncio.run(scenario())

    assert rig.changed == [("new",)]
    assert (bad.value, good.value) == (("a",), ("new",))
    assert (rig.count("ok"), rig.count("failed")) == (1, 1)


def test_reading_again_what_has_not_changed_tells_of_nothing(tmp_path: Path) -> None:
    rig = Rig(*pair(tmp_path))

    async def scenario() -> None:
        async with rig.watching() as read_again:
            read_again()

    asyncio.run(scenario())

    assert rig.changed == []
    assert (rig.count("ok"), rig.count("failed")) == (0, 0)


def test_a_change_takes_effect_within_a_look(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = rule_file(path, "words: [a]")
    rig = Rig(file)

    async def scenario() -> None:
        async with rig.watching():
            await rig.look()
            assert rig.changed == []
            write(path, "words: [a, b]")
            await rig.look()
            assert rig.changed == [("a", "b")]
            await rig.look()

    with caplog.at_level(logging.INFO, "sidecar.rules"):
        asyncio.run(scenario())

    assert rig.changed == [("a", "b")]
    assert (rig.count("ok"), rig.count("failed")) == (1, 0)
    (record,) = caplog.records
    assert (record.levelname, vars(record)["setting"], vars(record)["path"]) == ("INFO", NAME, str(path))


def test_a_bad_change_is_logged_and_counted_once_and_the_next_good_one_takes_effect(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = rule_file(path, "words: [a]")
    rig = Rig(file)

    async def scenario() -> None:
        async with rig.watching():
            write(path, "words: [1, 2]")
            for _ in range(3):
                await rig.look()
            assert file.value == ("a",)
            assert rig.changed == []
            write(path, "words: [a]")
            await rig.look()

    with caplog.at_level(logging.INFO, "sidecar.rules"):
        asyncio.run(scenario())

    assert rig.changed == [("a",)]
    assert (rig.count("ok"), rig.count("failed")) == (1, 1)
    bad, good = caplog.records
    assert (bad.levelname, good.levelname) == ("ERROR", "INFO")
    assert vars(bad)["problems"] == [f"{path}: words[0]: expected a string", f"{path}: words[1]: expected a string"]
    assert vars(bad)["more"] == 0


def test_a_file_that_is_away_for_a_moment_leaves_its_rules(path: Path) -> None:
    file = rule_file(path, "words: [a]")
    rig = Rig(file)

    async def scenario() -> None:
        async with rig.watching():
            remove(path)
            await rig.look()
            assert file.value == ("a",)
            write(path, "words: [b]")
            await rig.look()

    asyncio.run(scenario())

    assert file.value == ("b",)
    assert (rig.count("ok"), rig.count("failed")) == (1, 1)


def test_a_file_that_was_only_touched_is_no_change(path: Path) -> None:
    rig = Rig(rule_file(path, "words: [a]"))

    async def scenario() -> None:
        async with rig.watching():
            os.utime(path, ns=(1, 1))
            await rig.look()

    asyncio.run(scenario())

    assert rig.changed == []
    assert (rig.count("ok"), rig.count("failed")) == (0, 0)


def test_the_log_of_a_bad_file_is_bounded(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def parse(tree: object) -> object:
        if tree:
            raise ConfigError([f"words[{i}]: {'x' * 1000}" for i in range(30)])
        return tree

    write(path, "{}")
    rig = Rig(RuleFile(NAME, str(path), parse, {}))

    async def scenario() -> None:
        async with rig.watching():
            write(path, "words: 1")
            await rig.look()

    asyncio.run(scenario())

    (record,) = caplog.records
    assert len(vars(record)["problems"]) == 20
    assert all(len(each) == 403 for each in vars(record)["problems"])
    assert vars(record)["more"] == 10


def test_a_parser_with_a_defect_costs_one_version_and_not_the_program(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def parse(tree: object) -> object:
        assert isinstance(tree, dict)
        return tree if not tree else tree["missing"]

    write(path, "{}")
    file = RuleFile(NAME, str(path), parse, {})
    rig = Rig(file)

    async def scenario() -> None:
        async with rig.watching():
            write(path, "a: 1")
            await rig.look()
            await rig.look()
            write(path, "missing: 1")
            await rig.look()

    asyncio.run(scenario())

    assert rig.changed == [1]
    assert (rig.count("ok"), rig.count("failed")) == (1, 1)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].exc_info is not None


def test_the_watch_ends_with_its_block_and_sleeps_between_looks(path: Path) -> None:
    rig = Rig(rule_file(path, "{}"))

    async def scenario() -> None:
        async with rig.watching():
            assert await rig.clock.wait_for_sleeper() == LOOK_S
        await until(lambda: len(asyncio.all_tasks()) == 1, "the end of the watch")

    asyncio.run(scenario())


def test_without_files_nothing_wakes() -> None:
    rig = Rig(RuleFile(NAME, "", words, {}))

    async def scenario() -> None:
        async with rig.watching():
            await rig.clock.settle()
            assert rig.clock.sleeping() == []

    asyncio.run(scenario())

    assert not rig.files.configured

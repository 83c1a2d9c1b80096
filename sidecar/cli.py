"""The commands. Exit codes: 0 done, 1 failed, 2 bad configuration or usage."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import IO, NoReturn, ParamSpec

import click
import msgspec

from sidecar import __version__
from sidecar.clock import SystemClock
from sidecar.config import Logging
from sidecar.errors import ConfigError, SidecarError
from sidecar.loader import Loaded, load, to_yaml
from sidecar.observe.logs import configure

P = ParamSpec("P")

DOCTOR_WAIT_S = 30.0
"""Langfuse's worker usually takes a few seconds to make a trace readable."""


def main() -> NoReturn:
    """The program."""
    cli(prog_name="sidecar")
    raise AssertionError("click exits by itself")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="langfuse-sidecar")
def cli() -> None:
    """Langfuse Sidecar: takes OTLP spans from agents beside it and delivers them to Langfuse."""


def configured(command: Callable[P, None]) -> Callable[P, None]:
    """Add the options that every command reading a configuration has."""
    files = click.option(
        "--config", "files", type=click.Path(path_type=Path), multiple=True, metavar="FILE", help="YAML file; repeat it, later ones win."
    )
    sets = click.option("--set", "sets", multiple=True, metavar="A.B.C=VALUE", help="One setting; wins over files; repeat it.")
    return files(sets(command))


def fails_plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our own errors into a message and an exit code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(f"configuration: {problem}", err=True)
            click.echo(f"{len(error.problems)} problem(s); nothing was started", err=True)
            sys.exit(2)
        except SidecarError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return run


def _load(files: tuple[Path, ...], sets: tuple[str, ...]) -> Loaded:
    return load(files, sets, os.environ)


@cli.command()
@configured
@fails_plainly
def run(files: tuple[Path, ...], sets: tuple[str, ...]) -> None:
    """Run the sidecar until SIGTERM or SIGINT; SIGHUP reads keys, tokens and rule files again."""
    loaded = _load(files, sets)
    from sidecar.app import serve  # noqa: PLC0415  (the daemon's imports cost 300 ms, which the other commands need not pay)

    sys.exit(serve(loaded, os.environ))


@cli.command()
@configured
@fails_plainly
def validate(files: tuple[Path, ...], sets: tuple[str, ...]) -> None:
    """Check the configuration and its rule files; report every problem at once."""
    loaded = _load(files, sets)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    from sidecar.receive.rules import check_rules  # noqa: PLC0415  (the parsers are not needed by the other commands)

    check_rules(loaded.config, os.environ)
    click.echo("the configuration is good")


@cli.command("print-config")
@configured
@fails_plainly
def print_config(files: tuple[Path, ...], sets: tuple[str, ...]) -> None:
    """Print the effective configuration; secrets show as ***."""
    click.echo(to_yaml(_load(files, sets).config), nl=False)


@cli.command()
@configured
@click.option(
    "--wait-s", type=click.FloatRange(min=0), default=DOCTOR_WAIT_S, show_default=True, help="How long to wait for the test trace to be readable."
)
@fails_plainly
def doctor(files: tuple[Path, ...], sets: tuple[str, ...], wait_s: float) -> None:
    """Check disk, server, clock and keys; send a test trace to each destination and read it back."""
    loaded = _load(files, sets)
    from sidecar.forward.doctor import Level, examine  # noqa: PLC0415  (imports the Langfuse package: 30 MB)

    for warning in loaded.warnings:
        click.echo(f"warn  configuration: {warning}")
    failed = False
    for finding in examine(loaded.config, wait_s):
        failed = failed or finding.level is Level.FAIL
        click.echo(f"{finding.level.value:<5} {finding.check}: {finding.text}")
    sys.exit(1 if failed else 0)


@cli.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one a request and one a span, for programs.")
@click.option(
    "--values", is_flag=True, help="Show the first 120 characters of values, masked; by default the texts of prompts and answers are not shown."
)
@click.argument("file", type=click.File("rb"))
@fails_plainly
def explain(files: tuple[Path, ...], sets: tuple[str, ...], as_json: bool, values: bool, file: IO[bytes]) -> None:
    """Say what the sidecar does with each span of FILE (or - for standard input), and why. Nothing is sent.

    FILE holds OTLP traces, plain or in gzip: protobuf, or JSON, one request or one a line. At most 64 MiB.
    """
    loaded = _load(files, sets)
    from sidecar.explain import MAX_BYTES, explain  # noqa: PLC0415  (the daemon's imports, which the other commands need not pay)
    from sidecar.explained import explained  # noqa: PLC0415  (as below)
    from sidecar.receive.rules import mask_of  # noqa: PLC0415  (as above)

    configure(Logging(level="warning", format="text"), sys.stderr)
    log = logging.getLogger("sidecar.explain")
    found = explain(
        file.read(MAX_BYTES + 1),
        loaded.config,
        os.environ,
        mask_of(loaded.config, os.environ),
        SystemClock().wall_ms(),
        log,
        values=values,
    )
    if as_json:
        for record in (*found.requests, *found.spans):
            click.echo(msgspec.json.encode(record))
    else:
        for line in explained(found):
            click.echo(line)


@cli.command()
@fails_plainly
def demo() -> None:
    """Run a sample agent through the whole path and show what Langfuse would get."""
    from sidecar.demo import show  # noqa: PLC0415  (imports the daemon and the OpenTelemetry SDK)

    show(click.echo)


@cli.group()
def buffer() -> None:
    """Look into the buffer and mend it; works beside the running sidecar and without it."""


def _stream(loaded: Loaded, command: str, **options: object) -> None:
    from sidecar.buffer.tools import run_command  # noqa: PLC0415  (SQLite and asyncio)

    async def print_all() -> None:
        async for answer in run_command(loaded.config.buffer, command, SystemClock(), logging.getLogger("sidecar.buffer"), **options):
            click.echo(json.dumps(answer, ensure_ascii=False))

    configure(Logging(level="warning", format="text"), sys.stderr)
    try:
        asyncio.run(print_all())
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@buffer.command()
@configured
@fails_plainly
def inspect(files: tuple[Path, ...], sets: tuple[str, ...]) -> None:
    """Print rows, bytes, ages, dead letters and the ledger as JSON."""
    _stream(_load(files, sets), "inspect")


KIND = click.Choice(["pending", "dead", "delivered"])


@buffer.command()
@configured
@click.option("--pending", "kind", flag_value="pending", default="pending", help="Rows that wait (the default).")
@click.option("--dead", "kind", flag_value="dead", help="Dead letters, with their reasons.")
@click.option("--delivered", "kind", flag_value="delivered", help="What a `local` destination keeps.")
@click.option("--destination", default=None, help="Only this destination.")
@click.option("--trace-id", default=None, help="Only this trace (32 hex digits).")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many rows.")
@fails_plainly
def export(files: tuple[Path, ...], sets: tuple[str, ...], kind: str, destination: str | None, trace_id: str | None, limit: int | None) -> None:
    """Print rows as JSON lines, each with its spans as OTLP/JSON. Nothing is changed."""
    _stream(_load(files, sets), "export", kind=kind, destination=destination, trace_id=trace_id, limit=limit)


@buffer.command()
@configured
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@click.argument("ids", type=int, nargs=-1)
@fails_plainly
def replay(files: tuple[Path, ...], sets: tuple[str, ...], everything: bool, ids: tuple[int, ...]) -> None:
    """Put dead letters (IDS as `export --dead` shows them, or --all) back into the queue."""
    if everything == bool(ids):
        raise click.UsageError("name dead letters by id, or say --all")
    _stream(_load(files, sets), "replay", ids=None if everything else list(ids))


@buffer.command()
@configured
@click.option("--kind", type=KIND, required=True, help="What to delete.")
@click.option("--destination", default=None, help="Only this destination.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@fails_plainly
def purge(files: tuple[Path, ...], sets: tuple[str, ...], kind: str, destination: str | None, yes: bool) -> None:
    """Delete rows for good, counted `purged`."""
    if not yes:
        click.confirm(f"Delete every {kind} row{f' of {destination}' if destination else ''} for good?", abort=True)
    _stream(_load(files, sets), "purge", kind=kind, destination=destination)


@buffer.command()
@configured
@fails_plainly
def repair(files: tuple[Path, ...], sets: tuple[str, ...]) -> None:
    """Take what can be read of a damaged buffer, or of files set aside, into a sound one; the sidecar must be stopped."""
    _stream(_load(files, sets), "repair")

"""Generate sidecar/enrich/prices.json and prices.LICENSE from genai-prices' data; ``make prices``.

The package is downloaded with pip into a temporary directory and never imported: its data is a module of
literal constructor calls, so it is read as a syntax tree. What can't be billed by token (images, searches,
hours of audio) is left out, but the model stays in the table, so that it is known to be unpriced.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, TypeAlias

TARGET = Path(__file__).parent.parent / "sidecar" / "enrich"
PACKAGE = "genai-prices"
RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "request",
}
"""Price keys of the source and of the table: USD per million tokens, but ``request``: USD per thousand requests."""

CLAUSES = {"ClauseEquals": "=", "ClauseStartsWith": "^", "ClauseEndsWith": "$", "ClauseContains": "~", "ClauseRegex": "/"}
SERVICE_TIERS = ({"processing": "batch"}, {"service_tier": "flex"}, {"service_tier": "priority"}, {"service_tier": "fast"}, {"speed": "fast"})
"""What a span can say of how its request was served; other variants (a route, a kind of search) it can't."""

Node: TypeAlias = Mapping[str, Any]
"""A constructor call of the data, its name under ``kind``; its values are what the source put there."""
Built: TypeAlias = dict[str, Any]
"""A part of the table, as JSON."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is read out of the package."""

    version: str
    data: str
    licence: str


def download(version: str | None) -> Source:
    """The package's data and licence; raises CalledProcessError when pip can't get it."""
    wanted = f"{PACKAGE}=={version}" if version else PACKAGE
    with tempfile.TemporaryDirectory() as directory:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", directory, wanted], check=True)
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (licence,) = (name for name in archive.namelist() if name.endswith("dist-info/licenses/LICENSE"))
            data = archive.read("genai_prices/data.py").decode()
            return Source(wheel.name.split("-")[1], data, archive.read(licence).decode())


def providers_of(data: str) -> list[Built]:
    """The data as plain values; a constructor call becomes a dict with its name under ``kind``."""
    for statement in ast.parse(data).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.target.id == "providers":
            assert statement.value is not None
            value = _plain(statement.value)
            assert isinstance(value, list)
            return value
    raise ValueError("the package's data has no list named providers: its layout has changed")


_VALUES: Mapping[str, Callable[..., object]] = {"Decimal": float, "datetime.date": date, "datetime.time": time}


def _plain(node: ast.expr) -> object:
    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [_plain(each) for each in node.elts]
        case ast.Dict():
            return {_plain(key): _plain(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None}
        case ast.Attribute() if ast.unparse(node) == "datetime.UTC":
            return UTC
        case ast.Call():
            name, positional = ast.unparse(node.func), [_plain(each) for each in node.args]
            named = {each.arg: _plain(each.value) for each in node.keywords if each.arg}
            if name in _VALUES:
                return _VALUES[name](*positional, **named)
            if positional:
                raise ValueError(f"{name} has positional arguments: the package's layout has changed")
            return {"kind": name, **named}
    raise ValueError(f"not a literal: {ast.unparse(node)[:100]}")


def table(providers: Iterable[Node], version: str, today: date) -> Built:
    """The price table, as sidecar/enrich/price_table.py reads it."""
    return {
        "source": PACKAGE,
        "version": version,
        "date": today.isoformat(),
        "licence": "MIT, see prices.LICENSE",
        "unit": "USD per million tokens; request: USD per thousand requests",
        "providers": {
            each["id"]: _sparse(
                name=each["name"],
                owns=clauses(each["model_match"]) if each.get("model_match") else None,
                resells=each.get("fallback_model_providers"),
                models=[model(entry) for entry in each["models"]],
            )
            for each in providers
        },
    }


def clauses(match: Node) -> list[str | list[str]]:
    """A matcher as alternatives; each is a clause (``=equals``, ``^starts``, ``$ends``, ``~contains``, ``/regex``) or a list of which all must hold."""
    if match["kind"] == "ClauseOr":
        return [clause for each in match["or_"] for clause in clauses(each)]
    if match["kind"] == "ClauseAnd":
        return [[_clause(each) for each in match["and_"]]]
    return [_clause(match)]


def _clause(match: Node) -> str:
    (text,) = (value for key, value in match.items() if key != "kind")
    if match["kind"] == "ClauseRegex":
        re.compile(text)
        return "/" + str(text)
    return CLAUSES[match["kind"]] + str(text).lower()


def model(entry: Node) -> Built:
    """One model: its matcher, context window and prices, the standard ones first to last as in the source (the last that holds wins)."""
    given = entry["prices"]
    conditions = given if isinstance(given, list) else [{"prices": given}]
    prices = [price(each["prices"], each.get("constraint")) for each in conditions]
    for variant in entry.get("price_variants") or ():
        if variant["when"] in SERVICE_TIERS:
            special = price(variant["prices"], variant.get("constraint"), next(iter(variant["when"].values())))
            prices.append(special)
    name = entry.get("name")
    is_free = not any(key != "kind" for each in conditions for key in each["prices"]) and ":free" in f"{entry['id']} {name}".replace(
        "(free)", ":free"
    )
    return _sparse(
        id=entry["id"].lower(),
        name=name,
        context_window=entry.get("context_window"),
        match=clauses(entry["match"]),
        prices=[each for each in prices if "rates" in each],
        free=is_free or None,
    )


def price(prices: Node, constraint: Node | None = None, service_tier: str | None = None) -> Built:
    """One price: its rates, those above a context length, and when it holds."""
    values = {RATES[key]: value for key, value in prices.items() if key in RATES and value is not None}
    base = {key: value["base"] if isinstance(value, dict) else value for key, value in values.items()}
    starts = sorted({tier["start"] for value in values.values() if isinstance(value, dict) for tier in value["tiers"]})
    hours = [_minute(constraint["start_time"]), _minute(constraint["end_time"])] if constraint and "start_time" in constraint else None
    return _sparse(
        rates=base,
        above=[[start, {key: _at(value, start) for key, value in values.items()}] for start in starts],
        since=constraint["start_date"].isoformat() if constraint and "start_date" in constraint else None,
        minutes=hours,
        service_tier=service_tier,
    )


def _at(value: Any, start: int) -> float:
    """The rate that holds above ``start`` tokens of input."""
    if not isinstance(value, dict):
        return float(value)
    tiers = [tier["price"] for tier in sorted(value["tiers"], key=lambda tier: int(tier["start"])) if tier["start"] <= start]
    return float(tiers[-1] if tiers else value["base"])


def _minute(moment: time) -> int:
    if moment.tzinfo not in (None, UTC) or moment.second:
        raise ValueError(f"{moment} is not a whole minute of UTC")
    return moment.hour * 60 + moment.minute


def _sparse(**fields: Any) -> Built:
    return {key: value for key, value in fields.items() if value not in (None, [], {})}


def main(arguments: list[str]) -> int:
    """The program; returns its exit code."""
    if len(arguments) > 1 or any(each.startswith("-") for each in arguments):
        print(f"usage: python -m scripts.generate_prices [VERSION OF {PACKAGE}]")
        return 2
    source = download(arguments[0] if arguments else None)
    built = table(providers_of(source.data), source.version, datetime.now(UTC).date())
    text = json.dumps(built, ensure_ascii=False, separators=(",", ":"))
    # One model a line, so that a review of a new table shows what it changes.
    text = re.sub(r'("[a-z0-9_-]+":\{"name":|\{"id":)', r"\n\1", text)
    (TARGET / "prices.json").write_text(text + "\n", encoding="utf-8")
    (TARGET / "prices.LICENSE").write_text(source.licence, encoding="utf-8")
    print(
        f"{PACKAGE} {source.version}: {len(built['providers'])} providers, {sum(len(each['models']) for each in built['providers'].values())} models"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

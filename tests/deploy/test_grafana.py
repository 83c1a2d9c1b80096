"""The dashboard: generated, laid out without overlaps, and made of metrics and labels that a running process shows."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts import generate_dashboards
from scripts.generate_dashboards import BOARDS, COLUMNS, Board
from scripts.panels import SELECT, Query
from tests.acceptance.sending import send_now, traces
from tests.deploy.test_prometheus import OF_TARGETS, RECORDED, documented, grouped, matchers, names, sources
from tests.fakes.langfuse import langfuse_thread
from tests.processes import sidecar_process

QUERIES = [query for board in BOARDS for row in board.rows for panel in row.panels for query in panel.queries]
EACH = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


@EACH
def test_the_dashboard_is_current(board: Board) -> None:
    assert board.path.read_text(encoding="utf-8") == generate_dashboards.text(board)


def test_there_is_no_other_dashboard() -> None:
    assert {path.name for path in generate_dashboards.FOLDER.glob("*.json")} == {board.path.name for board in BOARDS}


def test_every_query_shows_a_metric_of_a_running_process(tmp_path: Path) -> None:
    """Also those that have not counted yet: the process names them all."""
    with langfuse_thread() as fake, sidecar_process(tmp_path, fake.url) as sidecar:
        send_now(sidecar, traces(2))
        sidecar.settled()
        _, text = sidecar.admin("/metrics")
    families = list(text_string_to_metric_families(text))
    shown = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    labels = {sample.name: set(sample.labels) for family in families for sample in family.samples}

    assert {query.expr: missing for query in QUERIES if (missing := sources(query.expr) - shown)} == {}
    # What the page of metrics says of labels, which the queries are held against below, is what the process shows.
    assert {name: found for name, found in labels.items() if name in documented() and found != documented()[name]} == {}


def test_every_label_of_a_query_is_one_of_its_metric() -> None:
    recorded = {rule.name: {label for name in sources(rule.expr) for label in documented().get(name, ())} for rule in RECORDED}
    known = {**documented(), **recorded}

    for query in QUERIES:
        labels = {label for name in names(query.expr) for label in known.get(name, ())} | OF_TARGETS
        used = grouped(query.expr) - {"le"} | {each.label for each in matchers(query.expr)}
        assert used | in_legend(query) <= labels, query


def test_every_label_in_a_legend_survives_its_query() -> None:
    for query in QUERIES:
        if kept := grouped(query.expr):
            assert in_legend(query) <= kept, query


def in_legend(query: Query) -> set[str]:
    return set(re.findall(r"\{\{(\w+)\}\}", query.legend))


def test_every_selector_follows_the_choice_of_job_and_instance() -> None:
    for query in QUERIES:
        assert query.expr.count("{") == query.expr.count(SELECT) > 0, query


@EACH
def test_every_panel_has_its_place_its_number_and_a_sentence(board: Board) -> None:
    panels = json.loads(board.path.read_text(encoding="utf-8"))["panels"]
    places = [panel["gridPos"] for panel in panels]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels if panel["type"] != "row")
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)

"""Explanations as text."""

from __future__ import annotations

from sidecar.explain import Explanation, RequestReport, SpanReport
from sidecar.explained import COLUMNS, explained


def span(number: int, parent: int = 0, name: str = "work", **more: object) -> SpanReport:
    return SpanReport(1, "t" * 32, f"{number:016x}", name, f"{parent:016x}" if parent else "", start_ns=number, kind="span", **more)  # type: ignore[arg-type]  # (members by name)


def lines(*spans: SpanReport, requests: list[RequestReport] | None = None, date: str = "2026-11-20") -> list[str]:
    return list(explained(Explanation(requests or [RequestReport(1)], list(spans), date)))


def test_spans_stand_below_their_parents_in_order_of_start() -> None:
    shown = [line for line in lines(span(3, 1, "late"), span(2, 1, "early"), span(1, name="root"), span(4, 2, "leaf")) if "* " in line]
    assert [line.split("  [")[0] for line in shown] == ["  * root", "    * early", "      * leaf", "    * late"]


def test_a_circle_of_parents_is_shown_once() -> None:
    assert sum("* " in line for line in lines(span(1, 2), span(2, 1))) == 2


def test_no_line_is_wider_than_a_terminal() -> None:
    long = span(1, name="x" * 500, removed=tuple(f"some.long.attribute.{number}" for number in range(100)))
    assert max(map(len, lines(long))) <= COLUMNS


def test_what_a_terminal_would_act_upon_is_escaped() -> None:
    text = "\n".join(lines(span(1, name="a\x1b[2Jb\r")))
    assert "\x1b" not in text and "\r" not in text and "\\x1b" in text


def test_rejected_spans_and_sums_are_said() -> None:
    request = RequestReport(1, rejected={"invalid_span_id": 2}, problems=["span 3 has no id."])
    shown = lines(span(1), requests=[request])
    assert any("span 3 has no id." in line for line in shown)
    assert shown[-1].startswith("requests: 1; spans: 1 kept, 0 left out, 2 rejected")
    assert lines(span(1), date="")[-1].endswith("enrichment is off (enrichment.enabled)")

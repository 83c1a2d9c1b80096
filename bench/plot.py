"""Curves over time as an SVG, one panel below the other. Pure text, no library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 860, 120, 70, 20, 44, 30
COLOURS = ("#1f6fb4", "#d1571d", "#3a923a")


@dataclass(frozen=True, slots=True)
class Series:
    """One curve."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves over one axis."""

    title: str
    series: Sequence[Series]
    top: float | None = None
    """The axis ends here; None: at a round number above the highest value."""


def svg(title: str, panels: Sequence[Panel], at_s: Sequence[float], loaded_s: tuple[float, float]) -> str:
    """The picture; ``loaded_s`` is shaded. Points come at ``at_s`` seconds."""
    end_s = max(at_s)
    height = TOP + len(panels) * (PANEL + GAP) + 20

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * second / end_s

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        out += _panel(panel, TOP + number * (PANEL + GAP), at_s, x, loaded_s)
    bottom = TOP + len(panels) * (PANEL + GAP) - GAP + 14
    step = _round(end_s / 8)
    for index in range(int(end_s / step) + 1):
        out.append(f'<text x="{x(index * step):.1f}" y="{bottom}" text-anchor="middle" fill="#555">{index * step:g} s</text>')
    return "\n".join([*out, "</svg>", ""])


def _panel(panel: Panel, y: float, at_s: Sequence[float], x: object, loaded_s: tuple[float, float]) -> list[str]:
    assert callable(x)
    highest = panel.top or _round(max((value for each in panel.series for value in each.values), default=1.0) or 1.0)
    base = y + PANEL
    out = [
        f'<rect x="{x(loaded_s[0]):.1f}" y="{y}" width="{x(loaded_s[1]) - x(loaded_s[0]):.1f}" height="{PANEL}" fill="#f3efe6"/>',
        f'<rect x="{LEFT}" y="{y}" width="{WIDTH - LEFT - RIGHT}" height="{PANEL}" fill="none" stroke="#999"/>',
        f'<text x="{LEFT}" y="{y - 5}">{escape(panel.title)}</text>',
        f'<text x="{LEFT - 6}" y="{y + 10}" text-anchor="end" fill="#555">{highest:g}</text>',
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end" fill="#555">0</text>',
    ]
    for number, each in enumerate(panel.series):
        points = " ".join(f"{x(second):.1f},{base - PANEL * min(value / highest, 1.0):.1f}" for second, value in zip(at_s, each.values, strict=True))
        colour = COLOURS[number % len(COLOURS)]
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(panel.series) > 1:
            out.append(f'<text x="{WIDTH - RIGHT - 150 + 80 * number}" y="{y - 5}" fill="{colour}">{escape(each.name)}</text>')
    return out


def _round(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value)

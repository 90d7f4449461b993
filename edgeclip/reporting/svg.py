"""Pieces that the page's plots are drawn with: inline SVG, no script, no library, nothing from the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..base.visible import escape

WIDTH = 500


def span(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis around these values."""
    return min(values) / 1.35, max(values) * 1.35


def log_scale(low: float, high: float, left: float, right: float) -> Callable[[float], float]:
    """Values to pixels on a logarithmic axis; what lies beyond its ends is put on them."""
    width = math.log(high) - math.log(low)
    return lambda value: left + (math.log(max(low, min(value, high))) - math.log(low)) / width * (right - left)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends: 1, 2 and 5 times powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [round(value, 9) for value in every if low <= value <= high]


def svg(height: float, title: str, parts: Sequence[str]) -> str:
    """The whole drawing."""
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def text(x: float, y: float, content: str, anchor: str = "start", kind: str = "") -> str:
    """A text, escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(content)}</text>'

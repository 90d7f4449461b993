"""The page's plots, as inline SVG: no script, no library, nothing from the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .schema import Row

WIDTH = 500


def scatter(rows: Sequence[Row], limit_ms: float | None) -> str:
    """Top-1 over p50, the budget as a line: up and to the left is better."""
    height, left, right, top, bottom = 300, 46, 20, 14, 40
    low, high = _span([row.timing.p50_ms for row in rows] + ([limit_ms] if limit_ms else []))
    best, worst = 100 * max(row.top1 for row in rows), 100 * min(row.top1 for row in rows)
    ceiling, floor = math.ceil(best / 5 + 0.4) * 5, max(0, math.floor(worst / 5 - 0.6) * 5)

    def x(ms: float) -> float:
        return left + (math.log(ms) - math.log(low)) / (math.log(high) - math.log(low)) * (WIDTH - left - right)

    def y(top1: float) -> float:
        return height - bottom - (top1 - floor) / (ceiling - floor) * (height - top - bottom)

    parts = [_line(left, y(level), WIDTH - right, y(level)) for level in range(floor, ceiling + 1, 5)]
    parts += [_text(left - 6, y(v) + 4, f"{v}%", "end", "tick") for v in range(floor, ceiling + 1, 5)]
    parts += [_text(x(ms), height - bottom + 16, f"{ms:g}", "middle", "tick") for ms in _ticks(low, high)]
    parts.append(_text((left + WIDTH - right) / 2, height - 6, "p50 of one image, ms (log scale)", "middle", "tick"))
    if limit_ms:
        parts.append(_line(x(limit_ms), top, x(limit_ms), height - bottom, "limit"))
        parts.append(_text(x(limit_ms) + 5, height - bottom - 6, f"budget {limit_ms:g} ms", "start", "limit-text"))
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: -row.top1):
        px, py = x(row.timing.p50_ms), y(100 * row.top1)
        kind = "chosen" if row.recommended else "dot"
        parts.append(f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="5"/>')
        label = py + 4
        while any(abs(label - other) < 14 and abs(px - at) < 150 for at, other in taken):
            label += 14
        taken.append((px, label))
        anchor, side = ("end", -10) if px > 0.62 * WIDTH else ("start", 10)
        parts.append(_text(px + side, label, row.stage, anchor))
    return _svg(height, "Top-1 accuracy over latency", parts)


def strips(rows: Sequence[Row], limit_ms: float | None) -> str:
    """Every kept sample as a dot; p50, p90 and p99 as a bar with three marks."""
    step, left, right, top = 44, 8, 14, 6
    height = top + step * len(rows) + 40
    ends = [row.timing.p99_ms for row in rows] + [min(row.timing.raw_ms or [row.timing.p50_ms]) for row in rows]
    low, high = _span(ends + ([limit_ms] if limit_ms else []))

    def x(ms: float) -> float:
        place = (math.log(max(low, min(ms, high))) - math.log(low)) / (math.log(high) - math.log(low))
        return left + place * (WIDTH - left - right)

    parts = [_text(x(ms), height - 22, f"{ms:g}", "middle", "tick") for ms in _ticks(low, high)]
    parts.append(_text(WIDTH / 2, height - 6, "ms (log scale); marks: p50, p90, p99", "middle", "tick"))
    if limit_ms:
        parts.append(_line(x(limit_ms), top, x(limit_ms), height - 36, "limit"))
    for number, row in enumerate(rows):
        middle, c = top + step * number + 28, " c" if row.recommended else ""
        parts.append(_text(left, middle - 14, f"{row.stage}: {row.timing.p50_ms:.3g} ms"))
        for i, ms in enumerate(row.timing.raw_ms):
            offset = (i * 7 % 13 - 6) * 0.9  # spread by a fixed pattern: the page must not change between renderings
            parts.append(f'<circle class="faint{c}" cx="{x(ms):.1f}" cy="{middle + offset:.1f}" r="1.6"/>')
        timing = row.timing
        parts.append(_line(x(timing.p50_ms), middle, x(timing.p99_ms), middle, f"bar{c}"))
        for ms, tall in ((timing.p50_ms, 8), (timing.p90_ms, 6), (timing.p99_ms, 4)):
            parts.append(_line(x(ms), middle - tall, x(ms), middle + tall, f"bar{c}"))
    return _svg(height, "Latency of single images", parts)


def predicted(rows: Sequence[Row]) -> str:
    """Predicted against measured p50, one line a variant the profile speaks for."""
    known = [(row, row.predicted_ms) for row in rows if row.predicted_ms]
    if not known:
        return '<p class="soft">The profile makes no prediction for these variants.</p>'
    step, left, right = 46, 8, 16
    height = step * len(known) + 36
    high = 1.15 * max(max(ms, row.timing.p50_ms) for row, ms in known)
    parts = []
    for number, (row, ms) in enumerate(known):
        middle = step * number + 30
        here, there = (left + value / high * (WIDTH - left - right) for value in (row.timing.p50_ms, ms))
        error = ms / row.timing.p50_ms - 1
        parts.append(
            _text(
                left,
                middle - 14,
                f"{row.stage}: predicted {ms:.3g} ms, measured {row.timing.p50_ms:.3g} ms ({error:+.0%})",
            )
        )
        parts.append(_line(left, middle, WIDTH - right, middle))
        parts.append(_line(min(here, there), middle, max(here, there), middle, "bar"))
        parts.append(f'<circle class="chosen" cx="{there:.1f}" cy="{middle}" r="5"/>')
        parts.append(f'<circle class="dot" cx="{here:.1f}" cy="{middle}" r="5"/>')
    parts.append(f'<circle class="chosen" cx="{left + 5}" cy="{height - 12}" r="4"/>')
    parts.append(_text(left + 14, height - 8, "predicted", "start", "tick"))
    parts.append(f'<circle class="dot" cx="{left + 85}" cy="{height - 12}" r="4"/>')
    parts.append(_text(left + 94, height - 8, "measured p50, ms from 0", "start", "tick"))
    return _svg(height, "Predicted and measured latency", parts)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis around these values."""
    return min(values) / 1.35, max(values) * 1.35


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends: 1, 2 and 5 times powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [round(value, 9) for value in every if low <= value <= high]


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'

"""The page's plots, as inline SVG: no script, no library, nothing from the network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..measurement.schema import Row, Timing
from .svg import WIDTH, line, log_scale, span, svg, text, ticks

LABEL = 110  # room that a stage's name takes
DOTS = 400  # samples a row that are drawn


def _timed(rows: Sequence[Row]) -> list[tuple[Row, Timing]]:
    return [(row, row.timing) for row in rows if row.timing]


def scatter(rows: Sequence[Row], limit_ms: float | None, chance: float | None) -> str:
    """Top-1 over p50, the budget and chance as lines: up and to the left is better."""
    height, left, right, top, bottom = 300, 46, 20, 14, 40
    known = [(row, timing.p50_ms, 100 * row.top1) for row, timing in _timed(rows) if row.top1 is not None]
    if not known:
        return '<p class="soft">No row has both latency and accuracy.</p>'
    low, high = span([ms for _, ms, _ in known] + ([limit_ms] if limit_ms else []))
    levels = [top1 for _, _, top1 in known] + ([] if chance is None else [100 * chance])
    best, worst = max(levels), min(levels)
    ceiling, floor = math.ceil(best / 5 + 0.4) * 5, max(0, math.floor(worst / 5 - 0.6) * 5)

    x = log_scale(low, high, left, WIDTH - right)

    def y(top1: float) -> float:
        return height - bottom - (top1 - floor) / (ceiling - floor) * (height - top - bottom)

    grid = range(floor, ceiling + 1, 5 if ceiling - floor <= 50 else 10)
    parts = [line(left, y(level), WIDTH - right, y(level)) for level in grid]
    parts += [text(left - 6, y(v) + 4, f"{v}%", "end", "tick") for v in grid]
    parts += [text(x(ms), height - bottom + 16, f"{ms:g}", "middle", "tick") for ms in ticks(low, high)]
    parts.append(text((left + WIDTH - right) / 2, height - 6, "p50 of one image, ms (log scale)", "middle", "tick"))
    if limit_ms:
        parts.append(line(x(limit_ms), top, x(limit_ms), height - bottom, "limit"))
        parts.append(text(x(limit_ms) + 5, top + 10, f"budget {limit_ms:g} ms", "start", "limit-text"))
    if chance is not None:
        parts.append(line(left, y(100 * chance), WIDTH - right, y(100 * chance), "chance"))
        parts.append(text(WIDTH - right, y(100 * chance) - 5, f"chance {chance:.1%}", "end", "tick"))
    dots = [(x(ms), y(top1), row) for row, ms, top1 in known]
    for crowd in _crowds([(px, py) for px, py, _ in dots]):
        parts += _labelled([dots[i] for i in crowd], height - bottom)
    return svg(height, "Top-1 accuracy over latency", parts)


def _crowds(points: Sequence[tuple[float, float]]) -> list[list[int]]:
    """Indices of points, those together whose labels would run into each other."""
    crowds: list[list[int]] = []
    for i, (px, py) in enumerate(points):
        near = [c for c in crowds if any(abs(px - points[j][0]) < 190 and abs(py - points[j][1]) < 30 for j in c)]
        crowds = [c for c in crowds if c not in near] + [[*(j for c in near for j in c), i]]
    return crowds


def _labelled(dots: Sequence[tuple[float, float, Row]], lowest: float) -> list[str]:
    """Dots with their names in a column beside them, each joined to its name by a line; as steps where none fits."""
    left, right = min(px for px, _, _ in dots), max(px for px, _, _ in dots)
    if right >= 0.68 * WIDTH and left < LABEL:
        return _steps(dots)
    column, anchor = (right + 16, "start") if right < 0.68 * WIDTH else (left - 16, "end")
    middle = sum(py for _, py, _ in dots) / len(dots) + 4 - 7.5 * (len(dots) - 1)
    middle = min(middle, lowest - 4 - 15 * (len(dots) - 1))
    names = []
    for number, (px, py, row) in enumerate(sorted(dots, key=lambda dot: (dot[1], dot[0]))):
        base = middle + 15 * number
        names.append(line(px, py, column - 3 if anchor == "start" else column + 3, base - 4, "lead"))
        names.append(text(column, base, row.stage, anchor))
    return names + [_dot(*dot) for dot in dots]


def _steps(dots: Sequence[tuple[float, float, Row]]) -> list[str]:
    """Names under the dots, each a step higher than its neighbour on the left."""
    floor = max(py for _, py, _ in dots) + 8 + 15 * len(dots)
    names = []
    for number, (px, py, row) in enumerate(sorted(dots, key=lambda dot: dot[0])):
        base = floor - 15 * number
        names.append(line(px, py, px, base - 11, "lead"))
        names.append(text(min(max(px, LABEL / 2), WIDTH - LABEL / 2), base, row.stage, "middle"))
    return names + [_dot(*dot) for dot in dots]


def _dot(px: float, py: float, row: Row) -> str:
    return f'<circle class="{"chosen" if row.recommended else "dot"}" cx="{px:.1f}" cy="{py:.1f}" r="5"/>'


def strips(rows: Sequence[Row], limit_ms: float | None) -> str:
    """Samples as dots; p50, p90 and p99 as a bar with three marks."""
    known = _timed(rows)
    if not known:
        return '<p class="soft">Latency was not measured.</p>'
    step, left, right, top = 44, 8, 14, 6
    height = top + step * len(known) + 40
    ends = [t.p99_ms for _, t in known] + [min(t.raw_ms or [t.p50_ms]) for _, t in known]
    low, high = span(ends + ([limit_ms] if limit_ms else []))
    x = log_scale(low, high, left, WIDTH - right)
    parts = [text(x(ms), height - 22, f"{ms:g}", "middle", "tick") for ms in ticks(low, high)]
    parts.append(text(WIDTH / 2, height - 6, "ms (log scale); marks: p50, p90, p99", "middle", "tick"))
    if limit_ms:
        parts.append(line(x(limit_ms), top, x(limit_ms), height - 36, "limit"))
    for number, (row, timing) in enumerate(known):
        middle, c = top + step * number + 28, " c" if row.recommended else ""
        parts.append(text(left, middle - 14, f"{row.stage}: {timing.p50_ms:.3g} ms, {timing.samples} samples"))
        for i, ms in enumerate(timing.raw_ms[:: max(1, -(-len(timing.raw_ms) // DOTS))]):
            offset = (i * 7 % 13 - 6) * 0.9  # spread by a fixed pattern: the page must not change between renderings
            parts.append(f'<circle class="faint{c}" cx="{x(ms):.1f}" cy="{middle + offset:.1f}" r="1.6"/>')
        parts.append(line(x(timing.p50_ms), middle, x(timing.p99_ms), middle, f"bar{c}"))
        for ms, tall in ((timing.p50_ms, 8), (timing.p90_ms, 6), (timing.p99_ms, 4)):
            parts.append(line(x(ms), middle - tall, x(ms), middle + tall, f"bar{c}"))
    return svg(height, "Latency of single images", parts)


def predicted(rows: Sequence[Row]) -> str:
    """Predicted against measured p50, one line a variant the profile speaks for."""
    known = [(row.stage, row.predicted_ms, timing.p50_ms) for row, timing in _timed(rows) if row.predicted_ms]
    if not known:
        return '<p class="soft">The profile makes no prediction for these variants.</p>'
    step, left, right = 46, 8, 16
    height = step * len(known) + 36
    high = 1.15 * max(max(ms, measured) for _, ms, measured in known)
    parts = []
    for number, (stage, ms, measured) in enumerate(known):
        middle = step * number + 30
        here, there = (left + value / high * (WIDTH - left - right) for value in (measured, ms))
        label = f"{stage}: predicted {ms:.3g} ms, measured {measured:.3g} ms ({ms / measured - 1:+.0%})"
        parts.append(text(left, middle - 14, label))
        parts.append(line(left, middle, WIDTH - right, middle))
        parts.append(line(min(here, there), middle, max(here, there), middle, "bar"))
        parts.append(f'<circle class="chosen" cx="{there:.1f}" cy="{middle}" r="5"/>')
        parts.append(f'<circle class="dot" cx="{here:.1f}" cy="{middle}" r="5"/>')
    parts.append(f'<circle class="chosen" cx="{left + 5}" cy="{height - 12}" r="4"/>')
    parts.append(text(left + 14, height - 8, "predicted", "start", "tick"))
    parts.append(f'<circle class="dot" cx="{left + 85}" cy="{height - 12}" r="4"/>')
    parts.append(text(left + 94, height - 8, "measured p50, ms from 0", "start", "tick"))
    return svg(height, "Predicted and measured latency", parts)

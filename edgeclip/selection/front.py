"""The Pareto front of a device, as points and drawn: no student is both faster and expected to be more accurate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..base.visible import escape
from ..profiling.schema import Budget, Profile
from ..towers.spec import StudentSpec
from .select import CandidateTable, fitting

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 54, 20, 40, 46
STYLE = (
    "text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.budget{stroke:#d55e00;stroke-dasharray:5 4}"
    ".front{fill:none;stroke:#0072b2}.dot{fill:#0072b2}.listed{fill:#fff;stroke:#0072b2;stroke-width:2}"
    ".chosen{fill:#d55e00}"
)


@dataclass(frozen=True)
class Point:
    """One student of the front."""

    name: str
    precision: str
    latency_ms: float  # as a budget counts it: p90, with the cost model's error on top
    score: float


def front(candidates: Sequence[CandidateTable], budget: Budget) -> list[Point]:
    """Every student on the front, the fastest first, whatever its latency; other limits of ``budget`` are kept."""
    space = candidates[0].space
    apart = budget.model_copy(update={"latency_ms": None})
    rows = np.flatnonzero(np.concatenate([fitting(offer, apart) for offer in candidates]))
    latency = np.concatenate([offer.p90_ms for offer in candidates])[rows]
    scores = np.concatenate([offer.score for offer in candidates])[rows]
    members, best = [], -math.inf
    for place in np.lexsort((-scores, latency)).tolist():
        if scores[place] > best:
            best = float(scores[place])
            offer, row = candidates[rows[place] // len(space)], int(rows[place] % len(space))
            members.append(Point(space.name(row), offer.precision, float(latency[place]), best))
    return members


def front_svg(
    points: Sequence[Point],
    listed: Sequence[StudentSpec],
    candidates: Sequence[CandidateTable],
    profile: Profile,
    budget: Budget,
) -> str:
    """Latency (logarithmic) against score as one SVG: the front, and the students listed, the chosen one first."""
    shown = [_point(spec, candidates) for spec in listed]
    every = [*points, *shown]
    low, high = min(p.latency_ms for p in every) / 1.2, max(p.latency_ms for p in every) * 1.2
    floor, ceiling = math.floor(min(p.score for p in every)), math.ceil(max(p.score for p in every))

    def x(ms: float) -> float:
        return LEFT + math.log(ms / low) / math.log(high / low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - floor) / max(1, ceiling - floor) * (HEIGHT - TOP - BOTTOM)

    title = f"{profile.name} ({profile.provenance}): {len(points)} students than which none is faster and better"
    parts = [_text(LEFT, 20, title)]
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for ms in (10.0**power, 2 * 10.0**power, 5 * 10.0**power):
            if low <= ms <= high:
                parts += [
                    _line(x(ms), TOP, x(ms), HEIGHT - BOTTOM),
                    _text(x(ms), HEIGHT - BOTTOM + 16, f"{ms:g}", "middle"),
                ]
    for level in range(floor, ceiling + 1, max(1, (ceiling - floor) // 8)):
        parts += [_line(LEFT, y(level), WIDTH - RIGHT, y(level)), _text(LEFT - 8, y(level) + 4, f"{level}", "end")]
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 8, "predicted p90 of one image with its margin, ms", "middle"))
    parts.append(f'<text transform="rotate(-90 14 {HEIGHT / 2})" x="14" y="{HEIGHT / 2}">score</text>')
    steps = " ".join(f"{x(p.latency_ms):.1f},{y(p.score):.1f}" for p in points)
    parts.append(f'<polyline class="front" points="{steps}"/>')
    parts += [_dot(x(p.latency_ms), y(p.score), 2, "dot", p) for p in points]
    parts += [_dot(x(p.latency_ms), y(p.score), 4, "listed", p) for p in shown[1:]]
    parts += [_dot(x(p.latency_ms), y(p.score), 6, "chosen", p) for p in shown[:1]]
    if budget.latency_ms:
        parts.append(_line(x(budget.latency_ms), TOP, x(budget.latency_ms), HEIGHT - BOTTOM, "budget"))
        parts.append(_text(x(budget.latency_ms) + 5, TOP + 12, f"budget {budget.latency_ms:g} ms"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    return f"{head}<style>{STYLE}</style>{''.join(parts)}</svg>\n"


def _point(spec: StudentSpec, candidates: Sequence[CandidateTable]) -> Point:
    """A listed spec's place in the plot: its own predicted p50, with the margin of its precision."""
    offer = next(offer for offer in candidates if offer.precision == spec.precision)
    return Point(spec.name, spec.precision, (spec.predicted_ms or 0) * offer.margin, spec.score or 0)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(x: float, y: float, radius: int, kind: str, point: Point) -> str:
    label = escape(f"{point.name}, {point.precision}: {point.latency_ms:.3g} ms, score {point.score:.2f}")
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{label}</title></circle>'

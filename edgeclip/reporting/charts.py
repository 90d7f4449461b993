"""The page's plots of a device at work: accuracy along the chain, latency over time, where the time goes."""

from __future__ import annotations

from collections.abc import Sequence

from ..measurement.schema import Reference, Row
from .svg import WIDTH, line, log_scale, path, span, svg, text, ticks

SHOWN = 8  # operators
LETTER = 7  # px, on the wide side


def chain(rows: Sequence[Row], chance: float | None) -> str:
    """Top-1 of every stage with its 95 % interval, and chance as a line: each loss has its step."""
    known = [(row, row.top1, row.top1_interval) for row in rows if row.top1 is not None and row.top1_interval]
    if not known:
        return '<p class="soft">No accuracy was measured.</p>'
    step, left, right = 40, 8, 60
    low = max(0.0, min([interval[0] for _, _, interval in known] + ([] if chance is None else [chance])) - 0.05)
    high = min(1.0, max(interval[1] for _, _, interval in known) + 0.05)

    def x(share: float) -> float:
        return left + (share - low) / (high - low) * (WIDTH - left - right)

    parts = []
    for number, (row, top1, interval) in enumerate(known):
        middle, c = step * number + 28, " c" if row.recommended else ""
        before = next((other.top1 for other in rows if other.stage == row.compared_to), None)
        change = f", {100 * (top1 - before):+.1f} points to {row.compared_to}" if before is not None else ""
        parts.append(text(left, middle - 11, f"{row.stage}{change}"))
        parts.append(line(left, middle, WIDTH - right, middle))
        parts.append(line(x(interval[0]), middle, x(interval[1]), middle, f"bar{c}"))
        parts.append(f'<circle class="{"chosen" if c else "dot"}" cx="{x(top1):.1f}" cy="{middle}" r="5"/>')
        parts.append(text(WIDTH - right + 8, middle + 4, f"{top1:.1%}"))
    height = step * len(known) + 28
    if chance is not None:
        parts.append(line(x(chance), 0, x(chance), height - 22, "chance"))
        parts.append(text(x(chance) + 4, height - 24, f"chance {chance:.1%}", "start", "tick"))
    parts.append(text(left, height - 6, f"from {low:.0%} to {high:.0%}; bars: 95 % interval", "start", "tick"))
    return svg(height, "Top-1 along the chain", parts)


def learning(points: Sequence[tuple[float, float]]) -> str:
    """The loss over the epochs of the training."""
    if len(points) < 2:
        return '<p class="soft">The run is not on this machine, or it was too short for a curve.</p>'
    height, left, right, top, bottom = 240, 46, 16, 10, 40
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    room = (high - low or 1.0) * 0.05
    last = points[-1][0] or 1.0
    scale = (height - top - bottom) / (high - low + 2 * room)

    def y(loss: float) -> float:
        return height - bottom - (loss - low + room) * scale

    parts = []
    for loss in (low, (low + high) / 2, high):
        parts.append(line(left, y(loss), WIDTH - right, y(loss)))
        parts.append(text(left - 6, y(loss) + 4, f"{loss:.3g}", "end", "tick"))
    parts.append(path([(left + at / last * (WIDTH - left - right), y(loss)) for at, loss in points], "trace"))
    parts.append(text((left + WIDTH - right) / 2, height - 6, f"epochs, 0 to {last:.0f}; loss", "middle", "tick"))
    return svg(height, "Loss over the training", parts)


def over_time(rows: Sequence[Row], reference: Reference | None) -> str:
    """The median of each turn over time, of the recommended variant and the reference: did the machine drift?"""
    lines = [(row.stage, row.timing.turns, "trace c") for row in rows if row.recommended and row.timing]
    lines += [("reference graph", reference.turns, "trace")] if reference else []
    lines += [(f"{row.stage}, sustained", row.sustained.each_second, "trace s") for row in rows if row.sustained]
    lines = [(name, turns, kind) for name, turns, kind in lines if turns]
    if not lines:
        return '<p class="soft">Latency was not measured.</p>'
    height, left, right, top, bottom = 240, 46, 16, 18 * len(lines) + 8, 40
    low, high = span([ms for _, turns, _ in lines for _, ms in turns])
    end = max(at for _, turns, _ in lines for at, _ in turns) or 1.0
    y = log_scale(low, high, height - bottom, top)
    parts = [line(left, y(ms), WIDTH - right, y(ms)) for ms in ticks(low, high)]
    parts += [text(left - 6, y(ms) + 4, f"{ms:g}", "end", "tick") for ms in ticks(low, high)]
    for number, (name, turns, kind) in enumerate(lines):
        points = [(left + at / end * (WIDTH - left - right), y(ms)) for at, ms in turns]
        parts.append(path(points, kind) if len(points) > 1 else line(left, points[0][1], left + 9, points[0][1], kind))
        parts.append(line(left, 18 * number + 10, left + 18, 18 * number + 10, kind))
        parts.append(text(left + 24, 18 * number + 14, name))
    parts.append(
        text((left + WIDTH - right) / 2, height - 6, f"seconds, 0 to {end:.0f}; ms (log scale)", "middle", "tick")
    )
    return svg(height, "Latency over time", parts)


def hot_spots(row: Row) -> str:
    """The operators that take most of the time, as bars."""
    if not row.hot_spots:
        return '<p class="soft">Not measured.</p>'
    shown = row.hot_spots[:SHOWN]
    rest = sum(spot.share for spot in row.hot_spots[SHOWN:])
    parts = []
    bars = [(f"{s.operator} ({s.nodes})", s.share) for s in shown] + ([("all others", rest)] if rest else [])
    step, right = 22, 60
    left = min(LETTER * max(len(name) for name, _ in bars) + 12, WIDTH - right - 40)  # names are whole
    for number, (name, share) in enumerate(bars):
        middle = step * number + 14
        width = share / max(value for _, value in bars) * (WIDTH - left - right)
        parts.append(text(left - 8, middle + 4, name, "end"))
        parts.append(f'<rect class="block" x="{left}" y="{middle - 7}" width="{width:.1f}" height="14"/>')
        parts.append(text(left + width + 6, middle + 4, f"{share:.1%}"))
    return svg(step * len(bars) + 8, "Time by operator", parts)

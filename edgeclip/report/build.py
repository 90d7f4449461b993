"""From measured rows to a verdict: the budget, the project's promises, and advice where a line fails."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from .schema import Line, Report, Row

FASTER = 4.0  # than the teacher's image tower
RETAINED = 0.90  # of the teacher's top-1
EQUAL = 0.99999  # mean cosine of the exported fp32 to the student
LOST = 1.5  # points of top-1 that fp16 and int8 may lose to fp32
NOISE = 1.05  # two runs of one graph differ by as much


def report(
    rows: Sequence[Row],
    *,
    name: str,
    budget: Mapping[str, float],
    dataset: dict[str, Any],
    profile: dict[str, Any],
    device: dict[str, Any],
    software: dict[str, str],
    student: dict[str, Any] | None = None,
    commands: Sequence[str] = (),
) -> Report:
    """Judge the rows. The report passes when every line is met.

    Args:
        rows: the chain, as :func:`edgeclip.measure.measure` returns it; exactly one is marked ``recommended``.
        name: what was measured.
        budget: limits by name: latency_ms (p90), memory_mb, size_mb, accuracy_drop (points); absent means unlimited.
        dataset: facts for the reader; likewise ``profile``, ``device``, ``software`` and ``student``.
        commands: the command lines that made it.
    """
    chosen = next(row for row in rows if row.recommended)
    lines = [*_budget(rows, chosen, budget), *_promises({row.stage: row for row in rows}, chosen)]
    return Report(
        name=name,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        passed=all(line.met for line in lines),
        recommended=chosen.stage,
        rows=list(rows),
        budget=lines,
        dataset=dataset,
        profile=profile,
        device=device,
        software=software,
        student=student or {},
        commands=list(commands),
        advice=[_advice(line) for line in lines if not line.met],
    )


def _budget(rows: Sequence[Row], chosen: Row, budget: Mapping[str, float]) -> list[Line]:
    """The lines that were asked for."""
    found = []
    if (limit := budget.get("latency_ms")) is not None:
        found.append(_at_most("latency, p90 of one image", limit, chosen.timing.p90_ms, "ms"))
    if (limit := budget.get("size_mb")) is not None:
        found.append(_at_most("size of the image tower", limit, chosen.size_bytes / 1e6, "MB"))
    if (limit := budget.get("memory_mb")) is not None and chosen.peak_memory_mb is not None:
        found.append(_at_most("peak memory", limit, chosen.peak_memory_mb, "MB"))
    teacher = _teacher(rows)
    if (limit := budget.get("accuracy_drop")) is not None and teacher:
        found.append(_at_most("top-1 lost to the teacher", limit, 100 * (teacher.top1 - chosen.top1), "points"))
    return found


def _promises(rows: Mapping[str, Row], chosen: Row) -> list[Line]:
    """What edgeclip promises of any export, as far as the rows to judge it by are there."""
    teacher, student, fp32 = rows.get("teacher"), rows.get("student fp32"), rows.get("exported fp32")
    found = []
    if teacher:
        ratio = teacher.timing.p50_ms / chosen.timing.p50_ms
        found.append(_at_least("speed against the teacher", FASTER, ratio, "x"))
        kept = 100 * chosen.top1 / teacher.top1 if teacher.top1 else 100.0
        found.append(_at_least("top-1 kept of the teacher's", 100 * RETAINED, kept, "%"))
    if fp32 and student and fp32.cosine_mean is not None:
        found.append(_at_least("exported fp32 equals the student", EQUAL, fp32.cosine_mean, "cosine"))
    for precision in ("fp16", "int8"):
        if fp32 and (row := rows.get(f"exported {precision}")):
            lost = 100 * (fp32.top1 - row.top1)
            found.append(_at_most(f"top-1 that {precision} loses to fp32", LOST, lost, "points"))
    if fp32:
        ratio = chosen.timing.p50_ms / fp32.timing.p50_ms
        found.append(_at_most("recommended variant's time over fp32's", NOISE, ratio, "x"))
    return [line.model_copy(update={"why": "promise"}) for line in found]


def _teacher(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row.stage == "teacher"), None)


def _at_most(name: str, limit: float, measured: float, unit: str) -> Line:
    return Line(name=name, limit=limit, measured=measured, unit=unit, met=measured <= limit, better="lower")


def _at_least(name: str, limit: float, measured: float, unit: str) -> Line:
    return Line(name=name, limit=limit, measured=measured, unit=unit, met=measured >= limit, better="higher")


def _advice(line: Line) -> str:
    """What to try about a line that was missed."""
    if line.name.startswith("latency"):
        share = line.limit**2 / line.measured
        return (
            f"the budget was missed by {line.measured / line.limit - 1:.0%}: edgeclip select … --latency-ms {share:.3g}"
        )
    if "top-1" in line.name and "loses" in line.name:
        return f"{line.name}: {line.measured:.2f} points; leave this variant out, or calibrate on more images"
    if "top-1" in line.name:
        return f"{line.name}: train longer (epochs), on more images, or allow a slower student"
    if line.name.startswith("speed"):
        return f"the student is only {line.measured:.1f}x as fast as its teacher: lower --latency-ms"
    return f"{line.name}: {line.measured:.4g} {line.unit}, asked for {line.limit:.4g}"

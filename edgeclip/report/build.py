"""From measured rows to a verdict: the budget, the project's promises, and advice where a line fails."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from .schema import Criterion, Reference, Report, Row

FASTER = 4.0  # than the teacher's image tower
RETAINED = 0.90  # of the teacher's top-1
EQUAL = 0.99999  # mean cosine of the exported fp32 to the student
LOST = 1.5  # points of top-1 that fp16 and int8 may lose to fp32
NOISE = 1.05  # two runs of one graph differ by as much
BUSY, DRIFTED = 1.25, 0.15  # how much slower than for the profile, and what drift, make figures doubtful
LATENCY = "latency, p90 of one image"


def report(
    rows: Sequence[Row],
    *,
    name: str,
    budget: Mapping[str, float],
    dataset: dict[str, Any],
    profile: dict[str, Any],
    device: dict[str, Any],
    software: dict[str, str],
    **facts: Any,
) -> Report:
    """Judge the rows. The report passes when every line is met.

    Args:
        rows: the chain, as :func:`edgeclip.measure.chain.measure` returns it; exactly one is marked ``recommended``.
        name: what was measured.
        budget: limits by name: latency_ms (p90), memory_mb, size_mb, accuracy_drop (points); absent means unlimited.
        dataset: facts for the reader; likewise ``profile``, ``device`` and ``software``.
        facts: other fields of the report: ``student``, ``commands``, ``rule``, ``reference``, ``before``, ``after``.
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
        **facts,
        advice=[_advice(line) for line in lines if not line.met] + _caution(facts.get("reference"), lines),
    )


def _caution(reference: Reference | None, lines: Sequence[Criterion]) -> list[str]:
    """Where latency was missed on a machine that was not itself, say so first of all."""
    if reference is None or not any(line.name == LATENCY and not line.met for line in lines):
        return []
    slower = reference.p50_ms / reference.profile_ms if reference.profile_ms else 1.0
    if slower < BUSY and abs(reference.drift) < DRIFTED:
        return []
    told = f"{slower:.1f} times as slow as for its profile" if slower >= BUSY else "not steady"
    return [f"the machine was {told}, and drifted by {reference.drift:+.0%}: measure again when nothing else runs"]


def _budget(rows: Sequence[Row], chosen: Row, budget: Mapping[str, float]) -> list[Criterion]:
    """The lines that were asked for; that it ran to the end is asked of any."""
    found = [_at_most("the recommended variant's failures", 0, 1, "crash")] if chosen.failed else []
    if (limit := budget.get("latency_ms")) is not None:
        found.append(_at_most(LATENCY, limit, chosen.timing.p90_ms if chosen.timing else None, "ms"))
    if (limit := budget.get("size_mb")) is not None:
        found.append(_at_most("size of the image tower", limit, chosen.size_bytes / 1e6, "MB"))
    if (limit := budget.get("memory_mb")) is not None:
        found.append(_at_most("peak memory", limit, chosen.peak_memory_mb, "MB"))
    teacher = _teacher(rows)
    if (limit := budget.get("accuracy_drop")) is not None:
        found.append(_at_most("top-1 lost to the teacher", limit, _points(teacher, chosen), "points"))
    return found


def _promises(rows: Mapping[str, Row], chosen: Row) -> list[Criterion]:
    """What edgeclip promises of any export, as far as the rows to judge it by are there."""
    teacher, student, fp32 = rows.get("teacher"), rows.get("student fp32"), rows.get("exported fp32")
    found = []
    if teacher and (ratio := _times(teacher, chosen)) is not None:
        found.append(_at_least("speed against the teacher", FASTER, ratio, "x"))
    if teacher and teacher.top1 and chosen.top1 is not None:
        found.append(_at_least("top-1 kept of the teacher's", 100 * RETAINED, 100 * chosen.top1 / teacher.top1, "%"))
    if fp32 and student and fp32.cosine_mean is not None:
        found.append(_at_least("exported fp32 equals the student", EQUAL, fp32.cosine_mean, "cosine"))
    for precision in ("fp16", "int8"):
        if (row := rows.get(f"exported {precision}")) and (lost := _points(fp32, row)) is not None:
            found.append(_at_most(f"top-1 that {precision} loses to fp32", LOST, lost, "points"))
    if fp32 and (ratio := _times(chosen, fp32)) is not None:
        found.append(_at_most("recommended variant's time over fp32's", NOISE, ratio, "x"))
    return [line.model_copy(update={"why": "promise"}) for line in found]


def _times(slow: Row, fast: Row) -> float | None:
    """How many times as long the one takes as the other, where both were timed on the device."""
    return slow.timing.p50_ms / fast.timing.p50_ms if slow.timing and fast.timing else None


def _points(before: Row | None, after: Row) -> float | None:
    """Points of top-1 lost on the way, where both were measured."""
    known = before is not None and before.top1 is not None and after.top1 is not None
    return 100 * (before.top1 - after.top1) if known else None  # type: ignore[union-attr,operator]


def _teacher(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row.stage == "teacher"), None)


def _at_most(name: str, limit: float, measured: float | None, unit: str) -> Criterion:
    met = measured is not None and measured <= limit
    return Criterion(name=name, limit=limit, measured=measured, unit=unit, met=met, better="lower")


def _at_least(name: str, limit: float, measured: float, unit: str) -> Criterion:
    return Criterion(name=name, limit=limit, measured=measured, unit=unit, met=measured >= limit, better="higher")


def _advice(line: Criterion) -> str:
    """What to try about a line that was missed."""
    if line.measured is None:
        return f"{line.name}: not measured here; accuracy needs --teacher T, memory needs Linux or macOS"
    if line.name.startswith("latency"):
        return (
            f"the latency budget was missed by {line.measured / line.limit - 1:.0%}: take a faster variant or student"
        )
    if line.unit == "crash":
        return "the recommended variant failed on this device: see its row; export it anew there, or take another"
    if "top-1" in line.name and "loses" in line.name:
        return f"{line.name}: {line.measured:.2f} points; leave this variant out, or calibrate on more images"
    if "top-1" in line.name:
        return f"{line.name}: train longer (epochs), on more images, or allow a slower student"
    if line.name.startswith("speed"):
        return f"the student is only {line.measured:.1f}x as fast as its teacher: lower --latency-ms"
    return f"{line.name}: {line.measured:.4g} {line.unit}, asked for {line.limit:.4g}"

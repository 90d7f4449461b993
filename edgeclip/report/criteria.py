"""What was asked for, held against what was measured: met, missed, or unknown where it was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .intervals import paired_interval
from .schema import Criterion, Row

LATENCY = "latency, p90 of one image"
DROP = "top-1 lost to the teacher"


def asked_for(
    rows: Sequence[Row], chosen: Row, budget: Mapping[str, float], *, classes: int | None = None, withheld: str = ""
) -> list[Criterion]:
    """A criterion for every limit of ``budget``; that the chosen row ran to its end is asked of any.

    Args:
        rows: the chain.
        chosen: the row that the verdict is about.
        budget: limits by name: latency_ms (p90), memory_mb, size_mb, accuracy_drop (points).
        classes: of the data set, to know chance by.
        withheld: why latency and memory do not count, and what to do; empty where they do.
    """
    found = [at_most("the recommended variant's failures", 0, 1, "crash")] if chosen.failed else []
    if (limit := budget.get("latency_ms")) is not None:
        ms = chosen.timing.p90_ms if chosen.timing and not withheld else None
        found.append(at_most(LATENCY, limit, ms, "ms", withheld or "the variant did not run to its end: see its row"))
    if (limit := budget.get("size_mb")) is not None:
        found.append(at_most("size of the image tower", limit, chosen.size_bytes / 1e6, "MB"))
    if (limit := budget.get("memory_mb")) is not None:
        peak = None if withheld else chosen.peak_memory_mb
        found.append(at_most("peak memory", limit, peak, "MB", withheld or "only Linux and macOS tell it"))
    if (limit := budget.get("accuracy_drop")) is not None:
        found.append(_drop(next((row for row in rows if row.stage == "teacher"), None), chosen, limit, classes))
    return found


def _drop(teacher: Row | None, chosen: Row, limit: float, classes: int | None) -> Criterion:
    """Points of top-1 below the teacher, with what the images at hand can say of it."""
    mend = "name the teacher: --teacher T" if teacher is None else "the variant has no accuracy: see its row"
    found = at_most(DROP, limit, points_lost(teacher, chosen), "points", mend)
    if teacher is None or found.measured is None:
        return found
    notes = []
    interval = paired_interval(teacher, chosen)
    if interval and interval[0] <= limit < interval[1]:
        low, high = interval
        notes.append(f"too few images to tell: between {low:.1f} and {high:.1f} points, 95 %")
    if classes and teacher.top1_interval and teacher.top1_interval[0] <= 1 / classes:
        notes.append(f"the teacher itself is at chance ({teacher.top1:.1%} of {classes} classes)")
    return found.model_copy(update={"interval": interval, "notes": notes})


def points_lost(before: Row | None, after: Row) -> float | None:
    """Points of top-1 lost on the way, where both were measured."""
    known = before is not None and before.top1 is not None and after.top1 is not None
    return 100 * (before.top1 - after.top1) if known else None  # type: ignore[union-attr,operator]


def times_as_long(slow: Row, fast: Row) -> float | None:
    """How many times as long the one takes as the other, where both were timed on the device."""
    return slow.timing.p50_ms / fast.timing.p50_ms if slow.timing and fast.timing else None


def at_most(name: str, limit: float, measured: float | None, unit: str, mend: str = "") -> Criterion:
    """Met where the measured value is no larger; ``mend`` says how to measure it where it was not."""
    met = None if measured is None else measured <= limit
    told = mend if met is None else ""
    return Criterion(name=name, limit=limit, measured=measured, unit=unit, met=met, better="lower", mend=told)


def at_least(name: str, limit: float, measured: float | None, unit: str, mend: str = "") -> Criterion:
    """Met where the measured value is no smaller; as :func:`at_most`."""
    met = None if measured is None else measured >= limit
    told = mend if met is None else ""
    return Criterion(name=name, limit=limit, measured=measured, unit=unit, met=met, better="higher", mend=told)

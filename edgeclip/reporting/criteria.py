"""What is asked, held against what was measured: met, missed, not measured, or not decided by so few images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..evaluation.chance import above_chance
from ..evaluation.intervals import images_to_decide, paired_interval
from ..measurement.schema import Finding, Row
from .schema import Criterion, Kind

LATENCY = "latency, p90 of one image"
DROP = "top-1 lost to the teacher"
VERIFIED = "parts that differ from the export"
RAN = "variants that failed"
# Slower or faster than for the profile, p99 / p50: beyond, a machine was not itself.
BUSY, RESTLESS = 1.25, 2.0
FEW = "--few-images accepts what these say"


def asked_always(rows: Sequence[Row], chosen: Row, verified: Sequence[Finding]) -> list[Criterion]:
    """What is asked of every bundle: it runs, and it is what was exported.

    Args:
        rows: the chain.
        chosen: the row that the verdict is about.
        verified: what the device gave of what was recorded at export.
    """
    broken = [row.stage for row in rows if row.failed and row.where == "device"]
    criteria = [at_most("ran", RAN, 0, len(broken), "of them")] if broken else []
    wrong = [finding.part for finding in verified if finding.ok is False]
    part = f"image tower {chosen.stage.removeprefix('exported ')}"
    checked = any(finding.ok and finding.part == part for finding in verified)
    hint = f"edgeclip verify BUNDLE on the device: the {part} was not compared with what was exported"
    return [*criteria, at_most("verified", VERIFIED, 0, len(wrong) if wrong or checked else None, "parts", hint)]


def asked_for(
    rows: Sequence[Row],
    chosen: Row,
    budget: Mapping[str, float],
    *,
    chance: float | None = None,
    withheld: str = "",
    pace: float = 1.0,
    few_images: bool = False,
) -> list[Criterion]:
    """A criterion for every limit of ``budget``.

    Args:
        rows: the chain.
        chosen: the row that the verdict is about.
        budget: limits by name: latency_ms (p90), memory_mb, size_mb, accuracy_drop (points).
        chance: top-1 that no look at the images takes, 0..1; None where nobody knows.
        withheld: why latency and memory do not count, and what to do; empty where they do.
        pace: how many times as slow the machine was as for its profile.
        few_images: a loss of accuracy is judged by its point value, however wide its interval.
    """
    criteria = []
    if (limit := budget.get("latency_ms")) is not None:
        ms = chosen.timing.p90_ms if chosen.timing and not withheld else None
        hint = withheld or "the variant did not run to its end: see its row"
        criteria.append(_undisturbed(at_most("latency", LATENCY, limit, ms, "ms", hint), chosen, pace))
    if (limit := budget.get("size_mb")) is not None:
        criteria.append(at_most("size", "size of the image tower", limit, chosen.size_bytes / 1e6, "MB"))
    if (limit := budget.get("memory_mb")) is not None:
        peak = None if withheld else chosen.peak_memory_mb
        criteria.append(at_most("memory", "peak memory", limit, peak, "MB", withheld or "only Linux and macOS tell it"))
    if (limit := budget.get("accuracy_drop")) is not None:
        teacher = next((row for row in rows if row.stage == "teacher"), None)
        criteria.append(_drop(teacher, chosen, limit, chance, few_images))
    return criteria


def _undisturbed(criterion: Criterion, chosen: Row, pace: float) -> Criterion:
    """A missed latency is open where the machine was not itself, and half of the calls would have met it otherwise."""
    if criterion.met is not False or chosen.timing is None:
        return criterion
    notes = [f"the machine was {pace:.1f} times as slow as for its profile"] if pace >= BUSY else []
    if chosen.timing.p99_ms > RESTLESS * chosen.timing.p50_ms:
        notes.append(f"single calls differ widely (p99 is {chosen.timing.p99_ms / chosen.timing.p50_ms:.1f} times p50)")
    calm = chosen.timing.p50_ms / max(1.0, pace)
    if not notes or calm > criterion.limit:
        return criterion
    note = f"{' and '.join(notes)}; at the profile's pace its median is {calm:.3g} ms"
    return criterion.model_copy(update={"met": None, "notes": [note], "hint": "measure when nothing else runs"})


def _drop(teacher: Row | None, chosen: Row, limit: float, chance: float | None, few_images: bool) -> Criterion:
    """Points of top-1 below the teacher, as far as the images at hand decide it."""
    hint = "name the teacher: --teacher T" if teacher is None else "the variant has no accuracy: see its row"
    criterion = at_most("accuracy", DROP, limit, points_lost(teacher, chosen), "points", hint)
    if teacher is None or teacher.top1 is None or criterion.measured is None:
        return criterion
    interval = paired_interval(teacher.right, chosen.right)
    criterion = criterion.model_copy(update={"interval": interval})
    images = len(teacher.right or "") or 1
    better = above_chance(teacher.top1, images, chance or 0) or (few_images and teacher.top1 > (chance or 0))
    if chance is not None and not better:
        note = f"the teacher itself is not clearly above chance ({teacher.top1:.1%}, chance {chance:.1%})"
        hint = "take a teacher that knows these classes, or show more labelled images"
        return criterion.model_copy(update={"met": None, "notes": [note], "hint": hint})
    if interval is None:
        hint = "the answers image by image are missing: measure teacher and variant on the same images"
        return criterion.model_copy(update={"met": None, "hint": hint})
    if not interval[0] <= limit < interval[1]:
        return criterion
    enough = images_to_decide(teacher.right or "", chosen.right or "", limit)
    note = f"too few images to tell: between {interval[0]:.1f} and {interval[1]:.1f} points, 95 %"
    if few_images:
        return criterion.model_copy(update={"notes": [note]})
    hint = (
        f"about {enough:,} images would decide it" if enough else "no number of images would: the value is at the limit"
    )
    return criterion.model_copy(update={"met": None, "notes": [note], "hint": f"{hint}; {FEW}"})


def points_lost(before: Row | None, after: Row) -> float | None:
    """Points of top-1 lost on the way, where both were measured."""
    known = before is not None and before.top1 is not None and after.top1 is not None
    return 100 * (before.top1 - after.top1) if known else None  # type: ignore[union-attr,operator]


def times_as_long(slow: Row, fast: Row) -> float | None:
    """How many times as long the one takes as the other, where both were timed on the device."""
    return slow.timing.p50_ms / fast.timing.p50_ms if slow.timing and fast.timing else None


def at_most(kind: Kind, name: str, limit: float, measured: float | None, unit: str, hint: str = "") -> Criterion:
    """Met where the measured value is no larger; ``hint`` says how to measure it where it was not."""
    return _held(Criterion(kind=kind, name=name, limit=limit, measured=measured, unit=unit, hint=hint, better="lower"))


def at_least(kind: Kind, name: str, limit: float, measured: float | None, unit: str, hint: str = "") -> Criterion:
    """Met where the measured value is no smaller; as :func:`at_most`."""
    return _held(Criterion(kind=kind, name=name, limit=limit, measured=measured, unit=unit, hint=hint, better="higher"))


def _held(criterion: Criterion) -> Criterion:
    """A criterion by its point value; how to measure it is told only where it was not."""
    if criterion.measured is None:
        return criterion
    met = (
        criterion.measured <= criterion.limit if criterion.better == "lower" else criterion.measured >= criterion.limit
    )
    return criterion.model_copy(update={"met": met, "hint": ""})

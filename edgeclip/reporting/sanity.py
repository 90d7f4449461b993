"""Is a result worth anything at all? Whatever it was asked for, it does not pass where one of these is open.

How accuracy stands to chance is always told; the others only where something is the matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..evaluation.chance import above_chance, collapsed, effective_classes, fewest_answers
from ..evaluation.intervals import wilson
from ..measurement.schema import Judged, Row
from .criteria import FEW, at_least, at_most, times_as_long
from .schema import SANITY, Criterion

CHANCE = "top-1 above chance"
TEACHER = "top-1 of the teacher above chance"
ANSWERS = "classes among the answers, each by its share"
NEARER = "cosine to the teacher, above that to another image's"
SMALLER = "size against the teacher's"
FASTER = "time against the teacher's"
SAME = 1.1  # sizes of two formats, and two timings, differ by so much at most
OPEN: dict[str, Any] = {"met": None}


def sanity(
    rows: Sequence[Row], chosen: Row, dataset: Judged | None, *, student: bool = True, few_images: bool = False
) -> list[Criterion]:
    """What is asked of every result.

    Args:
        rows: the chain.
        chosen: the row that the verdict is about.
        dataset: the labelled images; None where there were none.
        student: whether it is one; a teacher that was exported need not be a gain over itself.
        few_images: a top-1 above chance will do, however wide its interval.
    """
    criteria, teacher = [], next((row for row in rows if row.stage == "teacher"), None)
    if dataset is None:
        criteria.append(at_least("chance", CHANCE, 0.0, None, "%", "show labelled images: --dataset D"))
    else:
        chance = dataset.chance
        criteria.append(_above_chance(chosen, chance, few_images))
        if teacher and teacher.right and teacher.top1 is not None:
            criteria += _teacher_at_chance(teacher, teacher.top1, chance, few_images)
    if dataset and dataset.effective_classes and chosen.answers:
        criteria += _collapsed(chosen, dataset.effective_classes)
    taught = next((row for row in rows if row.compared_to == "teacher"), None)
    if taught and taught.nearer and taught.cosine_mean is not None:
        criteria += _no_nearer(taught.nearer)
    if teacher and student:
        criteria += _no_gain(teacher, chosen)
    return criteria


def headline(criteria: Sequence[Criterion]) -> str:
    """One sentence for the top of a report: why the result is worth nothing; empty where nothing is the matter."""
    notes = [
        criterion.notes[0]
        for criterion in criteria
        if criterion.kind in SANITY and not criterion.met and criterion.notes
    ]
    return f"This result is worth nothing as it stands: {'; '.join(notes)}." if notes else ""


def _above_chance(chosen: Row, chance: float, few_images: bool) -> Criterion:
    if chosen.top1 is None or not chosen.right:
        return at_least("chance", CHANCE, 100 * chance, None, "%", "the variant has no accuracy: see its row")
    top1, images = chosen.top1, len(chosen.right)
    low, high = wilson(top1, images)
    criterion = at_least("chance", CHANCE, 100 * chance, 100 * top1, "%")
    criterion = criterion.model_copy(update={"interval": (100 * low, 100 * high)})
    if above_chance(top1, images, chance) or (few_images and top1 > chance):
        return criterion
    note = f"{images} images cannot distinguish its answers from those of the commonest class, or of a guess"
    hint = f"train it longer, or on more; or show more labelled images: {FEW}"
    return criterion.model_copy(update={**OPEN, "notes": [note], "hint": hint})


def _teacher_at_chance(teacher: Row, top1: float, chance: float, few_images: bool) -> list[Criterion]:
    images = len(teacher.right or "")
    if above_chance(top1, images, chance) or (few_images and top1 > chance):
        return []
    note = f"the teacher itself is not clearly above chance ({top1:.1%} of {images} images, chance {chance:.1%})"
    hint = "take a teacher that knows these classes, or show more labelled images"
    criterion = at_least("teacher", TEACHER, 100 * chance, 100 * top1, "%")
    return [criterion.model_copy(update={**OPEN, "notes": [note], "hint": hint})]


def _collapsed(chosen: Row, classes: float) -> list[Criterion]:
    """Open where nearly all images get one answer, which may be above chance all the same."""
    if not (note := collapsed(chosen.answers, classes)):
        return []
    criterion = at_least("answers", ANSWERS, fewest_answers(classes), effective_classes(chosen.answers), "classes")
    return [
        criterion.model_copy(update={**OPEN, "notes": [note], "hint": "train it longer, or on more kinds of images"})
    ]


def _no_nearer(nearer: tuple[float, float]) -> list[Criterion]:
    """Open where the student's embedding of an image tells nothing of the teacher's of the same image."""
    if nearer[0] > 0:
        return []
    note = "its embeddings are no nearer to the teacher's of the same image than to those of other images"
    criterion = at_least("nearer", NEARER, 0.0, sum(nearer) / 2, "cosine")
    return [
        criterion.model_copy(
            update={**OPEN, "interval": nearer, "notes": [note], "hint": "train it longer, or on more"}
        )
    ]


def _no_gain(teacher: Row, chosen: Row) -> list[Criterion]:
    """Open where the student is larger than its teacher, or slower: whoever wants it would take the teacher."""
    doubts, hint = [], "ask for less: a smaller --latency-ms, --memory-mb or --size-mb"
    if teacher.size_bytes and chosen.size_bytes > SAME * teacher.size_bytes:  # 0: not known
        note = f"it is larger than its teacher ({chosen.size_bytes / 1e6:.1f} MB, {teacher.size_bytes / 1e6:.1f} MB)"
        smaller = at_most("gain", SMALLER, teacher.size_bytes / 1e6, chosen.size_bytes / 1e6, "MB")
        doubts.append(smaller.model_copy(update={**OPEN, "notes": [note], "hint": hint}))
    times = times_as_long(teacher, chosen)
    if times is not None and SAME * times < 1 and teacher.timing and chosen.timing:
        mine, other = chosen.timing.p50_ms, teacher.timing.p50_ms
        note = f"it is slower than its teacher ({mine:.3g} ms, {other:.3g} ms at p50)"
        faster = at_most("gain", FASTER, other, mine, "ms")
        doubts.append(faster.model_copy(update={**OPEN, "notes": [note], "hint": hint}))
    return doubts

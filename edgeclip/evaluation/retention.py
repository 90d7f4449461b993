"""What distillation or quantisation kept: a reference against what was made of it, image by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..base.documents import ClassChange, Count, Document, Fraction, Part
from ..base.errors import EdgeclipError
from .chance import above_chance, chance_level, doubts, kept_above_chance
from .metrics import interval, mcnemar
from .zeroshot import ZeroShot

Change = Annotated[float, Field(ge=-1, le=1)]
MOST, EXAMPLES = 10, 3  # classes that are named, and images of each


class Kept(Part):
    """One model beside the reference. Fractions of the images, 0..1, and counts of images."""

    model: str
    top1: Fraction
    low: Fraction  # 95 % bootstrap interval of top1
    high: Fraction
    mean_per_class: Fraction
    remarks: list[str] = []  # what makes its accuracy worth nothing
    retention: float | None = None  # of what the reference knows beyond chance; None where it knows no more
    agreement: Fraction | None = None  # the same answer as the reference's, right or wrong
    lost: Count = 0  # right in the reference, wrong here
    gained: Count = 0  # wrong in the reference, right here
    change_low: Change | None = None  # 95 % bootstrap interval of the change of top1, image by image
    change_high: Change | None = None
    p_value: Fraction | None = None  # of McNemar's test: how likely a change as large is where nothing changed
    losers: list[ClassChange] = []  # most images first
    winners: list[ClassChange] = []
    broken: list[tuple[str, str, Count]] = []  # (what it shows, what it is now taken for, images), most first


class Retention(Document):
    """``retention.json``."""

    FORMAT: ClassVar[str] = "edgeclip-retention"

    VERSION: ClassVar[int] = 2

    dataset: str
    images: Count
    classes: Count = 0
    chance: Fraction = 0.0  # what always giving the commonest class, or guessing, gets right
    rows: Annotated[list[Kept], Field(min_length=2)]  # the reference first


def retention(results: Mapping[str, ZeroShot], classnames: Sequence[str], *, dataset: str) -> Retention:
    """Compare models' answers on the same images; the first is the reference.

    Raises:
        EdgeclipError: an image may be of several classes.
    """
    (first, reference), *others = results.items()
    if reference.labels.ndim != 1:
        raise EdgeclipError(f"{dataset}: images of several classes cannot be compared by their one best answer")
    chance = chance_level(reference.labels, len(classnames))
    compared = [_compared(name, result, reference, classnames, chance) for name, result in others]
    counts = {"images": len(reference.labels), "classes": len(classnames)}
    return Retention(dataset=dataset, **counts, chance=chance, rows=[_row(first, reference, chance), *compared])


def _row(name: str, result: ZeroShot, chance: float) -> Kept:
    low, high = interval(lambda right: float(right.mean()), result.right)
    told = doubts(result.predictions, result.labels, result.top1, chance)
    mean = result.mean_per_class
    return Kept(model=name, top1=result.top1, low=low, high=high, mean_per_class=mean, remarks=told)


def _compared(name: str, result: ZeroShot, reference: ZeroShot, classnames: Sequence[str], chance: float) -> Kept:
    knows = above_chance(reference.top1, len(reference.labels), chance)
    lost, gained = reference.right & ~result.right, result.right & ~reference.right
    low, high = interval(lambda gain, loss: float(gain.mean() - loss.mean()), gained, lost)
    return _row(name, result, chance).model_copy(
        update={
            "retention": kept_above_chance(result.top1, reference.top1, chance) if knows else None,
            "agreement": float((result.predictions == reference.predictions).mean()),
            "lost": int(lost.sum()),
            "gained": int(gained.sum()),
            "change_low": low,
            "change_high": high,
            "p_value": mcnemar(int(lost.sum()), int(gained.sum())),
            "losers": changed(result, reference, classnames, -1),
            "winners": changed(result, reference, classnames, 1),
            "broken": broken(result, reference, classnames),
        }
    )


def changed(result: ZeroShot, reference: ZeroShot, classnames: Sequence[str], sign: int) -> list[ClassChange]:
    """The classes that won (1) or lost (-1) most images against the reference, with some of these."""
    before, after = reference.recall_per_class, result.recall_per_class
    count = np.bincount(reference.labels, minlength=len(classnames))
    change = np.nan_to_num((after - before) * count) * sign
    moved = result.right & ~reference.right if sign > 0 else reference.right & ~result.right
    found = []
    for row in np.argsort(-change, kind="stable")[:MOST].tolist():
        if change[row] <= 0:
            break
        own = np.flatnonzero(moved & (reference.labels == row))[:EXAMPLES]
        some = [reference.keys[image] for image in own] if len(reference.keys) else []
        facts = {"images": int(count[row]), "before": before[row], "after": after[row]}
        found.append(ClassChange(name=classnames[row], examples=some, **facts))
    return found


def broken(result: ZeroShot, reference: ZeroShot, classnames: Sequence[str]) -> list[tuple[str, str, int]]:
    """Of the images that the reference got right: what they show, what they are now taken for, how many; most first."""
    lost = reference.right & ~result.right
    pairs = Counter(zip(reference.labels[lost].tolist(), result.predictions[lost].tolist(), strict=True))
    return [(classnames[true], classnames[taken], count) for (true, taken), count in pairs.most_common()]

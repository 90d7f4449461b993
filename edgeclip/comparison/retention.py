"""What distillation or quantisation kept: a reference against what was made of it, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from ..base.documents import ClassChange, Count, Document, Fraction, Part
from ..base.errors import EdgeclipError
from ..evaluation.chance import above_chance, chance_level, doubts, kept_above_chance
from ..evaluation.intervals import wilson
from ..evaluation.zeroshot import ZeroShot
from .answers import changed_classes, compare_answers, confusions

Change = Annotated[float, Field(ge=-1, le=1)]


class Kept(Part):
    """One model beside the reference. Fractions of the images, 0..1, and counts of images."""

    model: str
    top1: Fraction
    low: Fraction  # 95 % interval of top1 (Wilson)
    high: Fraction
    mean_per_class: Fraction
    remarks: list[str] = []  # what makes its accuracy worth nothing
    retention: float | None = None  # of what the reference knows beyond chance; None where it knows no more
    agreement: Fraction | None = None  # the same answer as the reference's, right or wrong
    lost: Count = 0  # right in the reference, wrong here
    gained: Count = 0  # wrong in the reference, right here
    change_low: Change | None = None  # 95 % interval of the change of top1, image by image
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
    low, high = wilson(result.top1, len(result.labels))
    remarks = doubts(result.predictions, result.labels, result.top1, chance)
    mean = result.mean_per_class
    return Kept(model=name, top1=result.top1, low=low, high=high, mean_per_class=mean, remarks=remarks)


def _compared(name: str, result: ZeroShot, reference: ZeroShot, classnames: Sequence[str], chance: float) -> Kept:
    knows = above_chance(reference.top1, len(reference.labels), chance)
    compared = compare_answers(result.predictions, reference.predictions, result.right, reference.right)
    low, high = compared.change_interval
    return _row(name, result, chance).model_copy(
        update={
            "retention": kept_above_chance(result.top1, reference.top1, chance) if knows else None,
            "agreement": compared.agreement,
            "lost": compared.lost,
            "gained": compared.won,
            "change_low": low,
            "change_high": high,
            "p_value": compared.p_value,
            "losers": changed_classes(result, reference, classnames, -1),
            "winners": changed_classes(result, reference, classnames, 1),
            "broken": confusions(result, reference, classnames),
        }
    )

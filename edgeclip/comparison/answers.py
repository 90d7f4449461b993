"""Two models' answers to the same images: how many changed, which way, and in which classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..base.documents import ClassChange
from ..evaluation.intervals import Interval, points_lost, wilson
from ..evaluation.metrics import mcnemar

if TYPE_CHECKING:
    from ..evaluation.zeroshot import ZeroShot

MOST, EXAMPLES = 10, 3  # classes that are named, and images of each


@dataclass(frozen=True)
class AnswerComparison:
    """A model beside its reference, on the same images. Counts are of images, fractions 0..1."""

    images: int
    same: int  # the same answer, right or wrong
    lost: int  # right in the reference, wrong here
    won: int  # wrong in the reference, right here

    @property
    def agreement(self) -> float:
        """The fraction of images with the same answer."""
        return self.same / self.images

    @property
    def flip_interval(self) -> Interval:
        """The 95 % interval (Wilson) of the fraction of images with another answer."""
        return wilson(1 - self.agreement, self.images)

    @property
    def change_interval(self) -> Interval:
        """The 95 % interval of the change of top-1, paired; a fraction, negative where the reference is better."""
        low, high = points_lost(self.lost, self.won, self.images)
        return -high / 100, -low / 100

    @property
    def p_value(self) -> float:
        """Of McNemar's test: how likely a change as large is where nothing changed."""
        return mcnemar(self.lost, self.won)


def compare_answers(
    answers: Sequence[int] | NDArray[np.integer],
    reference: Sequence[int] | NDArray[np.integer],
    right: Sequence[bool] | NDArray[np.bool_],
    was_right: Sequence[bool] | NDArray[np.bool_],
) -> AnswerComparison:
    """Compare a model with its reference.

    Args:
        answers: the class that the model gave each image, by number.
        reference: the same of the reference.
        right: whether the model's answer is right.
        was_right: whether the reference's is.
    """
    now, before = np.asarray(right, bool), np.asarray(was_right, bool)
    same = int((np.asarray(answers) == np.asarray(reference)).sum())
    return AnswerComparison(len(now), same, int((before & ~now).sum()), int((now & ~before).sum()))


def changed_classes(model: ZeroShot, reference: ZeroShot, classnames: Sequence[str], sign: int) -> list[ClassChange]:
    """The classes that won (1) or lost (-1) most images against the reference, with some of these."""
    before, after = reference.recall_per_class, model.recall_per_class
    count = np.bincount(reference.labels, minlength=len(classnames))
    change = np.nan_to_num((after - before) * count) * sign
    moved = model.right & ~reference.right if sign > 0 else reference.right & ~model.right
    changes = []
    for row in np.argsort(-change, kind="stable")[:MOST].tolist():
        if change[row] <= 0:
            break
        images = np.flatnonzero(moved & (reference.labels == row))[:EXAMPLES]
        examples = [reference.keys[image] for image in images] if len(reference.keys) else []
        recalls = {"before": before[row], "after": after[row]}
        changes.append(ClassChange(name=classnames[row], images=int(count[row]), examples=examples, **recalls))
    return changes


def confusions(model: ZeroShot, reference: ZeroShot, classnames: Sequence[str]) -> list[tuple[str, str, int]]:
    """Of the images that only the reference got right: their class, the model's answer, how many; most first."""
    lost = reference.right & ~model.right
    pairs = Counter(zip(reference.labels[lost].tolist(), model.predictions[lost].tolist(), strict=True))
    return [(classnames[true], classnames[answer], count) for (true, answer), count in pairs.most_common()]

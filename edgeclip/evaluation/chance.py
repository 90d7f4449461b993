"""Is an accuracy better than answering without a look at the images? Whatever judges one asks here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .intervals import wilson

COLLAPSED = 0.25  # of the classes beyond the first that the images show: of fewer among the answers they have collapsed


def chance_level(labels: NDArray[np.int64] | NDArray[np.bool_], classes: int) -> float:
    """The accuracy of always giving the commonest class, or of guessing, whichever is better; 0..1.

    Args:
        labels: the class of each image, int64 ``[N]``; where an image may be of several, bool ``[N, C]``.
        classes: how many there are.
    """
    if not len(labels):
        return 1 / classes
    shares = labels.mean(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=classes) / len(labels)
    return max(1 / classes, float(shares.max()))


def above_chance(accuracy: float, images: int, chance: float) -> bool:
    """Whether all of the accuracy's 95 % interval lies above chance."""
    return wilson(accuracy, images)[0] > chance


def kept_above_chance(student: float, teacher: float, chance: float) -> float | None:
    """The part of what the teacher knows that the student kept: (student - chance) / (teacher - chance).

    None where the teacher knows no more than chance: of nothing nothing can be kept.
    """
    return (student - chance) / (teacher - chance) if teacher > chance else None


def effective_classes(labels: Sequence[int] | NDArray[np.int64]) -> float:
    """How many classes there are, each counted by its share: the exponential of the labels' entropy (Hill 1973)."""
    counts = np.unique(np.asarray(labels, np.int64), return_counts=True)[1]
    shares = counts / max(1, counts.sum())
    return float(np.exp(-(shares * np.log(shares)).sum()))


def collapsed(answers: Sequence[int] | NDArray[np.int64], classes: float) -> str:
    """In words, where nearly all of ``answers`` are one label, though the images are of ``classes``; else empty."""
    if not len(answers) or effective_classes(answers) >= fewest_answers(classes):
        return ""
    most = int(np.unique(np.asarray(answers, np.int64), return_counts=True)[1].max())
    return f"one label takes {most} of {len(answers)} answers: they have collapsed"


def doubts(
    answers: NDArray[np.int64], labels: NDArray[np.int64] | NDArray[np.bool_], top1: float, chance: float
) -> list[str]:
    """What makes accuracy worth nothing, in words: answers at chance, or collapsed.

    Args:
        answers: the best label of each image, int64 ``[N]``.
        labels: its class, int64 ``[N]``; where it may be of several, bool ``[N, C]``, of which collapse says nothing.
        top1: 0..1.
        chance: as :func:`chance_level` tells it.
    """
    doubted = []
    if not above_chance(top1, len(labels), chance):
        doubted.append(f"top-1 is not clearly above chance ({chance:.2%})")
    if labels.ndim == 1 and (doubt := collapsed(answers, effective_classes(labels.astype(np.int64)))):
        doubted.append(doubt)
    return doubted


def fewest_answers(classes: float) -> float:
    """How many classes the answers must be of, at least, where the images are of ``classes``; both as above."""
    return 1 + COLLAPSED * (classes - 1)

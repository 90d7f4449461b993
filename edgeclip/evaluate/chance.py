"""Is an accuracy better than answering without a look at the images? Whatever judges one asks here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .intervals import wilson


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

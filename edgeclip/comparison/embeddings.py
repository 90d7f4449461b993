"""Two models' embeddings of the same images: how close they are, and whether closer than by chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..evaluation.intervals import Z95, Interval


def cosines(embeds: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each image's two embeddings, float64 ``[N]``; both ``[N, D]``, L2-normalised."""
    return (embeds.astype(np.float64) * other).sum(axis=1)


def nearer(embeds: NDArray[np.float32], other: NDArray[np.float32]) -> Interval | None:
    """How much nearer, in cosine, each embedding is to that of its own image than to that of another; None of one.

    Args:
        embeds: of one encoder, float32 ``[N, D]``, L2-normalised.
        other: of the other encoder, of the same images in the same order.

    Returns:
        The 95 % interval of the mean, by its standard error. It holds zero where the one knows nothing of the other.
    """
    if len(embeds) < 2:
        return None
    order = np.random.default_rng(0).permutation(len(other))
    shuffled = np.empty_like(other)
    shuffled[order] = other[np.roll(order, 1)]  # one circle through all: nothing stays in its place
    gain = cosines(embeds, other - shuffled)
    reach = Z95 * float(gain.std(ddof=1)) / len(gain) ** 0.5
    return float(gain.mean()) - reach, float(gain.mean()) + reach

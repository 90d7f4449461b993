"""How sure a fraction is, and a difference of two: 95 % intervals."""

from __future__ import annotations

import math

from .schema import Interval, Row

Z95 = 1.959964  # of the normal distribution, two-sided 95 %


def wilson(fraction: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a fraction of ``count`` (Wilson 1927: it holds near 0 and 1, and for few images)."""
    spread = Z95 * math.sqrt(fraction * (1 - fraction) / count + Z95**2 / (4 * count**2))
    middle, scale = fraction + Z95**2 / (2 * count), 1 + Z95**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def paired_interval(before: Row, after: Row) -> Interval | None:
    """The 95 % interval of the points lost, from answers to the same images; None where these are not at hand.

    Of the difference of two paired proportions, with half a case added to each cell of their table (Agresti and Min,
    Statistics in Medicine 24, 2005): it holds for few images, and where no answer changed.
    """
    if not before.right or not after.right or len(before.right) != len(after.right):
        return None
    pairs = list(zip(before.right, after.right, strict=True))
    lost, won = pairs.count(("1", "0")) + 0.5, pairs.count(("0", "1")) + 0.5
    count = len(pairs) + 2
    difference = (lost - won) / count
    spread = Z95 * math.sqrt(lost + won - (lost - won) ** 2 / count) / count
    return 100 * (difference - spread), 100 * (difference + spread)

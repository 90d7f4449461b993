"""How sure a fraction is, and a difference of two: 95 % intervals, and how many images would narrow them enough."""

from __future__ import annotations

import math

Interval = tuple[float, float]
Z95 = 1.959964  # of the normal distribution, two-sided 95 %
MOST = 10**7  # images: beyond, no data set decides


def wilson(fraction: float, count: int) -> Interval:
    """The 95 % interval of a fraction of ``count`` (Wilson 1927: it holds near 0 and 1, and for few images)."""
    spread = Z95 * math.sqrt(fraction * (1 - fraction) / count + Z95**2 / (4 * count**2))
    middle, scale = fraction + Z95**2 / (2 * count), 1 + Z95**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def paired_interval(before: str | None, after: str | None) -> Interval | None:
    """The 95 % interval of the points lost, from answers to the same images; None where these are not at hand.

    Of the difference of two paired proportions, with half a case added to each cell of their table (Agresti and Min,
    Statistics in Medicine 24, 2005): it holds for few images, and where no answer changed.

    Args:
        before: an image a character, ``1`` where the answer was right.
        after: the same images.
    """
    changes = _changes(before, after)
    return points_lost(*changes) if changes else None


def images_to_decide(before: str, after: str, limit: float) -> int | None:
    """How many images would place the points lost above or below ``limit``, where answers change as often as now.

    None where no number would: what was measured is the limit itself.
    """
    changes = _changes(before, after)
    if changes is None:
        return None
    lost, won, count = changes
    low, high = count, MOST

    def decided(images: int) -> bool:
        scale = images / count
        below, above = points_lost(lost * scale, won * scale, images)
        return not below <= limit < above

    if not decided(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle + 1, high)
    return low


def _changes(before: str | None, after: str | None) -> tuple[float, float, int] | None:
    """How many answers were lost, won, and given."""
    if not before or not after or len(before) != len(after):
        return None
    pairs = list(zip(before, after, strict=True))
    return pairs.count(("1", "0")), pairs.count(("0", "1")), len(pairs)


def points_lost(lost: float, won: float, images: int) -> Interval:
    """The 95 % interval of the points lost, where so many of the answers were lost and won: see paired_interval."""
    lost, won, count = lost + 0.5, won + 0.5, images + 2
    difference = (lost - won) / count
    spread = Z95 * math.sqrt(lost + won - (lost - won) ** 2 / count) / count
    return 100 * (difference - spread), 100 * (difference + spread)

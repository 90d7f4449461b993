"""What a set of predictions is worth, by the measures that the field's tables use, and how sure one can be of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["accuracy", "mean-per-class", "roc-auc", "map", "map-11"]
Labels = NDArray[np.int64] | NDArray[np.bool_]  # the class [N]; where an image may be of several, which [N, C]
RESAMPLES = 1000
BINS = 15  # of confidence, as Guo et al. take
SURE = 0.95


def mean_per_class(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """The mean over the classes that occur of the part of their images that are right, 0..1."""
    return float(np.nanmean(recall_per_class(right, labels, int(labels.max()) + 1)))


def recall_per_class(right: NDArray[np.bool_], labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """The part of each class's images that are right, float64 ``[classes]``; NaN where a class has no image."""
    count = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels, weights=right, minlength=classes)
    return np.divide(hits, count, out=np.full(classes, np.nan), where=count > 0)


def roc_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half. NaN without both."""
    there = int(positive.sum())
    if there in (0, len(positive)):
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[positive].sum() - there * (there + 1) / 2) / (there * (len(positive) - there)))


def average_precision_11(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """11-point interpolated average precision of one class, as ELEVATER's tool has it.

    At each recall 0, 0.1 ... 1 the best precision at that recall or more. The tool (vision-evaluation 0.2) takes
    scikit-learn's curve, which ends in an added point of recall 0 and precision 1: so recall 0 always counts 1.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are one threshold
    hits = np.cumsum(positive[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    recall = hits / max(1, int(positive.sum()))
    best = [precision[recall >= level].max(initial=0.0) for level in np.linspace(0, 1, 11)[1:]]
    return float(np.mean([1.0, *best]))


def mean_average_precision_11(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """:func:`average_precision_11`, the mean over all classes: scores and labels ``[N, C]``."""
    return float(np.mean([average_precision_11(scores[:, c], labels[:, c]) for c in range(scores.shape[1])]))


def average_precision(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Average precision of one class, as CLIP_benchmark has it: the mean precision at the positives, best first."""
    ranked = positive[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].sum() / max(1, int(ranked.sum())))


def mean_average_precision(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """:func:`average_precision`, the mean over all classes: scores and labels ``[N, C]``."""
    return float(np.mean([average_precision(scores[:, c], labels[:, c]) for c in range(scores.shape[1])]))


def calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Expected calibration error, 0..1 (Guo et al. 2017, arXiv 1706.04599, eq. 3, with 15 bins of equal width).

    How far what a model says of its answers, their probability, is from how often they are right: the mean over all
    images of their bin's difference. A bin takes its upper bound in.
    """
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.bincount(place, weights=right, minlength=BINS) - np.bincount(place, weights=confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(right))


def mcnemar(lost: int, gained: int) -> float:
    """How likely a change at least as lopsided is where nothing changed: the exact two-sided test of McNemar (1947).

    Args:
        lost: images that were right and are wrong now.
        gained: images that were wrong and are right now.
    """
    changed, fewer = lost + gained, min(lost, gained)
    log = math.lgamma(changed + 1) - changed * math.log(2)
    tail = sum(math.exp(log - math.lgamma(i + 1) - math.lgamma(changed - i + 1)) for i in range(fewer + 1))
    return min(1.0, 2 * tail)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows that sum to 1."""
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def interval(
    metric: Callable[..., float], *rows: NDArray[np.generic], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of ``metric(*rows)`` by the percentile bootstrap (Efron 1979).

    Images are drawn with replacement, and the metric is taken of each draw; all ``rows`` are drawn alike.
    """
    draw, count = np.random.default_rng(seed), len(rows[0])
    values = []
    for _ in range(resamples):
        chosen = draw.integers(0, count, count)
        values.append(metric(*(row[chosen] for row in rows)))
    low, high = np.nanquantile(values, [(1 - SURE) / 2, (1 + SURE) / 2])
    return float(low), float(high)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (of a sample) of repeated measurements."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

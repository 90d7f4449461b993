"""Linear and few-shot probes: how much of a task a linear classifier finds in frozen embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.errors import EdgeclipError
from .embed import Embedded
from .logistic import Classifier, fit
from .metrics import mean_and_spread, mean_per_class

STRENGTHS = 10.0 ** np.arange(-2, 6.5, 1)  # scikit-learn's C, from the strongest penalty to the weakest
FINER = 10.0 ** np.array([-0.5, -0.25, 0.25, 0.5])  # around the best of those
PATIENCE = 2  # strengths without a better one before the sweep stops
HELD_OUT = 0.2  # of the training examples, to choose the strength, where there is no validation split
SWEEP_TOLERANCE = 1e-2  # of the fits that only choose; the last one is exact
ONE_SHOT_STRENGTH = 10.0  # with one example a class there is nothing to choose by


@dataclass(frozen=True)
class Probe:
    """A linear classifier on frozen embeddings, held against the test split. Fractions of the images, 0..1."""

    top1: float
    mean_per_class: float
    strength: float  # scikit-learn's C
    predictions: NDArray[np.int64]  # [N]
    labels: NDArray[np.int64]  # [N]
    tried: dict[float, float]  # strength -> accuracy on the validation examples


@dataclass(frozen=True)
class FewShot:
    """Probes of ``shots`` examples a class, drawn with as many seeds."""

    shots: int
    top1: float  # mean over the draws
    spread: float  # standard deviation
    draws: list[float]


def linear_probe(train: Embedded, test: Embedded, classes: int, *, val: Embedded | None = None) -> Probe:
    """Fit on ``train``, choose the penalty on ``val`` (else on a fifth of ``train``), fit on both, test on ``test``.

    Raises:
        EdgeclipError: the labels are not one class an image.
    """
    _one_class_each(train)
    if val is None:
        strength, tried, near = _swept_within(train, (HELD_OUT, 0.5), classes)
    else:
        _one_class_each(val)
        strength, tried, near = sweep(train, val, classes)
        train = Embedded(
            np.concatenate([train.image_embeds, val.image_embeds]), np.concatenate([train.labels, val.labels]), []
        )
    last = fit(train.image_embeds, train.labels, classes, strength=strength, start=near)
    predictions = last.predict(test.image_embeds)
    right = predictions == test.labels
    return Probe(float(right.mean()), mean_per_class(right, test.labels), strength, predictions, test.labels, tried)


def few_shot(train: Embedded, test: Embedded, classes: int, shots: int, *, seeds: Sequence[int] = (0, 1, 2)) -> FewShot:
    """As :func:`linear_probe` on ``shots`` examples of each class, drawn once a seed; ELEVATER's seeds are 0, 1, 2.

    The penalty is chosen on half of the drawn examples. A class with fewer examples gives all it has.

    Raises:
        EdgeclipError: the labels are not one class an image.
    """
    _one_class_each(train)
    draws = []
    for seed in seeds:
        chosen = _rows(train, _drawn(train.labels, shots, seed))
        strength, _, _ = _swept_within(chosen, (0.5,), classes, seed)
        model = fit(chosen.image_embeds, chosen.labels, classes, strength=strength)
        draws.append(float((model.predict(test.image_embeds) == test.labels).mean()))
    mean, spread = mean_and_spread(draws)
    return FewShot(shots, mean, spread, draws)


def halves(whole: Embedded, classnames: Sequence[str], *, seed: int = 0) -> tuple[Embedded, Embedded]:
    """Training and test images of a set that is not split: half of each class, the odd one for training.

    Raises:
        EdgeclipError: a class has a single image, or the labels are not one class an image.
    """
    _one_class_each(whole)
    count = np.bincount(whole.labels, minlength=len(classnames))
    if single := [name for name, images in zip(classnames, count, strict=True) if images < 2]:
        raise EdgeclipError(f"class {single[0]} has a single image, and a probe needs two of each: one to test on")
    tested = _stratified(whole.labels, 0.5, seed)
    return _rows(whole, ~tested), _rows(whole, tested)


def sweep(train: Embedded, val: Embedded, classes: int) -> tuple[float, dict[float, float], Classifier]:
    """The strength with the best accuracy on ``val``, what each gave, and the classifier of the best.

    From the strongest penalty to weaker ones, each starting from the one before, until it no longer pays; then four
    finer steps around the best. Accuracy is the mean over classes, so that small ones have a say; of equals the weaker
    penalty wins: a strong one gives the largest class to everything.
    """
    tried: dict[float, float] = {}
    classifiers: dict[float, Classifier] = {}

    def attempt(strength: float, start: Classifier | None) -> Classifier:
        model = fit(
            train.image_embeds, train.labels, classes, strength=strength, start=start, tolerance=SWEEP_TOLERANCE
        )
        classifiers[strength] = model
        tried[strength] = mean_per_class(model.predict(val.image_embeds) == val.labels, val.labels)
        return model

    near: Classifier | None = None
    for position, strength in enumerate(STRENGTHS.tolist()):
        near = attempt(strength, near)
        first = list(tried.values()).index(max(tried.values()))
        if position - first > PATIENCE:  # no better one since
            break
    coarse = _best(tried)
    for factor in FINER.tolist():
        attempt(coarse * factor, classifiers[coarse])
    best = _best(tried)
    return best, tried, classifiers[best]


def _swept_within(
    train: Embedded, parts: Sequence[float], classes: int, seed: int = 0
) -> tuple[float, dict[float, float], Classifier | None]:
    """As :func:`sweep`, on the first of the ``parts`` of each class that is an example at least, held out."""
    for part in parts:
        held_out = _stratified(train.labels, part, seed)
        if held_out.any():
            return sweep(_rows(train, ~held_out), _rows(train, held_out), classes)
    return ONE_SHOT_STRENGTH, {}, None


def _best(tried: dict[float, float]) -> float:
    return max(tried, key=lambda strength: (tried[strength], strength))


def _one_class_each(embedded: Embedded) -> None:
    if embedded.labels.ndim != 1 or embedded.captions:
        raise EdgeclipError("a probe needs one class an image: this data set has several, or captions")


def _rows(embedded: Embedded, chosen: NDArray[np.bool_]) -> Embedded:
    return Embedded(embedded.image_embeds[chosen], embedded.labels[chosen], [])


def _stratified(labels: NDArray[np.int64], part: float, seed: int) -> NDArray[np.bool_]:
    """A random ``part`` of each class, one example at least where it has two, so that each has a say and a rest."""
    rank, size = _rank_in_class(labels, seed)
    return np.asarray(rank < np.where(size > 1, np.maximum(1, np.floor(size * part)), 0))


def _drawn(labels: NDArray[np.int64], shots: int, seed: int) -> NDArray[np.bool_]:
    rank, _ = _rank_in_class(labels, seed)
    return np.asarray(rank < shots)


def _rank_in_class(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The place of each row among its class's in a random order, and how many there are: int64 ``[N]`` each."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    count = np.bincount(labels)
    first = np.cumsum(count) - count
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - first[labels[order]]
    return rank, count[labels]

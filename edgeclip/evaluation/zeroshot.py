"""Zero-shot classification of anything that encodes: class names in templates against images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..encoder import Encoder
from ..images.labelled import Dataset
from .embed import BATCH, WORKERS, Embedded, embed
from .metrics import (
    Labels,
    Metric,
    calibration_error,
    interval,
    mean_average_precision,
    mean_average_precision_11,
    mean_per_class,
    recall_per_class,
    roc_auc,
)
from .metrics import softmax as odds_of

SCALE = 100.0  # what ELEVATER multiplies similarities by before it takes probabilities of them
BLOCK = 4096  # rows of scores at a time: 50,000 images and 1,000 classes need not lie in memory at once


@dataclass(frozen=True)
class ZeroShot:
    """What an encoder made of a dataset. Top-k are fractions of the images, 0..1."""

    top1: float  # where images may be of several classes: the best guess is one of them
    top5: float | None  # None where there are five classes or fewer: it would be 1
    predictions: NDArray[np.int64]  # [N]
    labels: Labels  # int64 [N]; bool [N, C] where an image may be of several classes
    image_embeds: NDArray[np.float32]  # [N, D], L2-normalised
    class_embeds: NDArray[np.float32]  # [C, D], L2-normalised
    confidence: NDArray[np.float32]  # [N], the probability that the model gives its guess
    keys: Sequence[str] = ()  # what people find each image by

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Which images are right, bool ``[N]``."""
        return _hits(self.predictions[:, None], self.labels)[:, 0]

    @property
    def mean_per_class(self) -> float:
        """The mean over the classes of the part of their images that are right, 0..1."""
        return mean_per_class(self.right, self.labels)  # type: ignore[arg-type]

    @property
    def recall_per_class(self) -> NDArray[np.float64]:
        """The part of each class's images that are right, float64 ``[C]``; NaN where it has none."""
        return recall_per_class(self.right, self.labels, len(self.class_embeds))  # type: ignore[arg-type]

    @property
    def calibration_error(self) -> float:
        """How far the probabilities are from how often they come true, 0..1."""
        return calibration_error(self.confidence, self.right)

    def score(self, metric: Metric, *, sure: bool = False) -> tuple[float, tuple[float, float] | None]:
        """The value of ``metric``, 0..1, and, where ``sure`` asks for it, its 95 % bootstrap interval.

        ``roc-auc`` is that of the second of two classes, ``map-11`` the mean over classes: both of probabilities, as
        ELEVATER has it. ``map`` is CLIP_benchmark's, of similarities.
        """
        if metric == "accuracy":
            return self.top1, interval(lambda right: float(right.mean()), self.right) if sure else None
        if metric == "mean-per-class":
            return self.mean_per_class, interval(mean_per_class, self.right, self.labels) if sure else None
        if metric == "map":
            rows = (self.image_embeds @ self.class_embeds.T, self.labels.astype(bool))
            value = mean_average_precision(*rows)
            return value, interval(mean_average_precision, *rows, resamples=200) if sure else None
        odds = odds_of(SCALE * self.image_embeds @ self.class_embeds.T)
        if metric == "roc-auc":
            rows = (odds[:, 1], self.labels.astype(bool))
            return roc_auc(*rows), interval(roc_auc, *rows) if sure else None
        several = self.labels.astype(bool)
        value = mean_average_precision_11(odds, several)
        return value, interval(mean_average_precision_11, odds, several, resamples=200) if sure else None


def evaluate(
    encoder: Encoder, dataset: Dataset, *, batch: int = BATCH, workers: int = WORKERS, title: str = "zero-shot"
) -> ZeroShot:
    """Classify every image of ``dataset`` among all of its classes.

    Raises:
        EdgeclipError: too many of the dataset's images cannot be read.
    """
    classes = class_embeddings(encoder, dataset.classnames, dataset.templates)
    seen = embed(encoder, dataset, batch=batch, workers=workers, title=title)
    return classify(seen, classes, scale=float(getattr(encoder, "logit_scale", SCALE)))


def classify(images: Embedded, classes: NDArray[np.float32], *, scale: float = SCALE) -> ZeroShot:
    """Hold embedded images against class embeddings, float32 ``[C, D]``; ``scale`` is of the model's probabilities."""
    guesses, confidence = [], []
    for block in _blocks(images.image_embeds):
        scores = block @ classes.T
        guesses.append(top_k(scores, min(5, len(classes))))
        confidence.append(1 / np.exp(np.float32(scale) * (scores - scores.max(axis=1, keepdims=True))).sum(axis=1))
    best = np.concatenate(guesses)
    hits = _hits(best, images.labels)
    return ZeroShot(
        top1=float(hits[:, 0].mean()),
        top5=float(hits.any(axis=1).mean()) if len(classes) > 5 else None,
        predictions=best[:, 0],
        labels=images.labels,
        image_embeds=images.image_embeds,
        class_embeds=classes,
        confidence=np.concatenate(confidence),
        keys=images.keys,
    )


def class_embeddings(
    encoder: Encoder, classnames: Sequence[str], templates: Sequence[str], batch: int = 256
) -> NDArray[np.float32]:
    """One embedding a class, float32 ``[C, D]``: the normalised mean over the templates, as CLIP's authors do it."""
    texts = [template.replace("{}", name) for name in classnames for template in templates]
    parts = [encoder.encode_text(texts[start : start + batch]) for start in range(0, len(texts), batch)]
    mean = np.concatenate(parts).reshape(len(classnames), len(templates), -1).mean(axis=1)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The columns of the ``k`` largest scores of each row, the largest first: int64 ``[N, k]``; ties by order."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].copy()  # a view would hold all the columns


def _hits(best: NDArray[np.int64], labels: Labels) -> NDArray[np.bool_]:
    """Which of the guesses, ``[N, k]``, are right."""
    if labels.ndim == 2:
        return np.asarray(np.take_along_axis(labels, best, axis=1), bool)
    return np.asarray(best == labels[:, None])


def _blocks(rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]

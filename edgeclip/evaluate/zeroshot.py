"""Zero-shot classification of anything that encodes: class names in templates against images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..console import progress_bar
from ..encoder import Encoder
from .datasets import Dataset


@dataclass(frozen=True)
class ZeroShot:
    """What an encoder made of a dataset. Top-k are fractions of the images, 0..1."""

    top1: float
    top5: float
    predictions: NDArray[np.int64]  # [N]
    labels: NDArray[np.int64]  # [N]
    image_embeds: NDArray[np.float32]  # [N, D], L2-normalised


def evaluate(encoder: Encoder, dataset: Dataset, *, batch: int = 64, title: str = "zero-shot") -> ZeroShot:
    """Classify every image of ``dataset`` among all of its classes.

    Raises:
        EdgeclipError: too many of the dataset's images cannot be read.
    """
    classes = class_embeddings(encoder, dataset.classnames, dataset.templates)
    embeds, labels, waiting = [], [], []
    with progress_bar(title, len(dataset)) as bar:
        for image, label in dataset:
            waiting.append(image)
            labels.append(label)
            if len(waiting) == batch:
                embeds.append(encoder.encode_image(waiting))
                bar.advance(len(waiting))
                waiting = []
        if waiting:
            embeds.append(encoder.encode_image(waiting))
            bar.advance(len(waiting))
    found, truth = np.concatenate(embeds), np.asarray(labels, np.int64)
    best = top_k(found @ classes.T, min(5, len(classes)))
    hits = best == truth[:, None]
    return ZeroShot(
        top1=float(hits[:, 0].mean()),
        top5=float(hits.any(axis=1).mean()),
        predictions=best[:, 0],
        labels=truth,
        image_embeds=found,
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
    """The columns of the ``k`` largest scores of each row, the largest first: int64 ``[N, k]``."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]

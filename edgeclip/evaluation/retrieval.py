"""Finding images by their captions and captions by their images: recall at 1, 5 and 10, both ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.errors import EdgeclipError
from ..encoder import Encoder
from ..images.labelled import Dataset
from .embed import BATCH, WORKERS, embed
from .metrics import interval

DEPTHS = (1, 5, 10)
BLOCK = 1024  # queries at a time


@dataclass(frozen=True)
class Retrieval:
    """The rank of the first right answer to each query, 0 for the best."""

    image_ranks: NDArray[np.int64]  # of the image, for each caption
    text_ranks: NDArray[np.int64]  # of the best of its captions, for each image

    def recall(self) -> dict[str, float]:
        """The part of the queries whose answer is among the first k: ``image_recall@k`` finds images by captions."""
        ways = {"image": self.image_ranks, "text": self.text_ranks}
        return {f"{way}_recall@{k}": float((ranks < k).mean()) for way, ranks in ways.items() for k in DEPTHS}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % bootstrap interval of each, over the queries."""
        ways = {"image": self.image_ranks, "text": self.text_ranks}
        return {f"{way}_recall@{k}": interval(_within(k), ranks) for way, ranks in ways.items() for k in DEPTHS}


def retrieve(
    encoder: Encoder, dataset: Dataset, *, batch: int = BATCH, workers: int = WORKERS, title: str = "retrieval"
) -> Retrieval:
    """Rank all images for each caption of ``dataset``, and all captions for each image.

    Raises:
        EdgeclipError: it has no captions, or too many of its images cannot be read.
    """
    if dataset.classnames:
        raise EdgeclipError(
            f"{dataset.name} has classes, not captions: retrieval needs captions.tsv, or .txt in shards"
        )
    images = embed(encoder, dataset, batch=batch, workers=workers, title=title)
    texts = [caption for captions in images.captions for caption in captions]
    owner = np.repeat(np.arange(len(images.captions)), [len(captions) for captions in images.captions])
    parts = [encoder.encode_text(texts[start : start + batch]) for start in range(0, len(texts), batch)]
    return ranks(images.image_embeds, np.concatenate(parts), owner)


def ranks(images: NDArray[np.float32], texts: NDArray[np.float32], owner: NDArray[np.int64]) -> Retrieval:
    """Ranks from embeddings: images ``[N, D]``, texts ``[M, D]``, and the image that each text belongs to, ``[M]``."""
    image_ranks, best_text = [], np.full(len(images), len(texts), np.int64)
    for start in range(0, len(texts), BLOCK):
        scores = texts[start : start + BLOCK] @ images.T
        score_of_own = np.take_along_axis(scores, owner[start : start + BLOCK, None], axis=1)
        image_ranks.append((scores > score_of_own).sum(axis=1))
    belongs: list[NDArray[np.int64]] = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    for start in range(0, len(images), BLOCK):
        scores = images[start : start + BLOCK] @ texts.T
        for row, of_image in zip(scores, belongs[start : start + BLOCK], strict=True):
            best_text[start] = (row > row[of_image].max()).sum()
            start += 1
    return Retrieval(np.concatenate(image_ranks), best_text)


def _within(k: int) -> Callable[[NDArray[np.int64]], float]:
    return lambda ranks: float((ranks < k).mean())

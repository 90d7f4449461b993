"""Which label fits an image: labels from the command line or a file, and the likeliest of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base.errors import EdgeclipError
from ..base.lines import read_lines
from ..base.visible import some_of

SHOWN = 10  # the likeliest labels of an image; the others are left out
LABELS_AT_ONCE = 256
NONE = "(none of these)"
Ranked = list[tuple[str, float]]


def read_labels(given: str, tell: Callable[[str], object]) -> list[str]:
    """Comma-separated labels, those of a text file of that name, one a line, or the folders in a folder of that name.

    Repeated ones count once, and are told.

    Raises:
        EdgeclipError: there are none, or the file is not text.
    """
    file = Path(given) if 0 < len(given) < 1024 and "\0" not in given else None
    if file and file.is_dir():
        parts = sorted(entry.name for entry in file.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    else:
        parts = read_lines(file) if file and file.is_file() else given.split(",")
    labels = distinct_labels([part.strip() for part in parts if part.strip()], tell)
    if not labels:
        raise EdgeclipError(
            'no labels: give them comma-separated, as in --labels "a cat,a dog", or in a text file, or as folders'
        )
    return labels


def distinct_labels(labels: Sequence[str], tell: Callable[[str], object]) -> list[str]:
    """Each label once, in order; the repeated ones are told."""
    distinct = list(dict.fromkeys(labels))
    if len(distinct) < len(labels):
        twice = [label for label in distinct if labels.count(label) > 1]
        tell(f"given more than once, counted once: {some_of(twice)}")
    return distinct


class LabelScorer:
    """The embeddings of labels, and how likely each is for an image."""

    def __init__(
        self,
        labels: Sequence[str],
        encode: Callable[[Sequence[str]], NDArray[np.float32]],
        logit_scale: float,
        logit_bias: float | None = None,
        *,
        shown: int = SHOWN,
    ) -> None:
        """Encode ``labels`` with ``encode``: texts to float32 ``[N, D]``, L2-normalised. ``shown``: so many an image.

        Raises:
            EdgeclipError: it is one label, and no bias says how likely it is by itself.
        """
        if len(labels) == 1 and logit_bias is None:
            raise EdgeclipError(f"a single label always wins: add a label other than {labels[0]!r}")
        self.labels, self._logit_scale, self._logit_bias, self._shown = labels, logit_scale, logit_bias, shown
        self._embeds = np.concatenate(
            [encode(labels[i : i + LABELS_AT_ONCE]) for i in range(0, len(labels), LABELS_AT_ONCE)]
        )

    def best(self, image_embeds: NDArray[np.float32]) -> list[Ranked]:
        """The likeliest labels of each image, float32 ``[N, D]``, with their probabilities.

        Shares among all labels; with a bias (SigLIP) each label has its own, and what they leave, that none of
        them fits, stands among them.
        """
        odds_of, names = odds(image_embeds @ self._embeds.T, self._logit_scale, self._logit_bias), list(self.labels)
        if self._logit_bias is not None:
            none = np.prod(1 - odds_of.astype(np.float64), axis=1, keepdims=True).astype(np.float32)
            odds_of, names = np.concatenate([odds_of, none], axis=1), [*names, NONE]
        order = np.argsort(-odds_of, axis=1, kind="stable")[:, : self._shown]
        return [[(names[i], float(row[i])) for i in best] for row, best in zip(odds_of, order, strict=True)]


def odds(cosines: NDArray[np.float32], logit_scale: float, logit_bias: float | None) -> NDArray[np.float32]:
    """Probabilities of labels from similarities ``[N, C]``: a softmax over them, or with a bias the sigmoid of each."""
    logits = logit_scale * cosines
    if logit_bias is not None:
        return np.asarray(1 / (1 + np.exp(-np.clip(logits + logit_bias, -80, 80))), np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

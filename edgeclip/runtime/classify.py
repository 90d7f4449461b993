"""Say which label fits each image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def classify(
    bundle: Path, images: Sequence[Path], labels: str, *, precision: str | None = None, threads: int | None = None
) -> list[dict[str, Any]]:
    """The likeliest labels of each image with their probabilities; ``labels`` as in :func:`read_labels`.

    Raises:
        EdgeclipError: no bundle, fewer than two labels, or an image that cannot be read.
    """
    from ..decode import read_image
    from .bundle import Bundle
    from .labels import LabelScorer, read_labels

    names = read_labels(labels)
    opened = Bundle.open(bundle)
    # The text tower is gone before the image tower is opened: never both in memory.
    own = opened.manifest
    scorer = LabelScorer(names, opened.encoder(threads=threads).encode_text, own.logit_scale, own.logit_bias)
    encoder = opened.encoder(precision, threads=threads)
    answers = [(file, scorer.best(encoder.encode_image([read_image(file)]))[0]) for file in images]
    return [{"image": str(file), "labels": ranked} for file, ranked in answers]

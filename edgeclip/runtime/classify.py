"""Say which label fits each image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def classify(
    bundle: Path,
    images: Sequence[Path],
    labels: str | None = None,
    *,
    precision: str | None = None,
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """The likeliest labels of each image with their probabilities.

    Args:
        bundle: its folder or archive.
        images: files.
        labels: as in :func:`read_labels`; None: the classes of a bundle that has no text tower.
        precision: the one that the bundle chooses where None.
        threads: all cores where None.

    Raises:
        EdgeclipError: no bundle, fewer than two labels, or an image that cannot be read.
    """
    from ..console import say
    from ..decode import read_image
    from ..errors import EdgeclipError
    from .bundle import Bundle
    from .labels import LabelScorer, read_labels

    names = read_labels(labels, say) if labels is not None else None
    opened = Bundle.open(bundle)
    # The text tower is gone before the image tower is opened: never both in memory.
    own = opened.manifest
    if names is None:
        known = opened.encoder().phrases
        if known is None:
            raise EdgeclipError('say what it might be: --labels "a cat,a dog", or a text file with one a line')
        names = known.labels
    scorer = LabelScorer(names, opened.encoder(threads=threads).encode_text, own.logit_scale, own.logit_bias)
    encoder = opened.encoder(precision, threads=threads)
    answers = [(file, scorer.best(encoder.encode_image([read_image(file)]))[0]) for file in images]
    return [{"image": str(file), "labels": ranked} for file, ranked in answers]

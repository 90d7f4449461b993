"""Some of the images, small, for people to look at: what is wrong, what is right, what a precision changed."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from PIL import Image

from .schema import Picture, Row

if TYPE_CHECKING:
    from ..images.labelled import Dataset

SIDE, QUALITY = 112, 80  # pixels, JPEG: some 4 kB each
MOST = {"wrong": 16, "changed": 8, "right": 8}


def some_pictures(dataset: Dataset, labels: Sequence[int], chosen: Row, fp32: Row | None) -> list[Picture]:
    """Pictures of every kind, of as many classes as there are.

    Args:
        dataset: the labelled images.
        labels: the class of each image that can be read; where that is not known, there are no pictures.
        chosen: the row that the verdict is about.
        fp32: what its answers are held against, where it is of another precision.
    """
    if not labels or len(chosen.answers) != len(labels):
        return []
    before = fp32.answers if fp32 and len(fp32.answers) == len(labels) else chosen.answers
    right = [answer == label for answer, label in zip(chosen.answers, labels, strict=True)]
    kinds = {
        "wrong": [image for image, good in enumerate(right) if not good],
        "changed": [image for image, answer in enumerate(chosen.answers) if answer != before[image]],
        "right": [image for image, good in enumerate(right) if good],
    }
    wanted = {image for kind, images in kinds.items() for image in islice(_in_turns(images, labels), MOST[kind])}
    return [
        Picture(image=number, key=key, jpeg=thumbnail(image))
        for number, key, image in _read(dataset, wanted, len(labels))
    ]


def _in_turns(images: Sequence[int], labels: Sequence[int]) -> Iterator[int]:
    """One of each class, then a second of each, and so on."""
    by_class: dict[int, list[int]] = {}
    for image in images:
        by_class.setdefault(labels[image], []).append(image)
    return (image for turn in zip_longest(*by_class.values()) for image in turn if image is not None)


def _read(dataset: Dataset, wanted: set[int], readable: int) -> Iterator[tuple[int, str, Image.Image]]:
    """The wanted ones of those that can be read, by their numbers among these."""
    if len(dataset) == readable:
        for number, example in enumerate(dataset.source):
            if number in wanted:
                yield number, example.key, example.decode()
        return
    for number, (image, _) in enumerate(dataset):  # all are decoded: nobody remembers which of them could not be
        if number in wanted:
            yield number, "", image


def thumbnail(image: Image.Image) -> str:
    """A small JPEG of it, base64."""
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY)
    return base64.b64encode(content.getvalue()).decode()

"""What an export is given beside the model: images to calibrate on, an evaluation set, classes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..base.console import say
from ..base.errors import EdgeclipError
from ..base.lines import read_lines
from ..base.scratch import scratch_folder
from ..evaluation.zeroshot import class_embeddings
from ..images.datasets import open_dataset
from ..images.labelled import TEMPLATES
from ..images.sources import digest, find_images, open_source
from ..models.openclip import OpenClipEncoder
from ..runtime.labels import distinct_labels
from .extras import Classes
from .validate import EvaluationSet

EXAM_IMAGES = 1000
SAMPLE = 512  # images taken out of shards to calibrate on


@contextmanager
def calibration_files(images: str) -> Iterator[list[Path]]:
    """Image files to calibrate on. Of what lies in shards or in a dataset, a fixed choice is written out for a while.

    Raises:
        EdgeclipError: there are none.
    """
    if "://" not in images and not images.startswith("hf:") and not images.endswith(".tar"):
        yield find_images(Path(images))
        return
    with scratch_folder() as folder:
        scratch = Path(folder)
        source = open_source(images, scratch)
        chosen = heapq.nsmallest(SAMPLE, range(len(source)), key=lambda row: digest([source.key(row)]))
        files = [scratch / f"{digest([source.key(row)])[:32]}{Path(source.key(row)).suffix}" for row in chosen]
        for row, file in zip(chosen, files, strict=True):
            file.write_bytes(source.read(row))
        yield files


def evaluation_set_of(model: OpenClipEncoder, folder: Path) -> EvaluationSet:
    """A labelled dataset as the exporter asks it: pixels, labels, and the model's own class embeddings."""
    data = open_dataset(folder)
    chosen = set(np.linspace(0, len(data) - 1, EXAM_IMAGES).astype(int))  # evenly over the classes, which lie in order
    pixels, labels = [], []
    for number, (image, label) in enumerate(data):
        if number in chosen:
            pixels.append(model.preprocess([image])[0])
            labels.append(label)
    classes = class_embeddings(model, data.classnames, data.templates)
    return EvaluationSet(np.stack(pixels), np.asarray(labels, np.int64), classes)


def classes_of(model: OpenClipEncoder, file: Path) -> Classes:
    """The classes named in ``file``, one a line, in the prompt that datasets have by default."""
    labels = distinct_labels([line.strip() for line in read_lines(file)], say)
    if len(labels) < 2:
        raise EdgeclipError(f"{file}: {len(labels)} label(s) in it: a classifier needs at least two, one per line")
    return Classes(labels, TEMPLATES, class_embeddings(model, labels, TEMPLATES))

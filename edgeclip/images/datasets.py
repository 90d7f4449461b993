"""A labelled data set by its name: folders, tar shards, or a set that torchvision knows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..base.console import say
from ..base.visible import some_of
from . import benchmark_shards, class_folders, location, torchvision_sets
from .labelled import Dataset, Some


def open_dataset(where: Path | str, split: str = "test", *, keep_duplicates: bool = False) -> Dataset:
    """Open a data set in any of its layouts.

    Args:
        where: a folder with one folder a class (``folders.py``); a folder in CLIP_benchmark's WebDataset layout, its
            URL, or ``hub:USER/REPO`` (``shards.py``); or ``torchvision:NAME[:FOLDER]`` (``named.py``).
        split: ``train``, ``val`` or ``test``, where the data set is split.
        keep_duplicates: classes of one name stay several classes, as open_clip and CLIP_benchmark count; nobody can
            tell them apart, so that otherwise they are one.

    Raises:
        EdgeclipError: there is nothing of that name, no class with an image in it, or no such split.
        FormatError: one of its files is not as it should be.
    """
    text = str(where)
    if text.startswith(torchvision_sets.PREFIX):
        dataset = torchvision_sets.open_named(text, split)
    elif location.is_remote(text) or benchmark_shards.is_shards(Path(where), split):
        dataset = benchmark_shards.open_shards(text, split)
    else:
        dataset = class_folders.open_folder(Path(where), split)
    return dataset if keep_duplicates or dataset.several else merged(dataset)


def is_unsplit(where: str) -> bool:
    """Whether it is a folder of classes that nobody has split into training and test images."""
    if (
        where.startswith(torchvision_sets.PREFIX)
        or location.is_remote(where)
        or benchmark_shards.is_shards(Path(where), "test")
    ):
        return False
    return not class_folders.is_split(Path(where))


def merged(dataset: Dataset) -> Dataset:
    """``dataset`` with classes of one name as one class; which they are is said."""
    names = list(dict.fromkeys(dataset.classnames))
    if len(names) == len(dataset.classnames):
        return dataset
    twice = [name for name, count in Counter(dataset.classnames).items() if count > 1]
    say(f"{dataset.name}: duplicate class names count as one class: {some_of(twice)}")
    new = {row: names.index(name) for row, name in enumerate(dataset.classnames)}
    return Dataset(dataset.name, names, dataset.templates, Some(dataset.source, new, every=True))

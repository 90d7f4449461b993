"""Copies of one picture are one picture: a data set of three copies says no more than one of one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..base.console import say
from ..base.decode import UnreadableImage
from ..images.labelled import BytesExample, Dataset, Example, FileExample, Renumbered, Source


@dataclass
class _Chosen:
    """Some examples of a source, by their places."""

    source: Source
    places: frozenset[int]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Example]:
        return (example for place, example in enumerate(self.source) if place in self.places)


def without_copies(dataset: Dataset) -> Dataset:
    """``dataset`` with each picture once a label, and the number of ``copies`` that were left out, which is said.

    Copies are files of the same bytes. One picture under two labels stays twice: which is right nobody can tell.
    """
    seen: set[bytes] = set()
    places = []
    for place, example in enumerate(dataset.source):
        key = hashlib.sha256(_content(example) + np.asarray(example.label).tobytes()).digest()
        if key not in seen:
            seen.add(key)
            places.append(place)
    copies = len(dataset) - len(places)
    if not copies:
        return dataset
    say(f"{dataset.name}: {copies} of {len(dataset)} files are copies of others of their class: each counts once")
    return replace(dataset, source=_Chosen(dataset.source, frozenset(places)), copies=copies)


def _content(example: Example) -> bytes:
    if isinstance(example, Renumbered):
        return _content(example.example)
    if isinstance(example, FileExample):
        return hashlib.sha256(example.path.read_bytes()).digest()
    if isinstance(example, BytesExample):
        return hashlib.sha256(example.content).digest()
    try:
        image = example.decode()
    except UnreadableImage:  # which is told where it is looked at
        return example.key.encode("utf-8", "surrogateescape")
    return hashlib.sha256(repr((image.mode, image.size)).encode() + image.tobytes()).digest()
